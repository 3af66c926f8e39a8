"""What operators do with an invocation: kill, cancel, pause, resume, restart, purge."""

from __future__ import annotations

from typing import assert_never

from restate_node.protocol.partition.commands.restart import restart
from restate_node.protocol.partition.effects import Operated, RunAgainNow, StopRun
from restate_node.protocol.partition.invocation_table import (
    InvocationRecord,
    Stage,
    find_invocation,
    read_invocation,
)
from restate_node.protocol.partition.journal_events import paused_by_hand
from restate_node.protocol.partition.journal_table import (
    journal_of,
    read_notification,
    without_journal,
    write_event,
)
from restate_node.protocol.partition.lifecycle import (
    complete,
    forget,
    notify,
    run,
    stop,
    update,
)
from restate_node.protocol.partition.machine import Machine
from restate_node.types.invocation_messages import Control, ControlStatus
from restate_node.types.invocations import (
    CANCELLED,
    KILLED,
    Failure,
    RawInvocationId,
    Retention,
    partition_key_of_id,
)
from restate_node.types.journal import (
    CANCEL_SIGNAL,
    CompletionId,
    Entry,
    MessageType,
    SignalIndex,
)
from restate_node.types.journal_commands import Call
from restate_node.types.wal import Operate, Pinned, Terminate


def operate(machine: Machine, command: Operate) -> None:
    """Do it or refuse it; whoever asked is told."""
    record = find_invocation(machine.rows, command.invocation)
    status = ControlStatus.NOT_FOUND if record is None else _operate(machine, command, record)
    is_restarted = command.control is Control.RESTART_AS_NEW and status is ControlStatus.DONE
    new = command.new_invocation if is_restarted else None
    machine.effects.append(Operated(command.ticket, status, new))


def terminated(machine: Machine, command: Terminate) -> None:
    """A caller was killed: kill this one too."""
    record = read_invocation(machine.rows, command.invocation)
    if record is not None and record.stage is not Stage.COMPLETED:
        terminate(machine, command.invocation, record, KILLED)


def terminate(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, failure: Failure
) -> None:
    """End it here and now, and kill what it has called and waits for. What has not begun is
    forgotten as well, so that the same key can be used to begin anew.
    """
    if not record.has_begun:
        record = record.with_(retention=Retention(0, 0))
    if record.stage is Stage.INVOKED:
        machine.effects.append(StopRun(invocation))
    for callee in _open_calls(machine, invocation):
        machine.send(partition_key_of_id(callee), Terminate(callee))
    complete(machine, invocation, record, failure)


def cancel(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord, signal: Entry
) -> ControlStatus:
    """One that has begun is told, and may undo its work: also one that was paused, which runs for
    it. One that has not begun never begins.
    """
    if not record.has_begun:
        terminate(machine, invocation, record, CANCELLED)
        return ControlStatus.DONE
    record = notify(machine, invocation, record, signal)
    if record.stage is Stage.PAUSED:
        run(machine, invocation, record)
    return ControlStatus.ACCEPTED


def _operate(machine: Machine, command: Operate, record: InvocationRecord) -> ControlStatus:
    invocation, has_ended = command.invocation, record.stage is Stage.COMPLETED
    match command.control:
        case Control.PURGE | Control.PURGE_JOURNAL:
            if not has_ended:
                return ControlStatus.NOT_COMPLETED
            return _purge(machine, command, record)
        case Control.RESTART_AS_NEW | Control.RESUME if not record.has_begun:
            return ControlStatus.NOT_BEGUN
        case Control.RESTART_AS_NEW:
            return restart(machine, command, record) if has_ended else ControlStatus.NOT_COMPLETED
        case Control.KILL | Control.CANCEL | Control.PAUSE | Control.RESUME if has_ended:
            return ControlStatus.NOT_RUNNING
        case Control.KILL:
            terminate(machine, invocation, record, KILLED)
            return ControlStatus.DONE
        case Control.CANCEL:
            signal = machine.codec.signal(SignalIndex(CANCEL_SIGNAL), None)
            return cancel(machine, invocation, record, signal)
        case Control.PAUSE:
            return _pause(machine, invocation, record)
        case Control.RESUME:
            return _resume(machine, command, record)
        case _:
            assert_never(command.control)


def _pause(
    machine: Machine, invocation: RawInvocationId, record: InvocationRecord
) -> ControlStatus:
    match record.stage:
        case Stage.PAUSED:
            return ControlStatus.ALREADY
        case Stage.INVOKED | Stage.SUSPENDED:
            event = paused_by_hand(machine.rows, invocation, record, machine.now_ms)
            machine.put(write_event(invocation, record.events, event))
            noted = record.with_(events=record.events + 1)
            stop(machine, invocation, noted, Stage.PAUSED)
            return ControlStatus.DONE
        case _:
            return ControlStatus.NOT_RUNNING


def _resume(machine: Machine, command: Operate, record: InvocationRecord) -> ControlStatus:
    """Elsewhere only while nothing of it runs: an attempt under way would go on where it is."""
    invocation, elsewhere = command.invocation, command.deployment
    if record.stage is Stage.INVOKED:
        if elsewhere is not None:
            return ControlStatus.PIN_FIXED
        machine.effects.append(RunAgainNow(invocation, record.run))
        return ControlStatus.ALREADY
    if elsewhere is not None:
        if record.pinned is None:
            return ControlStatus.PIN_FIXED
        record = record.with_(pinned=Pinned(elsewhere, record.pinned.protocol_version))
    run(machine, invocation, record)
    return ControlStatus.DONE


def _purge(machine: Machine, command: Operate, record: InvocationRecord) -> ControlStatus:
    if command.control is Control.PURGE:
        forget(machine, command.invocation, record)
    else:
        machine.put(*without_journal(machine.rows, command.invocation))
        update(machine, command.invocation, record, entries=0, commands=0)
    return ControlStatus.DONE


def _open_calls(machine: Machine, invocation: RawInvocationId) -> list[RawInvocationId]:
    """Callees whose end the journal does not know. One-way calls are no children."""
    waiting: dict[int, int] = {}
    identities: dict[int, RawInvocationId] = {}
    for row in journal_of(machine.rows, invocation):
        if row.entry.kind == MessageType.CALL_INVOCATION_ID_COMPLETION:
            identity = machine.codec.notification_id(row.entry)
            callee = machine.codec.invocation_id(row.entry)
            if isinstance(identity, CompletionId) and callee is not None:
                identities[identity.number] = RawInvocationId(callee)
        elif row.entry.kind == MessageType.CALL_COMMAND:
            meaning = machine.codec.meaning(row.entry)
            if isinstance(meaning, Call) and meaning.completion is not None:
                waiting[meaning.id_completion] = meaning.completion
    return [
        identities[id_completion]
        for id_completion, completion in waiting.items()
        if id_completion in identities
        and read_notification(machine.rows, invocation, CompletionId(completion)) is None
    ]
