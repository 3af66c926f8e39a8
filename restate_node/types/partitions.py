"""Partitions: which keys, which log, which nodes, which leader.

The partition table divides the 64-bit key space and is written once. What changes for a partition
— the replica set, the leader and its epoch, what an operator has pinned — is its *epoch
metadata*, one object per partition:

    current --reconfigure--> current + next --complete--> (next becomes) current
    epoch   --claim_leadership--> epoch + 1

Invariants: key ranges do not overlap; every transition raises the version by one; the epoch never
falls; a replica set version is larger than that of the set before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from types import MappingProxyType
from typing import TypeAlias

from restate_node.types.ids import (
    GenerationalNodeId,
    LeaderEpoch,
    LogId,
    PartitionId,
    PlainNodeId,
    Version,
)
from restate_node.types.nodes import NodeLocation
from restate_node.types.replication import ReplicationProperty

PARTITION_KEY_MAX = (1 << 64) - 1
PARTITIONS_MAX = (1 << 16) - 1
FIRST_VERSION = Version(1)
NO_EPOCH = LeaderEpoch(0)
"""Before the first leader."""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Partition keys from start to end, both included."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end <= PARTITION_KEY_MAX:
            raise ValueError(f"{self.start}..={self.end} is not a range of 64-bit keys")

    def __contains__(self, key: int) -> bool:
        return self.start <= key <= self.end


@dataclass(frozen=True, slots=True)
class Partition:
    """A share of the key space and the log that orders what happens in it."""

    id: PartitionId
    log_id: LogId
    key_range: KeyRange
    cf_name: str | None = None
    db_name: str | None = None


@dataclass(frozen=True, slots=True)
class PartitionTable:
    """All partitions at one version. Replication None means: on every worker."""

    version: Version
    partitions: Mapping[PartitionId, Partition] = field(
        default_factory=lambda: MappingProxyType({})
    )
    replication: ReplicationProperty | None = field(default=ReplicationProperty.of_nodes(1))
    _by_start: tuple[Partition, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ordered = sorted(self.partitions.values(), key=lambda p: p.key_range.start)
        for former, latter in pairwise(ordered):
            if latter.key_range.start <= former.key_range.end:
                raise ValueError(f"the keys of partitions {former.id} and {latter.id} overlap")
        object.__setattr__(self, "_by_start", tuple(ordered))

    @staticmethod
    def equal_ranges(
        count: int,
        replication: ReplicationProperty | None = None,
        version: Version = FIRST_VERSION,
    ) -> PartitionTable:
        """Divide the key space evenly; the first partitions take what does not divide."""
        if not 1 <= count <= PARTITIONS_MAX:
            raise ValueError(f"{count} partitions asked for; use 1 to {PARTITIONS_MAX}")
        partitions = {
            PartitionId(i): Partition(PartitionId(i), LogId(i), key_range)
            for i, key_range in enumerate(_equal_key_ranges(count))
        }
        return PartitionTable(version, partitions, replication)

    def partition_of(self, key: int) -> Partition | None:
        """The partition that owns a key; None only while the table does not cover it."""
        position = bisect_right(self._by_start, key, key=lambda p: p.key_range.start)
        if not position:
            return None
        candidate = self._by_start[position - 1]
        return candidate if key in candidate.key_range else None


def _equal_key_ranges(count: int) -> list[KeyRange]:
    size, larger = divmod(PARTITION_KEY_MAX + 1, count)
    starts = [i * size + min(i, larger) for i in range(count + 1)]
    return [KeyRange(start, following - 1) for start, following in pairwise(starts)]


@dataclass(frozen=True, slots=True)
class ReplicaSetConfiguration:
    """Which nodes run a partition. Version 0 is a placeholder from before the first placement."""

    version: Version
    replication: ReplicationProperty
    replica_set: tuple[PlainNodeId, ...]
    modified_at: int
    context: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_valid(self) -> bool:
        """Has been placed."""
        return self.version > 0 and bool(self.replica_set)


@dataclass(frozen=True, slots=True)
class NodeAffinity:
    """Lead on that node if it can."""

    node: PlainNodeId


@dataclass(frozen=True, slots=True)
class LocationAffinity:
    """Lead on a node there if one can."""

    location: NodeLocation


LeaderAffinity: TypeAlias = NodeAffinity | LocationAffinity


@dataclass(frozen=True, slots=True)
class LeadershipPolicy:
    """What an operator wants of the leader: where, and whether it may move."""

    affinity: LeaderAffinity | None = None
    freeze_reason: str | None = None

    @property
    def is_frozen(self) -> bool:
        return self.freeze_reason is not None


@dataclass(frozen=True, slots=True)
class PlacementPolicy:
    """Whether the replica set may be changed."""

    freeze_reason: str | None = None

    @property
    def is_frozen(self) -> bool:
        return self.freeze_reason is not None


@dataclass(frozen=True, slots=True)
class EpochMetadata:
    """Leader, epoch and replica sets of one partition."""

    version: Version
    epoch: LeaderEpoch = NO_EPOCH
    leader: GenerationalNodeId | None = None
    current: ReplicaSetConfiguration | None = None
    next: ReplicaSetConfiguration | None = None
    leadership_policy: LeadershipPolicy = LeadershipPolicy()
    placement_policy: PlacementPolicy = PlacementPolicy()

    @property
    def placed(self) -> ReplicaSetConfiguration | None:
        """The current replica set once there is a valid one."""
        current = self.current
        return current if current is not None and current.is_valid else None

    @property
    def replicas(self) -> frozenset[PlainNodeId]:
        """Every node that runs a processor: current and next."""
        sets = [s.replica_set for s in (self.current, self.next) if s is not None]
        return frozenset(node for replica_set in sets for node in replica_set)

    def claim_leadership(self, node: GenerationalNodeId) -> EpochMetadata:
        """The next epoch, led by that node."""
        return replace(self._bumped(), epoch=LeaderEpoch(self.epoch + 1), leader=node)

    def set_initial_current(
        self,
        replication: ReplicationProperty,
        replica_set: tuple[PlainNodeId, ...],
        now_ms: int,
    ) -> EpochMetadata:
        """The first placement; its version is that of the object."""
        assert self.placed is None, "the partition is placed already: reconfigure it"
        bumped = self._bumped()
        current = ReplicaSetConfiguration(bumped.version, replication, replica_set, now_ms)
        return replace(bumped, current=current, next=None)

    def reconfigure(
        self,
        replication: ReplicationProperty,
        replica_set: tuple[PlainNodeId, ...],
        now_ms: int,
    ) -> EpochMetadata:
        """Begin, or redirect, the move to another replica set."""
        assert self.current is not None, "no current replica set: set the initial one"
        before = self.next or self.current
        version = Version(before.version + 1)
        following = ReplicaSetConfiguration(version, replication, replica_set, now_ms)
        return replace(self._bumped(), next=following)

    def complete(self) -> EpochMetadata:
        """The next replica set becomes the current one."""
        assert self.next is not None, "no reconfiguration is under way"
        return replace(self._bumped(), current=self.next, next=None)

    def with_leadership_policy(self, policy: LeadershipPolicy) -> EpochMetadata:
        """Pin or free the leader."""
        return replace(self._bumped(), leadership_policy=policy)

    def with_placement_policy(self, policy: PlacementPolicy) -> EpochMetadata:
        """Pin or free the replica set."""
        return replace(self._bumped(), placement_policy=policy)

    def _bumped(self) -> EpochMetadata:
        return replace(self, version=Version(self.version + 1))
