"""The life of invocations in the tables of a partition: each rule as a short story."""

from __future__ import annotations

import pytest

from restate_node.protocol.partition.apply import apply
from restate_node.protocol.partition.commands.promises import ALREADY_COMPLETED
from restate_node.protocol.partition.effects import (
    Accepted,
    Ended,
    MessageSent,
    Operated,
    RunInvocation,
    StopRun,
    Stored,
)
from restate_node.protocol.partition.invocation_table import Stage, running
from restate_node.protocol.partition.journal_table import journal_of
from restate_node.protocol.partition.lifecycle import ANSWER_KEPT_MS
from restate_node.protocol.partition.transaction import Transaction
from restate_node.types import wal
from restate_node.types.invocation_messages import Control, ControlStatus
from restate_node.types.invocations import (
    CANCELLED,
    KILLED,
    Failure,
    RawInvocationId,
    Retention,
    Success,
    partition_key_of_id,
    raw_id,
)
from restate_node.types.journal import (
    AwaitPoint,
    CompletionId,
    Entry,
    MessageType,
    SignalIndex,
    SignalName,
)
from restate_node.types.offsets import Lsn
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.partitions import KeyRange
from restate_node.wire import journal_codec
from tests.protocol.partition import ledger as sdk
from tests.protocol.partition.ledger import DAY_MS, Ledger

CANCEL = SignalIndex(1)


def operate(
    book: Ledger, invocation: RawInvocationId, control: Control, ticket: bytes = b"t"
) -> ControlStatus:
    """Do it; what became of it."""
    command = wal.Operate(ticket, invocation, control, None, raw_id(7, 999))
    book.write(partition_key_of_id(invocation), command)
    return book.of(Operated)[-1].status


# ---------------------------------------------------------------- begin and end


def test_a_call_runs_and_ends() -> None:
    """Goal: the shortest life. Method: submit, report Output and End in one record."""
    book = Ledger()
    call = book.call(sdk.service(), b"hello")
    assert book.of(Accepted) == [Accepted(call, 1, True, None)]
    assert book.of(RunInvocation) == [RunInvocation(call, 1)]
    assert list(running(book.rows)) == [call]

    book.finish(call, b"hi")

    ended = Ended(call, sdk.service(), Success(b"hi"), book.now_ms + DAY_MS)
    assert book.of(Ended) == [ended]
    assert book.stage(call) is Stage.COMPLETED
    assert list(running(book.rows)) == []
    assert book.kinds(call) == [MessageType.INPUT_COMMAND, MessageType.OUTPUT_COMMAND]


def test_the_same_submission_twice_is_one() -> None:
    """Goal: a caller that lost its answer asks again. Method: the same id and seed, during and
    after
    the run; the answer comes again, the handler does not run again.
    """
    book = Ledger()
    call = book.call(sdk.service(), seed=5)
    book.call(sdk.service(), seed=5, invocation=call)
    book.finish(call)
    book.call(sdk.service(), seed=5, invocation=call)
    assert [effect.is_new for effect in book.of(Accepted)] == [True, True, True]
    assert len(book.of(RunInvocation)) == 1
    assert len(book.of(Ended)) == 2


def test_another_submission_of_the_same_id_joins() -> None:
    """Goal: an idempotency key runs once. Method: the same id with another seed."""
    book = Ledger()
    call = book.call(sdk.service(), seed=5)
    book.call(sdk.service(), seed=6, invocation=call)
    assert [effect.is_new for effect in book.of(Accepted)] == [True, False]
    assert len(book.of(RunInvocation)) == 1


def test_reports_of_a_former_run_are_dropped() -> None:
    """Goal: what an attempt sends after its invocation was stopped has no effect. Method: pause,
    resume, then a report with the number of the first run.
    """
    book = Ledger()
    call = book.call(sdk.exclusive())
    operate(book, call, Control.PAUSE)
    assert book.report(call, sdk.set_state("x", b"1"), run=1) == []
    operate(book, call, Control.RESUME)
    assert book.report(call, sdk.set_state("x", b"1"), run=1) == []
    assert book.state("Counter", "k") == {}
    book.report(call, sdk.set_state("x", b"2"))
    assert book.state("Counter", "k") == {"x": b"2"}


def test_a_terminal_failure_is_an_outcome() -> None:
    """Goal: Output with a failure ends like any other. Method: report it; look at what is told."""
    book = Ledger()
    call = book.call(sdk.service())
    book.report(call, sdk.failure(422, "no"), end=wal.Completed())
    assert book.of(Ended)[0].outcome == Failure(422, "no")


def test_scheduled_calls_begin_when_their_timer_fires() -> None:
    """Goal: a delayed call waits, and begins once. Method: fire its timer twice."""
    book = Ledger()
    call = book.call(sdk.service(), start_at_ms=book.now_ms + 500)
    assert book.stage(call) is Stage.SCHEDULED
    assert book.of(RunInvocation) == []
    [timer] = book.timers()
    book.now_ms += 500
    assert book.fire_due() == 1
    book.write(7, wal.FireTimer(timer.key))
    assert book.of(RunInvocation) == [RunInvocation(call, 1)]


# ---------------------------------------------------------------- objects


def test_one_at_a_time_and_in_order() -> None:
    """Goal: exclusive handlers of a key queue in the order of the log. Method: three calls of one
    key, one of another, one shared; end them one after the other.
    """
    book = Ledger()
    first, second, third = (book.call(sdk.exclusive("a")) for _ in range(3))
    other, beside = book.call(sdk.exclusive("b")), book.call(sdk.shared("a"))
    ran = [effect.invocation for effect in book.of(RunInvocation)]
    assert ran == [first, other, beside]
    assert [book.stage(call) for call in (second, third)] == [Stage.INBOXED] * 2
    book.finish(first)
    assert book.of(RunInvocation)[-1].invocation == second
    assert book.stage(third) is Stage.INBOXED
    book.finish(second)
    assert book.of(RunInvocation)[-1].invocation == third
    book.finish(third)
    again = book.call(sdk.exclusive("a"))
    assert book.of(RunInvocation)[-1].invocation == again


def test_who_leaves_the_queue_frees_its_place() -> None:
    """Goal: a cancelled call that waits never runs. Method: cancel the middle one of three."""
    book = Ledger()
    first, second, third = (book.call(sdk.exclusive("a")) for _ in range(3))
    assert operate(book, second, Control.CANCEL) is ControlStatus.DONE
    assert book.outcome(second) == CANCELLED
    book.finish(first)
    assert [effect.invocation for effect in book.of(RunInvocation)] == [first, third]


def test_state_is_written_and_read() -> None:
    """Goal: state belongs to the key, and lazy reads see what was written in the same record.
    Method: set, then read both a known and an unknown name.
    """
    book = Ledger()
    call = book.call(sdk.exclusive("a"))
    [stored] = book.report(
        call, sdk.set_state("x", b"1"), sdk.get_state("x", 1), sdk.get_state("y", 2)
    )
    assert isinstance(stored, Stored)
    found = [journal_codec.outcome(entry) for entry in stored.notifications]
    assert found == [Success(b"1"), None]
    assert book.state("Counter", "a") == {"x": b"1"}


def test_shared_handlers_write_nothing() -> None:
    """Goal: whoever runs beside others cannot change state. Method: an SDK that tries."""
    book = Ledger()
    call = book.call(sdk.shared("a"))
    book.report(call, sdk.set_state("x", b"1"))
    assert book.state("Counter", "a") == {}


# ---------------------------------------------------------------- waiting


def test_a_sleep_wakes_a_suspended_handler_once() -> None:
    """Goal: suspension costs nothing, and ends with what is waited for. Method: sleep, suspend,
    fire
    the timer twice.
    """
    book = Ledger()
    call = book.call(sdk.service())
    book.report(call, sdk.sleep(book.now_ms + 100, 1), end=wal.Suspended(AwaitPoint((1,))))
    assert book.stage(call) is Stage.SUSPENDED
    assert list(running(book.rows)) == []
    [timer] = book.timers()
    book.now_ms += 100
    book.fire_due()
    book.write(7, wal.FireTimer(timer.key))
    assert book.kinds(call).count(MessageType.SLEEP_COMPLETION) == 1
    assert len(book.of(RunInvocation)) == 2
    assert book.stage(call) is Stage.INVOKED


def test_suspending_for_what_is_there_already_goes_on() -> None:
    """Goal: news that crosses a suspension on its way is not lost. Method: the timer fires while
    the
    handler runs, then it suspends for it.
    """
    book = Ledger()
    call = book.call(sdk.service())
    book.report(call, sdk.sleep(book.now_ms, 1))
    book.fire_due()
    book.report(call, end=wal.Suspended(AwaitPoint((1,))))
    assert book.stage(call) is Stage.INVOKED
    assert book.of(RunInvocation)[-1] == RunInvocation(call, 2)


def test_other_news_does_not_wake() -> None:
    """Goal: only what is waited for wakes. Method: two sleeps, wait for the later one."""
    book = Ledger()
    call = book.call(sdk.service())
    sleeps = sdk.sleep(book.now_ms, 1), sdk.sleep(book.now_ms + 50, 2)
    book.report(call, *sleeps, end=wal.Suspended(AwaitPoint((2,))))
    book.fire_due()
    assert book.stage(call) is Stage.SUSPENDED
    book.now_ms += 50
    book.fire_due()
    assert book.stage(call) is Stage.INVOKED


def named(value: bytes) -> Entry:
    """A signal that users called `go`."""
    return journal_codec.signal(SignalName("go"), Success(value))


def test_signals_of_one_name_are_a_queue() -> None:
    """Goal: a handler that waits twice for signals of one name gets two, and does not run in vain
    between them. Method: the first comes while it is suspended; it suspends again, having been
    told of that one.
    """
    book = Ledger()
    call = book.call(sdk.service())
    point = AwaitPoint(named_signals=("go",))
    book.report(call, end=wal.Suspended(point, told=1))
    book.write(7, wal.Notify(call, named(b"1")))
    assert book.stage(call) is Stage.INVOKED
    book.report(call, end=wal.Suspended(point, told=2))
    assert book.stage(call) is Stage.SUSPENDED
    book.write(7, wal.Notify(call, named(b"2")))
    assert book.stage(call) is Stage.INVOKED
    assert [row.entry for row in journal_of(book.rows, call)][1:] == [named(b"1"), named(b"2")]


def test_a_signal_that_crosses_a_suspension_is_taken() -> None:
    """Goal: a second signal of a name wakes a handler that was not told of it. Method: both come
    while the handler runs, which suspends when it knows only the first.
    """
    book = Ledger()
    call = book.call(sdk.service())
    for value in (b"1", b"2"):
        book.write(7, wal.Notify(call, named(value)))
    assert [told.notifications for told in book.of(Stored)] == [(named(b"1"),), (named(b"2"),)]
    assert [told.entries for told in book.of(Stored)] == [2, 3]
    book.report(call, end=wal.Suspended(AwaitPoint(named_signals=("go",)), told=2))
    assert book.stage(call) is Stage.INVOKED


def test_an_awakeable_is_resolved_once() -> None:
    """Goal: what has a number comes once, unlike a name. Method: resolve one twice."""
    book = Ledger()
    call = book.call(sdk.service())
    for value in (b"1", b"2"):
        resolved = journal_codec.signal(SignalIndex(17), Success(value))
        book.write(7, wal.Notify(call, resolved))
    assert book.kinds(call).count(MessageType.SIGNAL_NOTIFICATION) == 1


def test_a_running_handler_is_told() -> None:
    """Goal: a run result is stored and comes back to its run. Method: report it."""
    book = Ledger()
    call = book.call(sdk.service())
    [stored] = book.report(call, sdk.run(1), sdk.ran(1, b"x"))
    assert stored == Stored(call, 1, 3, 2, (sdk.ran(1, b"x"),), True)
    [again] = book.report(call, sdk.ran(1, b"y"))
    assert again == Stored(call, 1, 3, 2, (), True)


# ---------------------------------------------------------------- calls


def test_a_call_comes_back_to_its_caller() -> None:
    """Goal: caller and callee in one partition talk within records. Method: call, end the callee,
    and
    look at what the caller is told.
    """
    book = Ledger()
    caller, callee = book.call(sdk.service()), raw_id(9, 77)
    book.report(caller, sdk.call(sdk.service("other"), callee, 1, 2))
    assert book.of(RunInvocation)[-1].invocation == callee
    assert book.record(callee).caller is not None
    book.finish(callee, b"answer")
    told = book.of(Stored)[-1]
    assert told.invocation == caller
    [entry] = told.notifications
    assert journal_codec.notification_id(entry) == CompletionId(2)
    assert journal_codec.outcome(entry) == Success(b"answer")


def test_calls_to_other_partitions_go_through_the_outbox() -> None:
    """Goal: what belongs elsewhere is kept until it is there. Method: a partition that owns half of
    the keys calls into the other half and truncates.
    """
    half = KeyRange(0, 1 << 63)
    book = Ledger(keys=half)
    caller, callee = book.call(sdk.service()), raw_id((1 << 63) + 5, 77)
    book.report(caller, sdk.call(sdk.service("other"), callee, 1, None))
    book.report(caller, sdk.call(sdk.service("other"), callee, 2, None))
    assert len(book.of(MessageSent)) == 2
    assert [number for number, _ in book.outbox()] == [1, 2]
    assert isinstance(book.outbox()[0][1].command, wal.Invoke)
    assert book.find(callee) is None
    book.write(0, wal.TruncateOutbox(1))
    assert [number for number, _ in book.outbox()] == [2]


@pytest.mark.parametrize("completion", [2, None])
def test_killing_kills_those_it_waits_for(completion: int | None) -> None:
    """Goal: a kill takes the call tree along, not what was sent one-way. Method: both kinds."""
    book = Ledger()
    caller, callee = book.call(sdk.service()), raw_id(9, 77)
    book.report(caller, sdk.call(sdk.exclusive("c"), callee, 1, completion))
    assert operate(book, caller, Control.KILL) is ControlStatus.DONE
    assert book.outcome(caller) == KILLED
    expected = Stage.COMPLETED if completion else Stage.INVOKED
    assert book.stage(callee) is expected
    assert book.of(StopRun)[-1].invocation == (callee if completion else caller)


def test_cancel_reaches_a_running_handler_and_wakes_a_waiting_one() -> None:
    """Goal: a cancellation is a signal. Method: one invocation runs, one waits for a sleep and, as
    SDKs do, for the signal.
    """
    book = Ledger()
    runs, waits = book.call(sdk.service()), book.call(sdk.service())
    point = AwaitPoint((1,), (1,))
    book.report(waits, sdk.sleep(book.now_ms + DAY_MS, 1), end=wal.Suspended(point))
    assert operate(book, runs, Control.CANCEL) is ControlStatus.ACCEPTED
    assert operate(book, waits, Control.CANCEL) is ControlStatus.ACCEPTED
    [entry] = book.of(Stored)[-1].notifications
    assert journal_codec.notification_id(entry) == CANCEL
    assert book.stage(waits) is Stage.INVOKED


def test_cancelling_again_interrupts_the_clean_up() -> None:
    """Goal: a handler that goes on after a cancellation, and waits, can be cancelled again; and
    is not woken by the one that it was told of. Method: it suspends, as SDKs do, for the signal
    as well.
    """
    book = Ledger()
    call = book.call(sdk.service())
    point = AwaitPoint((1,), (1,))
    book.report(call, sdk.sleep(book.now_ms + DAY_MS, 1), end=wal.Suspended(point, told=2))
    operate(book, call, Control.CANCEL)
    assert book.stage(call) is Stage.INVOKED
    book.report(call, end=wal.Suspended(point, told=3))
    assert book.stage(call) is Stage.SUSPENDED
    assert operate(book, call, Control.CANCEL) is ControlStatus.ACCEPTED
    assert book.stage(call) is Stage.INVOKED
    assert book.kinds(call).count(MessageType.SIGNAL_NOTIFICATION) == 2


@pytest.mark.parametrize("is_command", [True, False], ids=["operator", "handler"])
def test_cancel_lets_a_paused_one_run(is_command: bool) -> None:
    """Goal: nobody waits for ever for the end of what was canceled. Method: pause it; cancel it as
    operators and as other handlers do.
    """
    book = Ledger()
    call = book.call(sdk.service())
    operate(book, call, Control.PAUSE)
    if is_command:
        assert operate(book, call, Control.CANCEL) is ControlStatus.ACCEPTED
    else:
        book.write(7, wal.Notify(call, journal_codec.signal(CANCEL, None)))
    assert book.stage(call) is Stage.INVOKED
    assert book.of(RunInvocation)[-1] == RunInvocation(call, book.record(call).run)
    assert book.kinds(call)[-1] is MessageType.SIGNAL_NOTIFICATION


def test_going_on_elsewhere() -> None:
    """Goal: the deployment changes only while nothing runs and there is one to change. Method: ask
    for another one in each stage.
    """
    book = Ledger()
    call = book.call(sdk.service())
    elsewhere = wal.Operate(b"t", call, Control.RESUME, "dp_2")

    def resume() -> ControlStatus:
        book.write(7, elsewhere)
        return book.of(Operated)[-1].status

    operate(book, call, Control.PAUSE)
    assert resume() is ControlStatus.PIN_FIXED
    assert book.stage(call) is Stage.PAUSED
    operate(book, call, Control.RESUME)
    book.write(7, wal.AttemptProgress(call, book.record(call).run, (), wal.Pinned("dp_1", 6)))
    assert resume() is ControlStatus.PIN_FIXED
    assert book.record(call).pinned == wal.Pinned("dp_1", 6)
    operate(book, call, Control.PAUSE)
    assert resume() is ControlStatus.DONE
    assert book.record(call).pinned == wal.Pinned("dp_2", 6)


# ---------------------------------------------------------------- workflows


def test_promises_complete_once() -> None:
    """Goal: the first completion stays, and those who wait hear it. Method: the run waits for a
    promise; two shared handlers complete it.
    """
    book = Ledger()
    flow = book.call(sdk.workflow("w"))
    book.report(flow, sdk.get_promise("p", 1))
    first, second = book.call(sdk.workflow_shared("w")), book.call(sdk.workflow_shared("w"))
    book.report(first, sdk.complete_promise("p", b"yes", 1))
    book.report(second, sdk.complete_promise("p", b"no", 1))
    outcomes = {
        stored.invocation: journal_codec.outcome(entry)
        for stored in book.of(Stored)
        for entry in stored.notifications
    }
    assert outcomes == {flow: Success(b"yes"), first: None, second: ALREADY_COMPLETED}


def test_a_forgotten_workflow_takes_its_state_along() -> None:
    """Goal: nothing of a workflow stays behind its retention. Method: state, a promise, purge."""
    book = Ledger()
    flow = book.call(sdk.workflow("w"))
    book.report(flow, sdk.set_state("x", b"1"), sdk.complete_promise("p", b"v", 1))
    book.finish(flow)
    assert book.state("Flow", "w") == {"x": b"1"}
    rows_before = len(book.rows.rows)
    assert operate(book, flow, Control.PURGE) is ControlStatus.DONE
    assert book.state("Flow", "w") == {}
    assert book.find(flow) is None
    kinds = {key[:2] for key in book.rows.rows}
    assert kinds <= {b"fs", b"ti"}, kinds
    assert len(book.rows.rows) < rows_before


# ---------------------------------------------------------------- retention


@pytest.mark.parametrize(
    ("retention", "kept_ms", "journal_ms"),
    [
        (Retention(1000, 1000), 1000, 1000),
        (Retention(1000, 0), 1000, 0),
        (Retention(1000, 400), 1000, 400),
        (Retention(0, 0), ANSWER_KEPT_MS, 0),
    ],
)
def test_traces_stay_as_long_as_asked(retention: Retention, kept_ms: int, journal_ms: int) -> None:
    """Goal: outcome and journal are forgotten each at its time; an outcome that nothing retains
    stays
    a moment for a caller that lost it. Method: look just before and at the time.
    """
    book = Ledger()
    call = book.call(sdk.service(), retention=retention)
    ended_ms = book.now_ms
    book.finish(call)
    assert bool(book.kinds(call)) == (journal_ms > 0)
    for at_ms in (journal_ms - 1, journal_ms, kept_ms - 1, kept_ms):
        book.now_ms = max(book.now_ms, ended_ms + at_ms)
        book.fire_due()
        age_ms = book.now_ms - ended_ms
        assert (book.find(call) is not None) == (age_ms < kept_ms)
        assert bool(book.kinds(call)) == (age_ms < journal_ms)


def test_a_timer_of_a_former_life_forgets_nobody() -> None:
    """Goal: purged and called again, an id is kept as long as its second life says. Method: purge
    at once, call again later, fire the timer of the first life.
    """
    book = Ledger()
    call = book.call(sdk.service(), retention=Retention(1000, 1000))
    book.finish(call)
    operate(book, call, Control.PURGE)
    book.now_ms += 900
    book.call(sdk.service(), invocation=call, retention=Retention(1000, 1000))
    book.finish(call)
    book.now_ms += 100
    assert book.fire_due() == 1
    assert book.find(call) is not None
    book.now_ms += 900
    book.fire_due()
    assert book.find(call) is None


# ---------------------------------------------------------------- operators


def test_what_operators_may_do_when() -> None:
    """Goal: each wish is done or refused by the stage. Method: a table of stages and wishes."""
    done, already = ControlStatus.DONE, ControlStatus.ALREADY
    over, early = ControlStatus.NOT_RUNNING, ControlStatus.NOT_COMPLETED
    unborn, told = ControlStatus.NOT_BEGUN, ControlStatus.ACCEPTED
    table = {
        Control.PAUSE: {"running": done, "paused": already, "ended": over, "scheduled": over},
        Control.RESUME: {"running": already, "paused": done, "ended": over, "scheduled": unborn},
        Control.CANCEL: {"running": told, "paused": told, "ended": over, "scheduled": done},
        Control.KILL: {"running": done, "paused": done, "ended": over, "scheduled": done},
        Control.PURGE: {"running": early, "paused": early, "ended": done, "scheduled": early},
        Control.RESTART_AS_NEW: {"running": early, "ended": done, "scheduled": unborn},
    }
    for control, row in table.items():
        for stage, expected in row.items():
            book = Ledger()
            start = book.now_ms + 10 if stage == "scheduled" else None
            call = book.call(sdk.service(), start_at_ms=start)
            if stage == "ended":
                book.finish(call)
            elif stage == "paused":
                operate(book, call, Control.PAUSE)
            assert operate(book, call, control) is expected, (control, stage)
    assert operate(Ledger(), raw_id(1, 2), Control.KILL) is ControlStatus.NOT_FOUND


def test_restart_as_new_runs_the_same_input_again() -> None:
    """Goal: a new invocation with the same argument. Method: restart a completed one."""
    book = Ledger()
    call = book.call(sdk.service(), b"argument")
    book.finish(call)
    operate(book, call, Control.RESTART_AS_NEW)
    new = book.of(Operated)[-1].new_invocation
    assert new == raw_id(7, 999)
    assert book.record(new).restarted_from == call
    assert book.of(RunInvocation)[-1].invocation == new
    assert book.outcome(call) == Success(b"out")


# ---------------------------------------------------------------- replicas


def test_replicas_agree_however_they_batch() -> None:
    """Goal: P1. Method: a log with everything in it, applied one by one and all in one go."""
    book = Ledger()
    a, b = book.call(sdk.exclusive("a")), book.call(sdk.exclusive("a"))
    book.report(a, sdk.set_state("x", b"1"), sdk.call(sdk.exclusive("b"), raw_id(9, 1), 1, 2))
    book.report(a, sdk.sleep(book.now_ms, 3), end=wal.Suspended(AwaitPoint((3,))))
    book.fire_due()
    book.finish(raw_id(9, 1))
    book.finish(a)
    operate(book, b, Control.KILL)
    book.now_ms += 2 * DAY_MS
    book.fire_due()

    other = Ledger()
    transaction = Transaction(other.rows)
    for lsn, envelope in enumerate(book.log, 1):
        apply(other.partition, journal_codec, Lsn(lsn), envelope, transaction)
    other.rows.write(transaction.mutations())
    assert other.rows.rows == book.rows.rows
    assert partition_key_of_key("a") == partition_key_of_id(a)
