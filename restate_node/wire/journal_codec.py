"""What entries of a journal say: the codec of `protocol.partition.machine`.

The two halves are `service_commands`, what handlers do, and `service_notifications`, what they are
told. All that reads raises MalformedMessage.
"""

from __future__ import annotations

from restate_node.wire.service_commands import (
    argument,
    command_name,
    completions,
    input,
    meaning,
)
from restate_node.wire.service_notifications import (
    completion,
    id_completion,
    invocation_id,
    keys_completion,
    notification_id,
    outcome,
    signal,
)

__all__ = [
    "argument",
    "command_name",
    "completion",
    "completions",
    "id_completion",
    "input",
    "invocation_id",
    "keys_completion",
    "meaning",
    "notification_id",
    "outcome",
    "signal",
]
