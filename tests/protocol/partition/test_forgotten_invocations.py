"""Invocations that nothing retains: only who submitted them sees them, and their ids are free."""

from __future__ import annotations

import pytest

from restate_node.protocol.partition.effects import Accepted, Ended, Operated, Stored
from restate_node.protocol.partition.invocation_table import Stage, find_invocation
from restate_node.protocol.partition.lifecycle import ANSWER_KEPT_MS
from restate_node.types.invocation_messages import Control, ControlStatus
from restate_node.types.invocations import (
    CANCELLED,
    KILLED,
    NOT_FOUND,
    Outcome,
    RawInvocationId,
    Retention,
    Success,
    id_text,
    partition_key_of_id,
    raw_id,
)
from restate_node.types.journal import Entry, MessageType
from restate_node.types.targets import Target
from restate_node.types.wal import AttachTo, Operate
from restate_node.wire import journal_codec
from restate_node.wire.pb import service_protocol_pb2 as pb
from tests.protocol.partition import ledger as sdk
from tests.protocol.partition.ledger import Ledger

NOTHING = Retention(0, 0)
HOUR_MS = 60 * 60 * 1000


def operate(book: Ledger, invocation: RawInvocationId, control: Control) -> None:
    command = Operate(b"t", invocation, control)
    book.write(partition_key_of_id(invocation), command)


def told(book: Ledger, invocation: RawInvocationId) -> Outcome | None:
    """What another invocation hears that attaches to this one."""
    waiter = book.call(sdk.service("waits"))
    book.write(partition_key_of_id(invocation), AttachTo(invocation, waiter, 1, True))
    stored = book.of(Stored)[-1]
    assert stored.invocation == waiter
    return journal_codec.outcome(stored.notifications[0])


def test_without_retention_the_id_is_free_at_once() -> None:
    """Goal: the same key is a new call, nobody sees the ended one, and who submitted it gets its
    answer again. Method: two submissions of one id, the second after the end.
    """
    book = Ledger()
    call = book.call(sdk.service(), b"1", seed=1, retention=NOTHING)
    book.finish(call, b"first")
    assert find_invocation(book.rows, call) is None
    assert told(book, call) == NOT_FOUND
    book.call(sdk.service(), b"1", seed=1, invocation=call, retention=NOTHING)
    assert [ended.outcome for ended in book.of(Ended)] == [Success(b"first")] * 2
    book.call(sdk.service(), b"2", seed=2, invocation=call, retention=NOTHING)
    assert book.of(Accepted)[-1].is_new and book.stage(call) is Stage.INVOKED
    book.finish(call, b"second")
    assert book.of(Ended)[-1].outcome == Success(b"second")
    book.now_ms += 2 * ANSWER_KEPT_MS
    book.fire_due()
    assert book.find(call) is None


@pytest.mark.parametrize(
    ("control", "outcome"), [(Control.CANCEL, CANCELLED), (Control.KILL, KILLED)]
)
@pytest.mark.parametrize("target", [sdk.service(), sdk.workflow()])
def test_what_is_stopped_before_it_begins_never_was(
    control: Control, outcome: Outcome, target: Target
) -> None:
    """Goal: its key begins anew, with the promises that others left, and not at the time of the
    first. Method: a scheduled call is stopped, and scheduled again for later.
    """
    book = Ledger()
    call = book.call(target, seed=1, start_at_ms=book.now_ms + HOUR_MS)
    operate(book, call, control)
    assert book.of(Ended)[-1].outcome == outcome
    assert find_invocation(book.rows, call) is None
    say = book.call(sdk.workflow_shared())
    book.report(say, sdk.complete_promise("word", b"yes", 1))
    book.call(target, seed=2, invocation=call, start_at_ms=book.now_ms + 2 * HOUR_MS)
    assert book.of(Accepted)[-1].is_new
    book.now_ms += HOUR_MS
    book.fire_due()
    assert book.stage(call) is Stage.SCHEDULED
    book.now_ms += HOUR_MS
    book.fire_due()
    assert book.stage(call) is Stage.INVOKED
    if target == sdk.workflow():
        book.report(call, sdk.get_promise("word", 1))
        assert MessageType.GET_PROMISE_COMPLETION in book.kinds(call)


def test_who_is_stopped_in_the_queue_never_was() -> None:
    """Goal: as above for one that waits for its key. Method: the lock is held by another."""
    book = Ledger()
    book.call(sdk.exclusive())
    waiting = book.call(sdk.exclusive())
    operate(book, waiting, Control.CANCEL)
    assert book.of(Ended)[-1].outcome == CANCELLED
    assert find_invocation(book.rows, waiting) is None
    operate(book, waiting, Control.PURGE)
    assert book.of(Operated)[-1].status is ControlStatus.NOT_FOUND
    book.call(sdk.exclusive(), seed=9, invocation=waiting)
    assert book.stage(waiting) is Stage.INBOXED


def attach(other: RawInvocationId, completion: int) -> Entry:
    message = pb.AttachInvocationCommandMessage(
        invocation_id=id_text(other), result_completion_id=completion
    )
    return Entry(MessageType.ATTACH_INVOCATION_COMMAND, message.SerializeToString())


@pytest.mark.parametrize("is_same_life", [True, False])
def test_a_later_life_hears_nothing_of_what_a_former_one_waited_for(is_same_life: bool) -> None:
    """Goal: answers find who asked, and nobody else of that id. Method: a workflow asks in every
    way there is, ends, and begins again before the answers; it asks nothing, and is told nothing.
    The same without the second life: all answers come.
    """
    book = Ledger()
    call, callee, other = book.call(sdk.workflow(), seed=1), raw_id(9, 77), book.call(sdk.service())
    book.report(
        call,
        sdk.sleep(book.now_ms + 100, 1),
        sdk.call(sdk.service("other"), callee, 2, 3),
        attach(other, 4),
        sdk.get_promise("word", 5),
    )
    if not is_same_life:
        operate(book, call, Control.KILL)
        operate(book, call, Control.PURGE)
        book.call(sdk.workflow(), seed=2, invocation=call)
    before = len(book.kinds(call))
    book.now_ms += 100
    book.fire_due()
    if book.stage(callee) is not Stage.COMPLETED:
        book.finish(callee)
    book.finish(other)
    say = book.call(sdk.workflow_shared())
    book.report(say, sdk.complete_promise("word", b"yes", 1))
    assert len(book.kinds(call)) == before + (4 if is_same_life else 0)
