"""An attempt reports: what its handler did goes into the journal, and happens.

    entry ─▶ journal ─▶ what it means ─▶ state, timers, messages, promises
                    └▶ its completion, if it is known at once, right behind it

All of one report is in one record, and mostly there are only a few of them for an invocation: what
the handler did until it had to wait, and the end.
"""

from __future__ import annotations

from typing import assert_never

from restate_node.protocol.invocation.awaiting import is_runnable
from restate_node.protocol.partition.commands.entries import perform
from restate_node.protocol.partition.effects import Stored
from restate_node.protocol.partition.invocation_table import (
    InvocationRecord,
    Stage,
    read_invocation,
    write_invocation,
)
from restate_node.protocol.partition.journal_table import EventRecord, write_entry, write_event
from restate_node.protocol.partition.lifecycle import (
    add_notification,
    arrivals,
    complete,
    run,
    stop,
    update,
)
from restate_node.protocol.partition.machine import Machine
from restate_node.types.invocations import RawInvocationId, Success
from restate_node.types.journal import Entry, is_notification
from restate_node.types.wal import (
    AttemptProgress,
    Completed,
    Failed,
    Paused,
    ProposedEntry,
    RunEnd,
    Suspended,
)


def progress(machine: Machine, command: AttemptProgress) -> None:
    """Take a report, unless it is one of a former run."""
    invocation = command.invocation
    record = read_invocation(machine.rows, invocation)
    if record is None or record.stage is not Stage.INVOKED or record.run != command.run:
        return
    if command.pinned is not None:
        record = record.with_(pinned=command.pinned)
    record = _keep_events(machine, record, command)
    notifications: list[Entry] = []
    for proposed in command.entries:
        record = _add(machine, invocation, record, proposed, notifications)
    if command.end is None:
        update(machine, invocation, record)
        new = tuple(notifications)
        counts = record.entries, record.commands
        machine.effects.append(Stored(invocation, record.run, *counts, new, True))
    else:
        _end(machine, invocation, record, command.end)


def _add(
    machine: Machine,
    invocation: RawInvocationId,
    record: InvocationRecord,
    proposed: ProposedEntry,
    notifications: list[Entry],
) -> InvocationRecord:
    entry = Entry(proposed.kind, proposed.payload)
    if is_notification(entry.kind):
        return _add_completion(machine, invocation, record, entry, notifications)
    index = record.entries
    machine.put(write_entry(invocation, index, entry, machine.now_ms))
    record = record.with_(entries=index + 1, commands=record.commands + 1)
    record, completions = perform(machine, invocation, record, entry, proposed.callee)
    for completion in completions:
        record = _add_completion(machine, invocation, record, completion, notifications)
    return record


def _add_completion(
    machine: Machine,
    invocation: RawInvocationId,
    record: InvocationRecord,
    entry: Entry,
    notifications: list[Entry],
) -> InvocationRecord:
    record, is_new = add_notification(machine, invocation, record, entry)
    if is_new:
        notifications.append(entry)
    return record


def _keep_events(
    machine: Machine, record: InvocationRecord, command: AttemptProgress
) -> InvocationRecord:
    for event in command.events:
        row = EventRecord(record.entries - 1, machine.now_ms, event.kind, event.content)
        machine.put(write_event(command.invocation, record.events, row))
        record = record.with_(events=record.events + 1)
    return record


def _end(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, end: RunEnd
) -> None:
    """The run is over. `record` is still the newest: messages to itself are applied behind this."""
    match end:
        case Completed():
            complete(machine, invocation, record, record.outcome or Success(b""))
        case Failed(failure):
            complete(machine, invocation, record, failure)
        case Paused():
            stop(machine, invocation, record, Stage.PAUSED)
        case Suspended(awaiting, told):
            if is_runnable(awaiting, arrivals(machine.rows, machine.codec, invocation, told)):
                run(machine, invocation, record)
                return
            record = stop(machine, invocation, record, Stage.SUSPENDED)
            record = record.with_(awaiting=awaiting, told=told)
            machine.put(write_invocation(invocation, record))
        case _:
            assert_never(end)
