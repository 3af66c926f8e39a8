"""Restarting from the middle of a journal: what is kept, what is done again, what is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from restate_node.protocol.partition.effects import Operated, RunInvocation
from restate_node.protocol.partition.invocation_table import Stage
from restate_node.protocol.partition.journal_table import journal_of, read_notification
from restate_node.types import wal
from restate_node.types.invocation_messages import Control, ControlStatus
from restate_node.types.invocations import Origin, RawInvocationId, Success, raw_id
from restate_node.types.journal import AwaitPoint, CompletionId, Entry, MessageType, SignalIndex
from restate_node.wire import journal_codec
from tests.protocol.partition import ledger as sdk
from tests.protocol.partition.ledger import DAY_MS, Ledger

NEW = raw_id(7, 999)
FIRST, SECOND = "dp_1first", "dp_2second"
CALLEE = raw_id(7, 500)

INPUT, RUN, CALL, OUTPUT = (
    MessageType.INPUT_COMMAND,
    MessageType.RUN_COMMAND,
    MessageType.CALL_COMMAND,
    MessageType.OUTPUT_COMMAND,
)
RAN, NAMED, CALLED, SIGNAL = (
    MessageType.RUN_COMPLETION,
    MessageType.CALL_INVOCATION_ID_COMPLETION,
    MessageType.CALL_COMPLETION,
    MessageType.SIGNAL_NOTIFICATION,
)


@dataclass
class Past:
    """A completed invocation, pinned to FIRST with version 6, and its journal:

        0 Input  1 Run  2 Call  3 →Id  4 →Run  5 Run  6 signal  7 →Call  8 Sleep  9 →Run  10 Output

    The sleep was given up.
    """

    book: Ledger
    call: RawInvocationId

    def restart(
        self,
        length: int,
        deployment: str | None = SECOND,
        version: int | None = None,
        new: RawInvocationId = NEW,
    ) -> ControlStatus:
        command = wal.Operate(
            b"t", self.call, Control.RESTART_AS_NEW, deployment, new, length, version
        )
        self.book.write(7, command)
        return self.book.of(Operated)[-1].status

    def entries(self, invocation: RawInvocationId) -> list[Entry]:
        return [row.entry for row in journal_of(self.book.rows, invocation)]


def pin(book: Ledger, call: RawInvocationId) -> None:
    pinned = wal.Pinned(FIRST, 6)
    book.write(7, wal.AttemptProgress(call, book.record(call).run, (), pinned))


@pytest.fixture
def past() -> Past:
    book = Ledger()
    call = book.call(sdk.service(), b"argument")
    pin(book, call)
    book.report(call, sdk.run(1))
    book.report(call, sdk.call(sdk.service("callee"), CALLEE, 2, 3))
    book.report(call, sdk.ran(1, b"one"))
    book.report(call, sdk.run(4))
    signal = journal_codec.signal(SignalIndex(17), Success(b"w"))
    book.write(7, wal.Notify(call, signal))
    book.finish(CALLEE, b"called")
    book.report(call, sdk.sleep(book.now_ms + DAY_MS, 5), sdk.ran(4, b"two"))
    book.finish(call, b"result")
    made = Past(book, call)
    assert [entry.kind for entry in made.entries(call)] == [
        INPUT, RUN, CALL, NAMED, RAN, RUN, SIGNAL, CALLED, MessageType.SLEEP_COMMAND, RAN, OUTPUT,
    ]  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("length", "kept"),
    [
        (0, [0]),
        (1, [0, 1, 4]),
        (2, [0, 1, 2, 3, 4, 7]),
        (3, [0, 1, 2, 3, 4, 7]),
        (4, [0, 1, 2, 3, 4, 7]),
        (5, [0, 1, 2, 3, 4, 5, 7, 9]),
        (6, [0, 1, 2, 3, 4, 5, 6, 7, 9]),
        (7, [0, 1, 2, 3, 4, 5, 6, 7, 9]),
        (8, None),
        (10, None),
        (11, None),
        (4_000_000_000, None),
    ],
)
def test_what_is_kept(past: Past, length: int, kept: list[int] | None) -> None:
    """Goal: all entries up to that one, then the completions of their commands and no others; and
    nothing at all when a completion is missing or the journal is shorter. Method: every length.
    """
    status = past.restart(length)
    before = past.entries(past.call)
    if kept is None:
        assert status is ControlStatus.PREFIX_OPEN
        assert past.book.find(NEW) is None
        return
    assert status is ControlStatus.DONE
    after = past.entries(NEW)
    assert after == [before[index] for index in kept]
    record = past.book.record(NEW)
    commands = [entry for entry in after if entry.kind in (INPUT, RUN, CALL)]
    assert (record.entries, record.commands) == (len(after), len(commands))
    for index, entry in enumerate(after):
        if entry.kind in (RAN, CALLED, NAMED, SIGNAL):
            identity = journal_codec.notification_id(entry)
            assert read_notification(past.book.rows, NEW, identity) == index


def test_what_is_kept_is_not_done_again(past: Past) -> None:
    """Goal: calls of the prefix are not made again, and what comes behind it works. Method: restart
    behind the call; then a step, a suspension for what is known, the end.
    """
    book = past.book
    calls = len(book.of(RunInvocation))
    past.restart(7)
    assert [run.invocation for run in book.of(RunInvocation)[calls:]] == [NEW]
    book.report(NEW, sdk.run(6), end=wal.Suspended(AwaitPoint((3,))))
    assert book.stage(NEW) is Stage.INVOKED
    assert read_notification(book.rows, NEW, CompletionId(6)) is None
    book.report(NEW, sdk.ran(6, b"three"))
    book.finish(NEW, b"other")
    assert book.outcome(NEW) == Success(b"other")
    assert book.outcome(past.call) == Success(b"result")


def test_it_is_another_invocation_of_the_same(past: Past) -> None:
    """Goal: target, retention and, with a prefix, the seed are those of before; the idempotency key
    and the caller are not. Method: look at the record.
    """
    past.restart(3)
    old, new = past.book.record(past.call), past.book.record(NEW)
    assert (new.target, new.retention, new.random_seed) == (
        old.target,
        old.retention,
        old.random_seed,
    )
    assert (new.origin, new.restarted_from) == (Origin.RESTART_AS_NEW, past.call)
    assert (new.caller, new.idempotency_key, new.outcome) == (None, None, None)
    past.restart(0, None, new=raw_id(7, 1000))
    assert past.book.record(raw_id(7, 1000)).random_seed != old.random_seed


@pytest.mark.parametrize(
    ("length", "deployment", "version", "expected"),
    [
        (0, None, None, None),
        (0, FIRST, 7, wal.Pinned(FIRST, 7)),
        (3, SECOND, None, wal.Pinned(SECOND, 6)),
        (3, SECOND, 7, wal.Pinned(SECOND, 6)),
    ],
)
def test_where_it_goes_on(
    past: Past,
    length: int,
    deployment: str | None,
    version: int | None,
    expected: wal.Pinned | None,
) -> None:
    """Goal: at the deployment that is named; a journal keeps the version that wrote it."""
    assert past.restart(length, deployment, version) is ControlStatus.DONE
    assert past.book.record(NEW).pinned == expected


def test_an_output_that_is_kept_is_the_outcome() -> None:
    """Goal: a handler that is replayed up to its end ends the same. Method: keep the Output."""
    book = Ledger()
    call = book.call(sdk.service())
    pin(book, call)
    book.finish(call, b"result")
    past = Past(book, call)
    assert past.restart(1) is ControlStatus.DONE
    book.report(NEW, end=wal.Completed())
    assert book.outcome(NEW) == Success(b"result")


def test_asked_twice_it_is_one_restart(past: Past) -> None:
    """Goal: who lost the answer may ask again. Method: the same command when the new one has got
    further.
    """
    assert past.restart(3) is ControlStatus.DONE
    past.book.report(NEW, sdk.run(8))
    length = past.book.record(NEW).entries
    assert past.restart(3) is ControlStatus.DONE
    assert past.book.record(NEW).entries == length
    assert past.book.of(Operated)[-1].new_invocation == NEW


def test_what_cannot_be_restarted(past: Past) -> None:
    """Goal: each refusal. Method: an id of another partition, a workflow, a journal that is gone,
    an invocation that no deployment has begun, a prefix without a deployment.
    """
    assert past.restart(3, new=raw_id(8, 1)) is ControlStatus.UNSUPPORTED
    assert past.restart(3, None) is ControlStatus.NOT_COMPLETED

    book = past.book
    unpinned = Past(book, book.call(sdk.service()))
    book.write(7, wal.Operate(b"k", unpinned.call, Control.KILL))
    assert unpinned.restart(1) is ControlStatus.UNSUPPORTED
    assert unpinned.restart(0, None) is ControlStatus.DONE

    book.write(7, wal.Operate(b"p", past.call, Control.PURGE_JOURNAL))
    assert past.restart(3, new=raw_id(7, 5)) is ControlStatus.JOURNAL_MISSING

    flow = book.call(sdk.workflow())
    book.finish(flow)
    assert Past(book, flow).restart(0, new=raw_id(0, 1)) is ControlStatus.UNSUPPORTED
