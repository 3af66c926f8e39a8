"""Events beside a journal, for people: why an attempt failed, why an invocation is paused.

Their JSON is what Restate's tools read from `sys_journal_events`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from restate_node.types.attempts import AttemptFailure
from restate_node.types.wal import JournalEvent

TEXT_MAX = 4096


def transient_error(failure: AttemptFailure) -> JournalEvent:
    """An attempt failed, and another follows, or nothing."""
    return JournalEvent("TransientError", _json("TransientError", _failure(failure)))


def paused(failure: AttemptFailure | None) -> JournalEvent:
    """The last attempt failed."""
    content = {} if failure is None else {"last_failure": _failure(failure)}
    return JournalEvent("Paused", _json("Paused", content))


def _json(kind: str, content: dict[str, Any]) -> str:
    return msgspec.json.encode({"ty": kind, **content}).decode()


def _failure(failure: AttemptFailure) -> dict[str, Any]:
    content: dict[str, Any] = {
        "error_code": failure.code,
        "error_message": failure.message[:TEXT_MAX],
        "error_stacktrace": failure.stacktrace[:TEXT_MAX] or None,
        "restate_doc_error_code": failure.error_code.value,
        "related_command_index": failure.related_command_index,
        "related_command_name": failure.related_command_name,
        "related_command_type": failure.related_command_type,
    }
    return {name: value for name, value in content.items() if value is not None}
