"""The chains of the logs: which loglet holds which LSNs of which log.

    log 1   base LSN   1              4              9
                       | segment 0    | segment 1    | segment 2   ->  appends
                       | sealed       | sealed       | open

A chain grows at its tail and is cut at its head. A *seal marker* closes a log without a
successor: it stands at the tail LSN and carries the index of the segment that it closed; the next
extension takes its place.

Invariants: a chain has at least one segment; base LSNs ascend strictly; a seal marker is last.
What turns one chain into the next is decided in `protocol/chain`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise
from types import MappingProxyType
from typing import Final, TypeAlias

from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    LogletId,
    PlainNodeId,
    SegmentIndex,
    Version,
)
from restate_node.types.offsets import Lsn
from restate_node.types.replication import ReplicationProperty


class ProviderKind(Enum):
    """What kind of loglet a segment is."""

    LOCAL = "local"
    IN_MEMORY = "in-memory"
    REPLICATED = "replicated"


@dataclass(frozen=True, slots=True)
class ReplicatedParams:
    """All that a node needs to write to, or read from, one replicated loglet."""

    loglet_id: LogletId
    sequencer: GenerationalNodeId
    replication: ReplicationProperty
    nodeset: tuple[PlainNodeId, ...]


@dataclass(frozen=True, slots=True)
class ReplicatedSegment:
    """A segment that log servers hold."""

    base_lsn: Lsn
    index: SegmentIndex
    params: ReplicatedParams
    created_at: int | None = None


@dataclass(frozen=True, slots=True)
class InMemorySegment:
    """A segment that lives and dies with one process; `kind` is what its record says."""

    base_lsn: Lsn
    index: SegmentIndex
    loglet_id: int
    kind: ProviderKind = ProviderKind.IN_MEMORY
    created_at: int | None = None


CLOSED_FOR_READERS: Final[Mapping[str, str]] = MappingProxyType(
    {"by": "reader", "reason": "its last segment was sealed, and nobody wrote on"}
)
"""Context of a marker that is there for readers only: they know the end by it."""


@dataclass(frozen=True, slots=True)
class SealMarker:
    """The log ends here until it is extended. `index` is that of the segment that it closed."""

    base_lsn: Lsn
    index: SegmentIndex
    sealed_at: int
    context: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    tail_timestamp: int | None = None
    permanent: bool = False
    created_at: int | None = None

    @property
    def is_by_order(self) -> bool:
        """Somebody wanted the log to end here: it stays so until the next append."""
        return self.context.get("by") != CLOSED_FOR_READERS["by"]


Segment: TypeAlias = ReplicatedSegment | InMemorySegment | SealMarker


@dataclass(frozen=True, slots=True)
class Chain:
    """The segments of one log, by ascending base LSN."""

    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        if not self.segments:
            raise ValueError("a chain needs at least one segment")
        for former, latter in pairwise(self.segments):
            if latter.base_lsn <= former.base_lsn:
                raise ValueError(
                    f"segment at LSN {latter.base_lsn} does not come after LSN {former.base_lsn}"
                )
            if isinstance(former, SealMarker):
                raise ValueError(f"the seal marker at LSN {former.base_lsn} is not last")

    @property
    def head(self) -> Segment:
        """The oldest segment."""
        return self.segments[0]

    @property
    def tail(self) -> Segment:
        """The newest segment, or the seal marker."""
        return self.segments[-1]

    @property
    def is_sealed(self) -> bool:
        """Ends in a seal marker."""
        return isinstance(self.tail, SealMarker)

    @property
    def replicated(self) -> tuple[ReplicatedSegment, ...]:
        """The segments that log servers hold, oldest first."""
        return tuple(s for s in self.segments if isinstance(s, ReplicatedSegment))

    def segment_for(self, lsn: Lsn) -> Segment | None:
        """The segment that holds, or will hold, `lsn`; None before the head."""
        position = bisect_right(self.segments, lsn, key=lambda segment: segment.base_lsn)
        return self.segments[position - 1] if position else None

    def end_of(self, segment: Segment) -> Lsn | None:
        """Base LSN of the segment's successor; None while it has none."""
        position = bisect_right(self.segments, segment.base_lsn, key=lambda s: s.base_lsn)
        return self.segments[position].base_lsn if position < len(self.segments) else None


@dataclass(frozen=True, slots=True)
class ProviderConfiguration:
    """What new segments are made of. Nodeset size 0 means: as the replication needs."""

    kind: ProviderKind
    replication: ReplicationProperty = field(default=ReplicationProperty.of_nodes(1))
    target_nodeset_size: int = 0


DEFAULT_PROVIDER = ProviderConfiguration(ProviderKind.REPLICATED, target_nodeset_size=1)


@dataclass(frozen=True, slots=True)
class Logs:
    """All chains at one version."""

    version: Version
    chains: Mapping[LogId, Chain] = field(default_factory=lambda: MappingProxyType({}))
    configuration: ProviderConfiguration = DEFAULT_PROVIDER
    modified_at: int | None = None

    def chain(self, log: LogId) -> Chain | None:
        """The chain of a log; None if the log does not exist yet."""
        return self.chains.get(log)
