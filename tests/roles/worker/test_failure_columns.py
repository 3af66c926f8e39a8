"""Failures as columns of sys_invocation, in the words of Restate 1.7."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from restate_node.roles.worker.failure_columns import columns_of, columns_of_description
from restate_node.roles.worker.invoker.events import paused
from restate_node.types.attempts import AttemptFailure, ErrorCode
from restate_node.types.introspection import SYS_INVOCATION
from restate_node.types.journal import MessageType

PREFIX = "last_failure_related_command_"

FAILURES: list[tuple[AttemptFailure, dict[str, Any]]] = [
    (
        AttemptFailure(500, "boom", "Traceback\n  line"),
        {
            "last_failure": "[500 Internal] boom\nTraceback\n  line",
            "last_failure_error_code": "RT0007",
        },
    ),
    (
        AttemptFailure(404, "gone", error_code=ErrorCode.NO_DEPLOYMENT),
        {"last_failure": "[404 Not found] gone", "last_failure_error_code": "RT0011"},
    ),
    (
        AttemptFailure(570, "differs", "", 1, "other", MessageType.SLEEP_COMMAND),
        {
            "last_failure": "[570 Journal mismatch] differs",
            f"{PREFIX}index": 1,
            f"{PREFIX}name": "other",
            f"{PREFIX}type": "Sleep",
        },
    ),
    (AttemptFailure(571, "bytes"), {"last_failure": "[571 Protocol violation] bytes"}),
    (
        AttemptFailure(500, "x", "", 0, None, 0xFC01),
        {f"{PREFIX}index": 0, f"{PREFIX}type": "0xfc01"},
    ),
]


@pytest.mark.parametrize(("failure", "expected"), FAILURES)
def test_columns(failure: AttemptFailure, expected: dict[str, Any]) -> None:
    """Goal: the same from memory and from the event of a pause; only columns that there are."""
    columns = columns_of(failure)
    assert {name: columns[name] for name in expected} == expected
    assert columns.keys() <= set(SYS_INVOCATION.names)
    event = msgspec.json.decode(paused(failure).content)
    assert columns_of_description(event["last_failure"]) == columns
