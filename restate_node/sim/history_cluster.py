"""Events of a history that are about the cluster as a whole: what operators ordered, were told and
see. See `history`.
"""

from __future__ import annotations

from dataclasses import dataclass

from restate_node.sim.history import Event


@dataclass(frozen=True, slots=True)
class OperatorSaid(Event):
    """A command was carried out, or refused, and this is what the operator reads."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplicasOrdered(Event):
    """An operator orders so many replicas of each partition."""

    copies: int


@dataclass(frozen=True, slots=True)
class TrimOrdered(Event):
    """An operator ordered that a log be trimmed up to the LSN, whatever the mode says."""

    log: int
    lsn: int


@dataclass(frozen=True, slots=True)
class SnapshotTrimOrdered(Event):
    """An operator ordered a snapshot, and that the log be trimmed as far as it reaches."""

    log: int


@dataclass(frozen=True, slots=True)
class StatusSaid(Event):
    """A node was asked for the status of the cluster: all nodes there, all partitions led, all
    replicas caught up; or not."""

    healthy: bool


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A member, by the metadata; `is_there` by the world."""

    id: int
    name: str
    storage: str
    worker: str
    is_there: bool = True


@dataclass(frozen=True, slots=True)
class LogSeen:
    """The open segment of a log."""

    log: int
    segment: int
    copies: int
    nodeset: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PartitionSeen:
    """Where a partition runs, who leads it by its own word, and who was told to. `is_bound`: pinned
    or frozen."""

    partition: int
    replicas: tuple[int, ...]
    leader: int | None
    epoch: int
    is_bound: bool = False
    wanted: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterSeen(Event):
    """The cluster at one moment; `copies` is what the configuration demands of logs."""

    nodes: tuple[NodeSeen, ...]
    logs: tuple[LogSeen, ...]
    partitions: tuple[PartitionSeen, ...]
    copies: int


@dataclass(frozen=True, slots=True)
class QuietBegan(Event):
    """From here on nobody does anything: no faults, no operator, no writers."""


@dataclass(frozen=True, slots=True)
class QuietEnded(Event):
    """The end of that."""
