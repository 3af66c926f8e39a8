"""What a paused invocation tells of why it was paused."""

from __future__ import annotations

import json

import pytest

from restate_node.protocol.partition.journal_events import failure_of_pause
from restate_node.protocol.partition.journal_table import events_of
from restate_node.types import wal
from restate_node.types.invocation_messages import Control
from restate_node.types.invocations import RawInvocationId
from tests.protocol.partition import ledger as sdk
from tests.protocol.partition.ledger import Ledger

FAILURE = {"error_code": 500, "error_message": "boom", "related_command_type": "Run"}


def failed(book: Ledger, call: RawInvocationId, end: wal.RunEnd | None = None) -> None:
    """What an invoker reports of a failed attempt, and that it gave up."""
    events = [wal.JournalEvent("TransientError", json.dumps({"ty": "TransientError", **FAILURE}))]
    if end is not None:
        content = {"ty": "Paused", "last_failure": FAILURE}
        events.append(wal.JournalEvent("Paused", json.dumps(content)))
    run = book.record(call).run
    book.write(7, wal.AttemptProgress(call, run, (), None, end, tuple(events)))


def pause(book: Ledger, call: RawInvocationId) -> None:
    book.write(7, wal.Operate(b"t", call, Control.PAUSE))


def told(book: Ledger, call: RawInvocationId) -> object:
    return failure_of_pause(book.rows, call, book.record(call))


@pytest.mark.parametrize("is_by_hand", [True, False])
def test_the_last_failure_is_told(is_by_hand: bool) -> None:
    """Goal: whoever paused it, the reason stays readable. Method: an attempt fails; pause."""
    book = Ledger()
    call = book.call(sdk.service())
    failed(book, call, None if is_by_hand else wal.Paused())
    if is_by_hand:
        pause(book, call)
    assert told(book, call) == FAILURE
    [_, event] = events_of(book.rows, call)
    assert (event.after_index, event.kind) == (0, "Paused")
    assert json.loads(event.content) == {"ty": "Paused", "last_failure": FAILURE}


def test_what_was_overcome_is_not_told() -> None:
    """Goal: a failure that was followed by progress, or by an earlier pause, is no reason. Method:
    pause one that never failed; that went on after it had; and that was resumed since.
    """
    book = Ledger()
    fine, overcome, resumed = (book.call(sdk.service()) for _ in range(3))
    failed(book, overcome)
    book.report(overcome, sdk.run(1))
    failed(book, resumed, wal.Paused())
    book.write(7, wal.Operate(b"t", resumed, Control.RESUME))
    for call in (fine, overcome, resumed):
        pause(book, call)
        assert told(book, call) is None
        last = list(events_of(book.rows, call))[-1]
        assert json.loads(last.content) == {"ty": "Paused"}
        assert last.after_index == book.record(call).entries - 1


def test_one_pause_is_one_event() -> None:
    """Goal: pausing what is paused notes nothing. Method: pause twice."""
    book = Ledger()
    call = book.call(sdk.service())
    pause(book, call)
    pause(book, call)
    assert len(list(events_of(book.rows, call))) == book.record(call).events == 1
