"""News for an invocation from elsewhere: signals, answers, timers, who wants to know its end."""

from __future__ import annotations

from typing import assert_never

from restate_node.protocol.partition.commands.operate import cancel
from restate_node.protocol.partition.invocation_table import (
    Stage,
    Waiter,
    find_invocation,
    read_invocation,
)
from restate_node.protocol.partition.journal_table import without_journal
from restate_node.protocol.partition.lifecycle import enqueue, forget, notify, respond, update
from restate_node.protocol.partition.machine import Machine
from restate_node.protocol.partition.outbox_table import numbers_to, write_message
from restate_node.protocol.partition.tables import SCAN_ROWS_MAX
from restate_node.protocol.partition.timer_table import (
    Timer,
    TimerKind,
    read_timer,
    without_timer,
)
from restate_node.types.invocations import NOT_FOUND
from restate_node.types.journal import CANCEL_SIGNAL, MessageType, SignalIndex
from restate_node.types.wal import AttachTo, FireTimer, Notify, Respond, TruncateOutbox

CANCEL = SignalIndex(CANCEL_SIGNAL)


def take_signal(machine: Machine, command: Notify) -> None:
    """A cancellation does more than to arrive."""
    record = read_invocation(machine.rows, command.invocation)
    if record is None or record.stage is Stage.COMPLETED:
        return
    if machine.codec.notification_id(command.signal) == CANCEL:
        cancel(machine, command.invocation, record, command.signal)
    else:
        notify(machine, command.invocation, record, command.signal)


def take_response(machine: Machine, command: Respond) -> None:
    """What it waits for has ended; an invocation that has ended itself does not care."""
    record = read_invocation(machine.rows, command.invocation)
    if record is None or record.stage is Stage.COMPLETED:
        return
    if command.life is not None and command.life != record.random_seed:
        return  # for a former life of that id
    entry = machine.codec.completion(command.kind, command.completion, command.outcome)
    notify(machine, command.invocation, record, entry)


def attach_to(machine: Machine, command: AttachTo) -> None:
    """Tell now, or when it has ended."""
    record = find_invocation(machine.rows, command.invocation)
    if command.wait and record is not None and record.stage is not Stage.COMPLETED:
        waiter = Waiter(command.waiter, command.completion, life=command.life)
        update(machine, command.invocation, record, waiters=(*record.waiters, waiter))
        return
    kind = MessageType.GET_INVOCATION_OUTPUT_COMPLETION
    if command.wait:
        kind = MessageType.ATTACH_INVOCATION_COMPLETION
    outcome = NOT_FOUND if record is None else record.outcome
    if record is not None and record.stage is not Stage.COMPLETED:
        outcome = None
    respond(machine, command.waiter, command.completion, kind, outcome, command.life)


def fire_timer(machine: Machine, command: FireTimer) -> None:
    """Do what the timer is for, once."""
    timer = read_timer(machine.rows, command.timer)
    if timer is None:
        return
    machine.put(without_timer(command.timer))
    match timer.kind:
        case TimerKind.START:
            _start(machine, timer)
        case TimerKind.SLEEP:
            kind = MessageType.SLEEP_COMPLETION
            response = Respond(timer.invocation, timer.number, kind, None, timer.life)
            take_response(machine, response)
        case TimerKind.FORGET | TimerKind.FORGET_JOURNAL:
            _forget(machine, timer)
        case _:
            assert_never(timer.kind)


def truncate_outbox(machine: Machine, command: TruncateOutbox) -> None:
    """Drop messages that have arrived."""
    while numbers := numbers_to(machine.rows, command.up_to, SCAN_ROWS_MAX):
        machine.put(*(write_message(number, None) for number in numbers))


def _start(machine: Machine, timer: Timer) -> None:
    """Of a timer of a former life of that id nothing may come: it may be too early."""
    record = read_invocation(machine.rows, timer.invocation)
    if record is None or record.stage is not Stage.SCHEDULED:
        return
    if record.start_at_ms is None or record.start_at_ms <= timer.at_ms:
        enqueue(machine, timer.invocation, record)


def _forget(machine: Machine, timer: Timer) -> None:
    """Of a timer of a former life of that id nothing may come."""
    record = read_invocation(machine.rows, timer.invocation)
    if record is None or record.stage is not Stage.COMPLETED or record.completed_at_ms is None:
        return
    if timer.kind is TimerKind.FORGET_JOURNAL:
        if record.completed_at_ms + record.retention.journal_ms <= timer.at_ms:
            machine.put(*without_journal(machine.rows, timer.invocation))
            update(machine, timer.invocation, record, entries=0, commands=0)
    elif record.completed_at_ms + record.retention.outcome_ms <= timer.at_ms:
        forget(machine, timer.invocation, record)
