"""Events beside a journal, for people: why an attempt failed, why an invocation is paused.

Their JSON is what Restate's tools read from `sys_journal_events`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from restate_node.protocol.partition.journal_events import (
    KIND,
    LAST_FAILURE,
    PAUSED,
    TRANSIENT_ERROR,
)
from restate_node.types.attempts import AttemptFailure
from restate_node.types.wal import JournalEvent
from restate_node.wire.journal_texts import command_type

TEXT_MAX = 4096


def transient_error(failure: AttemptFailure) -> JournalEvent:
    """An attempt failed, and another follows, or nothing."""
    return JournalEvent(TRANSIENT_ERROR, _json(TRANSIENT_ERROR, describe_failure(failure)))


def paused(failure: AttemptFailure | None) -> JournalEvent:
    """The last attempt failed."""
    content = {} if failure is None else {LAST_FAILURE: describe_failure(failure)}
    return JournalEvent(PAUSED, _json(PAUSED, content))


def describe_failure(failure: AttemptFailure) -> dict[str, Any]:
    """What is told of a failure, in these events and in SQL."""
    kind = failure.related_command_type
    content: dict[str, Any] = {
        "error_code": failure.code,
        "error_message": failure.message[:TEXT_MAX],
        "error_stacktrace": failure.stacktrace[:TEXT_MAX] or None,
        "restate_doc_error_code": failure.error_code.value,
        "related_command_index": failure.related_command_index,
        "related_command_name": failure.related_command_name,
        "related_command_type": None if kind is None else command_type(kind),
    }
    return {name: value for name, value in content.items() if value is not None}


def _json(kind: str, content: dict[str, Any]) -> str:
    return msgspec.json.encode({KIND: kind, **content}).decode()
