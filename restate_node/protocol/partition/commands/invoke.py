"""A call arrives. The first of its id is run; a later one is about the first."""

from __future__ import annotations

from restate_node.protocol.partition.effects import Accepted, Ended
from restate_node.protocol.partition.invocation_table import (
    InvocationRecord,
    Stage,
    Waiter,
    read_invocation,
    write_invocation,
)
from restate_node.protocol.partition.journal_table import (
    JournalRow,
    write_entry,
    write_notification,
)
from restate_node.protocol.partition.lifecycle import enqueue, forget, tell, update
from restate_node.protocol.partition.machine import Machine
from restate_node.protocol.partition.timer_table import Timer, TimerKind
from restate_node.types.invocations import WORKFLOW_ALREADY_INVOKED, Invocation, Outcome
from restate_node.types.journal import MessageType, is_command, is_notification
from restate_node.types.journal_commands import Output
from restate_node.types.targets import TargetKind
from restate_node.types.wal import Invoke, Pinned


def invoke(machine: Machine, command: Invoke) -> None:
    """Begin it, schedule it, or join the one that exists."""
    call = command.invocation
    record = read_invocation(machine.rows, call.id)
    if record is not None and record.stands_for(call.random_seed):
        _join(machine, call, record)
        return
    if record is not None:
        forget(machine, call.id, record)
    entry = machine.codec.input(call.argument, call.headers)
    begin(machine, call, [JournalRow(0, entry, machine.now_ms)])


def begin(
    machine: Machine, call: Invocation, journal: list[JournalRow], pinned: Pinned | None = None
) -> None:
    """Make an invocation that has this much of its journal behind it: its input, or more."""
    _write_journal(machine, call, journal)
    record = InvocationRecord(
        Stage.SCHEDULED,
        call.target,
        created_at_ms=call.created_at_ms or machine.now_ms,
        modified_at_ms=machine.now_ms,
        random_seed=call.random_seed,
        retention=call.retention,
        origin=call.origin,
        caller=call.caller,
        idempotency_key=call.idempotency_key,
        restarted_from=call.restarted_from,
        start_at_ms=call.start_at_ms,
        entries=len(journal),
        commands=sum(is_command(row.entry.kind) for row in journal),
        pinned=pinned,
        outcome=_outcome(machine, journal),
    )
    machine.effects.append(Accepted(call.id, call.random_seed, True, call.start_at_ms))
    if call.start_at_ms is None:
        enqueue(machine, call.id, record)
        return
    # Also when it is due already: which clock says so must not matter to a replica.
    machine.put(write_invocation(call.id, record.with_(scheduled_at_ms=machine.now_ms)))
    machine.set_timer(Timer(call.start_at_ms, TimerKind.START, call.id))


def _write_journal(machine: Machine, call: Invocation, journal: list[JournalRow]) -> None:
    for index, row in enumerate(journal):
        machine.put(write_entry(call.id, index, row.entry, row.at_ms))
        if is_notification(row.entry.kind):
            identity = machine.codec.notification_id(row.entry)
            machine.put(write_notification(call.id, identity, index))


def _outcome(machine: Machine, journal: list[JournalRow]) -> Outcome | None:
    """What it returns, if its journal says so already."""
    for row in journal:
        if row.entry.kind == MessageType.OUTPUT_COMMAND:
            means = machine.codec.meaning(row.entry)
            assert isinstance(means, Output), "an output means an outcome"
            return means.outcome
    return None


def _join(machine: Machine, call: Invocation, record: InvocationRecord) -> None:
    """The same submission again, or another one with the same key."""
    is_new = call.random_seed == record.random_seed
    machine.effects.append(Accepted(call.id, call.random_seed, is_new, record.start_at_ms))
    if record.stage is Stage.COMPLETED:
        assert record.outcome is not None, "a completed invocation has an outcome"
        assert record.expires_at_ms is not None, "a completed invocation has an end"
        ended = Ended(call.id, record.target, record.outcome, record.expires_at_ms)
        machine.effects.append(ended)
    caller = call.caller
    if is_new or caller is None or caller.completion is None:
        return
    if record.target.kind is TargetKind.WORKFLOW_RUN:
        tell(machine, caller, WORKFLOW_ALREADY_INVOKED)
    elif record.stage is Stage.COMPLETED:
        tell(machine, caller, record.outcome or WORKFLOW_ALREADY_INVOKED)
    else:
        waiter = Waiter(caller.invocation, caller.completion, True, caller.life)
        update(machine, call.id, record, waiters=(*record.waiters, waiter))
