"""Bugs on purpose in what operators do to invocations, and in who hears how one ended: `plants`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from restate_node.protocol.invocation.awaiting import Known
from restate_node.protocol.partition import lifecycle
from restate_node.protocol.partition.commands import operate, progress, restart
from restate_node.protocol.partition.invocation_table import InvocationRecord, Stage
from restate_node.protocol.partition.machine import Machine
from restate_node.protocol.partition.tables import TableReader
from restate_node.sim.plant import Plant
from restate_node.sim.substitution import Substitution, substituted
from restate_node.types.invocations import Outcome, RawInvocationId, Success
from restate_node.types.journal import (
    CANCEL_SIGNAL,
    AwaitPoint,
    MessageType,
    NotificationId,
    SignalIndex,
)

ReadInvocation = Callable[[TableReader, RawInvocationId], InvocationRecord | None]


def _late_reports_count(inner: ReadInvocation) -> ReadInvocation:
    """A run that was stopped is taken for one that goes on."""

    def read(tables: TableReader, invocation: RawInvocationId) -> InvocationRecord | None:
        record = inner(tables, invocation)
        if record is None or record.stage not in (Stage.PAUSED, Stage.COMPLETED):
            return record
        return record.with_(stage=Stage.INVOKED, run=record.run - 1)

    return read


Stop = Callable[[Machine, RawInvocationId, InvocationRecord, Stage], InvocationRecord]


def _nothing_stops(inner: Stop) -> Stop:
    del inner
    return lambda machine, invocation, record, stage: record


def _kept(*key: object) -> None:
    """Nobody gets it."""


Complete = Callable[[Machine, RawInvocationId, InvocationRecord, Outcome], None]


def _dead_hands_hold(inner: Complete) -> Complete:
    """Who is killed keeps the key of its object."""
    keeps = Substitution(lifecycle, "_pass_on", lambda _: _kept)

    def complete(
        machine: Machine, invocation: RawInvocationId, record: InvocationRecord, outcome: Outcome
    ) -> None:
        with substituted([keeps]):
            inner(machine, invocation, record, outcome)

    return complete


Wakes = Callable[[AwaitPoint, NotificationId, Known], bool]


def _sleeps_on(inner: Wakes) -> Wakes:
    """The signal to stop wakes nobody."""
    stop = SignalIndex(CANCEL_SIGNAL)
    return lambda point, arrived, known: arrived != stop and inner(point, arrived, known)


Respond = Callable[[Machine, RawInvocationId, int, MessageType, Outcome | None], None]


def _ended_somehow(inner: Respond) -> Respond:
    """Who waited for an end learns that it came, and not what it was."""

    def respond(
        machine: Machine,
        waiter: RawInvocationId,
        completion: int,
        kind: MessageType,
        outcome: Any,
    ) -> None:
        if kind is MessageType.ATTACH_INVOCATION_COMPLETION:
            outcome = Success(b"")
        inner(machine, waiter, completion, kind, outcome)

    return respond


Begin = Callable[..., InvocationRecord | None]


def _begins_nothing(inner: Begin) -> Begin:
    del inner
    return lambda *_: None


OPERATOR_PLANTS: Final = (
    Plant(
        "late-report-counts",
        "what the last run of a paused or killed invocation still reports is taken for new (P11)",
        (Substitution(progress, "read_invocation", _late_reports_count),),
    ),
    Plant(
        "attach-loses-outcome",
        "an invocation that attached to another one is told that it ended, and not how (P12)",
        (Substitution(lifecycle, "respond", _ended_somehow),),
    ),
    Plant(
        "pause-is-only-said",
        "an operator is told that an invocation was paused, and it goes on (P13)",
        (Substitution(operate, "stop", _nothing_stops),),
    ),
    Plant(
        "restart-is-only-said",
        "an operator is told that a call was made again, and nothing of it begins (P9)",
        (Substitution(restart, "begin", _begins_nothing),),
    ),
    Plant(
        "killed-keeps-key",
        "an invocation that is killed keeps the key of its object for ever (V3)",
        (Substitution(operate, "complete", _dead_hands_hold),),
    ),
    Plant(
        "cancel-wakes-nobody",
        "an invocation that is suspended does not hear that it shall stop (P10)",
        (Substitution(lifecycle, "wakes", _sleeps_on),),
    ),
)
