"""What happened when records were applied, for those who act on it: leadership, replies, logs.

Effects are consequences, not state: a replica that crashes between the transaction and its effects
loses nothing, since whatever must survive is in the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from restate_node.types.ids import GenerationalNodeId, LeaderEpoch
from restate_node.types.invocation_messages import ControlStatus
from restate_node.types.invocations import Outcome, RawInvocationId
from restate_node.types.journal import Entry
from restate_node.types.offsets import Lsn
from restate_node.types.targets import Target


@dataclass(frozen=True, slots=True)
class LeaderAnnounced:
    """A new leader, of an epoch above all before."""

    node: GenerationalNodeId
    epoch: LeaderEpoch


@dataclass(frozen=True, slots=True)
class StatePatched:
    """The state of an object was replaced."""

    service: str
    key: str


@dataclass(frozen=True, slots=True)
class PatchRejected:
    """The state of an object was not replaced: it has another version than expected."""

    service: str
    key: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class DurabilityAdvanced:
    """Records up to the point are safe without the log, since that time."""

    point: Lsn
    unix_ms: int


# ---------------------------------------------------------------- invocations


@dataclass(frozen=True, slots=True)
class Accepted:
    """A call is known: to those who submitted it."""

    invocation: RawInvocationId
    random_seed: int
    """Of the call that this is about, to tell a submission from another of the same id."""
    is_new: bool
    start_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """An invocation has an outcome: to those who wait for it."""

    invocation: RawInvocationId
    target: Target
    outcome: Outcome
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class RunInvocation:
    """The leader shall run it."""

    invocation: RawInvocationId
    run: int


@dataclass(frozen=True, slots=True)
class StopRun:
    """Whatever runs of it shall stop; what it still reports is dropped."""

    invocation: RawInvocationId


@dataclass(frozen=True, slots=True)
class RunAgainNow:
    """Do not wait for the next attempt of that run any longer."""

    invocation: RawInvocationId
    run: int


@dataclass(frozen=True, slots=True)
class Stored:
    """Entries of a run are in the journal: `entries` are in it by now, `commands` of these are
    commands, and the notifications are new, in the order in which a handler must see them.
    `is_report`: they were in a report of the run.
    """

    invocation: RawInvocationId
    run: int
    entries: int
    commands: int
    notifications: tuple[Entry, ...]
    is_report: bool = False


@dataclass(frozen=True, slots=True)
class TimerSet:
    """There is a timer that is due at that time."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class MessageSent:
    """There is a message in the outbox."""


@dataclass(frozen=True, slots=True)
class Operated:
    """What became of an operator's wish."""

    ticket: bytes
    status: ControlStatus
    new_invocation: RawInvocationId | None = None


Effect: TypeAlias = (
    LeaderAnnounced
    | StatePatched
    | PatchRejected
    | DurabilityAdvanced
    | Accepted
    | Ended
    | RunInvocation
    | StopRun
    | RunAgainNow
    | Stored
    | TimerSet
    | MessageSent
    | Operated
)
