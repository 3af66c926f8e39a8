"""How events about invocations read in the timeline; see `story`."""

from __future__ import annotations

from typing import TypeAlias

from restate_node.sim.history import Event
from restate_node.sim.history_invocations import (
    ControlOrdered,
    ControlSaid,
    EntryForgotten,
    EntryWritten,
    HandlerReturned,
    InvocationAcknowledged,
    InvocationAnswered,
    InvocationCalled,
    InvocationsSettled,
    InvocationUnknown,
    ObjectWritten,
    OutcomeSeen,
    ReplayBroken,
    StageReached,
    StepSeen,
    TimerRang,
    TimerSet,
)

Told: TypeAlias = tuple[str, str, str]
TEXT_MAX = 120


def tell_invocation(event: Event) -> Told | None:
    """Who, what, details; None if it is about something else."""
    return _of_a_client(event) or _of_a_handler(event) or _of_a_replica(event)


def _of_a_client(event: Event) -> Told | None:
    match event:
        case InvocationCalled():
            what = f"{event.handler} {event.key} {event.argument[:TEXT_MAX]}"
            return event.node, "call", f"call {event.call}: {what} as {event.invocation}"
        case InvocationAcknowledged():
            return event.node, "promised", f"call {event.call}"
        case InvocationAnswered():
            return event.node, "answer", f"call {event.call}: {event.outcome[:TEXT_MAX]}"
        case InvocationUnknown():
            return event.node, "unknown", f"call {event.call}"
        case InvocationsSettled():
            return "world", "settled", f"{len(event.left)} invocations have not ended"
        case ControlOrdered():
            what = f"{event.control.lower()} {event.invocation}"
            return event.node, "order", f"order {event.order}: {what}"
        case ControlSaid():
            return event.node, "control", f"order {event.order}: {event.status.lower()}"
        case _:
            return None


def _of_a_handler(event: Event) -> Told | None:
    match event:
        case StepSeen():
            return "service", "step", f"{event.invocation}/{event.step} is {event.value[:TEXT_MAX]}"
        case HandlerReturned():
            return "service", "return", f"{event.invocation}: {event.value[:TEXT_MAX]}"
        case OutcomeSeen():
            what = f"{event.observer} sees that {event.other} ended"
            return "service", "sees", f"{what}: {event.outcome[:TEXT_MAX]}"
        case TimerSet():
            return "service", "timer", f"{event.timer} is due at {event.due:.3f}s"
        case TimerRang():
            return "service", "timer", f"{event.timer}, due at {event.due:.3f}s, rang"
        case ReplayBroken():
            return "service", "broken", f"{event.invocation}: {event.text}"
        case _:
            return None


def _of_a_replica(event: Event) -> Told | None:
    match event:
        case EntryWritten():
            where = f"partition {event.partition}, LSN {event.lsn}"
            what = f"entry {event.index} of {event.invocation} is {event.digest}"
            return event.node, "journal", f"{where}: {what}"
        case EntryForgotten():
            where = f"partition {event.partition}, LSN {event.lsn}"
            return event.node, "journal", f"{where}: no entry {event.index} of {event.invocation}"
        case StageReached():
            where = f"partition {event.partition}, LSN {event.lsn}"
            what = f"{event.invocation} is {event.stage.lower()}, run {event.run}"
            return event.node, "stage", f"{where}: {what} {event.outcome[:TEXT_MAX]}".rstrip()
        case ObjectWritten():
            where = f"partition {event.partition}, LSN {event.lsn}"
            return event.node, "object", f"{where}: {event.object} by {event.writer}"
        case _:
            return None
