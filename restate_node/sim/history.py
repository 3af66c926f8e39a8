"""What clients and probes saw in a run: the only thing that checkers ever look at.

A checker that could look into a node would soon share its misunderstandings. So everything of
importance becomes an event here, at the moment somebody saw it, in the words of whoever saw it:

    clients   called, acknowledged, failed, read, found         the promises a user relies on
    probes    chains, leaders, states, Raft entries of a node   what replicas believe
    world     crashes, faults, healing                          what may excuse the above

Events are frozen and are only ever added. Times are seconds of the simulation, `node` is the host
name with the number of its life (`n1#2`), or the host alone where lives do not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from restate_node.sim.linearizability import Operation

EVENTS_MAX = 2_000_000
"""A run that has more to tell is a run gone wild."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something seen at a time."""

    at: float


# ---------------------------------------------------------------- the log, as clients see it


@dataclass(frozen=True, slots=True)
class Appending(Event):
    """A client has given a record to an appender."""

    node: str
    log: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Acknowledged(Event):
    """The record is promised to be in the log, for ever, at this LSN."""

    node: str
    log: int
    lsn: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class AppendDropped(Event):
    """The client will never learn what became of the record."""

    node: str
    log: int
    payload: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class SegmentAcknowledged(Event):
    """A loglet took a batch: `count` records from `lsn` on, as part of that segment."""

    node: str
    log: int
    segment: int
    lsn: int
    count: int


@dataclass(frozen=True, slots=True)
class ReadStarted(Event):
    """A reader begins at an LSN; its later events are one sequence."""

    node: str
    reader: int
    log: int
    lsn: int


@dataclass(frozen=True, slots=True)
class RecordRead(Event):
    """A reader was given a record."""

    node: str
    reader: int
    log: int
    lsn: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class GapRead(Event):
    """A reader was told that `[lsn, end)` is trimmed."""

    node: str
    reader: int
    log: int
    lsn: int
    end: int


@dataclass(frozen=True, slots=True)
class ReadEnded(Event):
    """A reader stops: it was given all below `lsn`. `complete` at the end of the run, when that is
    the tail."""

    node: str
    reader: int
    log: int
    lsn: int
    complete: bool


@dataclass(frozen=True, slots=True)
class TailFound(Event):
    """A find-tail that began at `called_at` says where the log ends."""

    node: str
    log: int
    called_at: float
    segment: int
    sealed: bool
    lsn: int


@dataclass(frozen=True, slots=True)
class Trimming(Event):
    """Somebody is about to trim the log up to and including the LSN; it may happen, or not."""

    node: str
    log: int
    lsn: int


@dataclass(frozen=True, slots=True)
class SegmentSeen:
    """One segment of a chain."""

    index: int
    base: int
    is_marker: bool = False


@dataclass(frozen=True, slots=True)
class ChainSeen(Event):
    """A node has this version of a log's chain."""

    node: str
    version: int
    log: int
    segments: tuple[SegmentSeen, ...]


# ---------------------------------------------------------------- metadata


@dataclass(frozen=True, slots=True)
class RegisterCalled(Event):
    """A client begins an operation on a key of the metadata store; `call` numbers it."""

    node: str
    call: int
    operation: Operation


@dataclass(frozen=True, slots=True)
class RegisterUsed(Event):
    """The client is done with it. None: it certainly had no effect.

    A call that is never followed by this may have taken effect, or may yet.
    """

    node: str
    call: int
    operation: Operation | None


@dataclass(frozen=True, slots=True)
class RaftLeader(Event):
    """A metadata server says that it leads in that term."""

    node: str
    term: int
    last_index: int


@dataclass(frozen=True, slots=True)
class RaftEntry(Event):
    """An entry in a metadata server's log, by a digest of its content."""

    node: str
    index: int
    term: int
    digest: str


@dataclass(frozen=True, slots=True)
class RaftApplied(Event):
    """A metadata server took the entry for committed and applied it."""

    node: str
    index: int
    term: int
    digest: str


# ---------------------------------------------------------------- partitions


@dataclass(frozen=True, slots=True)
class Leading(Event):
    """A processor acts as the leader of its partition in that epoch."""

    node: str
    partition: int
    epoch: int


@dataclass(frozen=True, slots=True)
class EpochBegan(Event):
    """A replica read the announcement of a leader in the log, and let it count."""

    node: str
    partition: int
    lsn: int
    epoch: int
    leader: str


@dataclass(frozen=True, slots=True)
class StateSeen(Event):
    """A replica's state, by a hash, at an applied LSN."""

    node: str
    partition: int
    lsn: int
    digest: str


@dataclass(frozen=True, slots=True)
class CommandApplied(Event):
    """A replica let a command change its state. `command` names it for ever, doubles alike."""

    node: str
    partition: int
    lsn: int
    command: str


@dataclass(frozen=True, slots=True)
class Progress(Event):
    """How far a replica has got, against the tail of its log."""

    node: str
    partition: int
    applied: int
    tail: int
    is_leader: bool


@dataclass(frozen=True, slots=True)
class PatchAcknowledged(Event):
    """A client was promised that its write stands in the partition's log, at this LSN."""

    node: str
    partition: int
    lsn: int


@dataclass(frozen=True, slots=True)
class RecordApplied(Event):
    """A replica read this record and moved over it. Without a key it changes no user's state.

    `writer` and `number` tell doubles: a higher number of a writer makes all lower ones old.
    """

    node: str
    partition: int
    lsn: int
    writer: str
    number: tuple[int, int]
    key: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class StateDumped(Event):
    """The users' state that a replica holds at an LSN, as key and value; when its store is opened
    and at the end of the run."""

    node: str
    partition: int
    lsn: int
    state: tuple[tuple[str, str], ...]


# ---------------------------------------------------------------- snapshots and trimming


@dataclass(frozen=True, slots=True)
class DurabilityRule(Event):
    """What must hold a record's effects before the log is trimmed; on how many replicas, where the
    mode speaks of all of them."""

    mode: str
    replicas: int


@dataclass(frozen=True, slots=True)
class StoreFlushed(Event):
    """All that a replica has applied up to this LSN survives a crash of its host."""

    node: str
    partition: int
    lsn: int


@dataclass(frozen=True, slots=True)
class SnapshotsKept(Event):
    """From now on the repository names these snapshots of a partition, newest first."""

    partition: int
    lsns: tuple[int, ...]


# ---------------------------------------------------------------- the world


@dataclass(frozen=True, slots=True)
class NodeStarted(Event):
    node: str


@dataclass(frozen=True, slots=True)
class NodeReady(Event):
    """The node says that it takes part."""

    node: str


@dataclass(frozen=True, slots=True)
class NodeEnded(Event):
    """The node is gone: killed, or by its own decision."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class CopyDamaged(Event):
    """What a log server had stored is not what it was: a copy of a record, or the whole store."""

    host: str
    what: str


@dataclass(frozen=True, slots=True)
class FaultBegan(Event):
    fault: str


@dataclass(frozen=True, slots=True)
class FaultEnded(Event):
    fault: str


@dataclass(frozen=True, slots=True)
class Healed(Event):
    """All faults are over and all nodes were started: from here on, liveness is owed."""


@dataclass(frozen=True, slots=True)
class Observed(Event):
    """The moment up to which liveness was watched."""


AnyEvent = TypeVar("AnyEvent", bound=Event)


class History:
    """All events of a run, in the order in which they were seen."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, event: Event) -> None:
        assert len(self.events) < EVENTS_MAX, "more events than a run can have: find the loop"
        self.events.append(event)

    def of(self, kind: type[AnyEvent]) -> Iterator[AnyEvent]:
        """The events of one kind."""
        return (event for event in self.events if isinstance(event, kind))

    def last(self, kind: type[AnyEvent]) -> AnyEvent | None:
        """The newest event of a kind."""
        return next((e for e in reversed(self.events) if isinstance(e, kind)), None)
