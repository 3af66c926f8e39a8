"""Why an attempt failed, as columns: of the run under way, or as it was when it was paused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restate_node.roles.worker.invoker.events import describe_failure
from restate_node.types.attempts import AttemptFailure
from restate_node.types.failure_texts import failure_text


def columns_of(failure: AttemptFailure) -> Mapping[str, Any]:
    """Of a failure that is in memory."""
    return columns_of_description(describe_failure(failure))


def columns_of_description(failure: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of one that was written into an event."""
    text = failure_text(failure["error_code"], failure["error_message"])
    lines = (text, failure.get("error_stacktrace"))
    return {
        "last_failure": "\n".join(line for line in lines if line),
        "last_failure_error_code": failure.get("restate_doc_error_code"),
        "last_failure_related_command_index": failure.get("related_command_index"),
        "last_failure_related_command_name": failure.get("related_command_name"),
        "last_failure_related_command_type": failure.get("related_command_type"),
    }
