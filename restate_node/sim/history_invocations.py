"""Events of a history that are about invocations: what clients were promised, what handlers lived
through, what replicas wrote. See `history`.

`call` numbers one call of a client, however often it has to be repeated; the invocation that it
means may be the one of another call.
"""

from __future__ import annotations

from dataclasses import dataclass

from restate_node.sim.history import Event

JOURNAL_KEPT_SECONDS = 3.0
"""After the end of a program, where operators work: so long it can be made again."""

# ---------------------------------------------------------------- clients


@dataclass(frozen=True, slots=True)
class InvocationCalled(Event):
    """A client wants something to run, and will ask until it knows how that ended. `single` names
    what may have only one result: a workflow's key, an idempotency key; empty if nothing does."""

    node: str
    call: int
    invocation: str
    handler: str
    key: str
    argument: str
    single: str


@dataclass(frozen=True, slots=True)
class InvocationAcknowledged(Event):
    """It is promised to run."""

    node: str
    call: int


@dataclass(frozen=True, slots=True)
class InvocationAnswered(Event):
    """It has ended like this, the client is told."""

    node: str
    call: int
    outcome: str
    is_failure: bool


@dataclass(frozen=True, slots=True)
class InvocationUnknown(Event):
    """Nobody has heard of it, the client is told."""

    node: str
    call: int


@dataclass(frozen=True, slots=True)
class InvocationsSettled(Event):
    """All clients know how their calls ended, or do not wait any longer. `left` are invocations
    that leaders have and that have not ended."""

    left: tuple[str, ...]


# ---------------------------------------------------------------- operators


@dataclass(frozen=True, slots=True)
class ControlOrdered(Event):
    """An operator wants something done to an invocation: cancel, kill, pause, resume, purge, or
    make it again. Or a handler wants another one cancelled, which nobody answers."""

    node: str
    order: int
    invocation: str
    control: str


@dataclass(frozen=True, slots=True)
class ControlSaid(Event):
    """What became of it: done, already, accepted; or why not."""

    node: str
    order: int
    status: str


# ---------------------------------------------------------------- handlers


@dataclass(frozen=True, slots=True)
class StepSeen(Event):
    """A handler was told what a step of it came to, by a journal or by an answer. `expected` is the
    only right value, if the handler knows one."""

    invocation: str
    step: int
    value: str
    expected: str = ""


@dataclass(frozen=True, slots=True)
class TimerSet(Event):
    """Somebody ordered something for a time, in seconds of the run."""

    timer: str
    due: float


@dataclass(frozen=True, slots=True)
class TimerRang(Event):
    """It happened; `skew` is how far the clocks of hosts may be ahead of the time of the run."""

    timer: str
    due: float
    skew: float


@dataclass(frozen=True, slots=True)
class ReplayBroken(Event):
    """A handler was given a journal that is not what it had written, or a notification twice."""

    invocation: str
    text: str


@dataclass(frozen=True, slots=True)
class HandlerReturned(Event):
    """A handler got to its end, with this."""

    invocation: str
    value: str


@dataclass(frozen=True, slots=True)
class OutcomeSeen(Event):
    """A handler asked how another invocation ended, and was told. `other` is its id, or what may
    have only one result (`InvocationCalled.single`)."""

    observer: str
    other: str
    outcome: str


# ---------------------------------------------------------------- replicas


@dataclass(frozen=True, slots=True)
class StageReached(Event):
    """A replica has an invocation at another stage, or in another run, than before. `caller` is who
    waits for its end by a call; `outcome` is how it ended, if it has."""

    node: str
    partition: int
    lsn: int
    invocation: str
    stage: str
    run: int
    outcome: str = ""
    is_failure: bool = False
    caller: str = ""


@dataclass(frozen=True, slots=True)
class EntryWritten(Event):
    """A replica put an entry into a journal. `is_command`: of the handler, not to it."""

    node: str
    partition: int
    lsn: int
    invocation: str
    index: int
    is_command: bool
    digest: str


@dataclass(frozen=True, slots=True)
class EntryForgotten(Event):
    """A replica removed an entry from a journal."""

    node: str
    partition: int
    lsn: int
    invocation: str
    index: int


@dataclass(frozen=True, slots=True)
class ObjectWritten(Event):
    """A replica changed state of an object, because of what this invocation reported."""

    node: str
    partition: int
    lsn: int
    object: str
    writer: str
