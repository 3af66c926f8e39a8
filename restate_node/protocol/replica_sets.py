"""Which workers run which partition.

Every partition gets as many living, active workers as its replication has copies, spread over the
named zones and regions. All partitions are looked at together, in two passes, so that the load is
even:

    keep   members that are still eligible, or expected back, stay, so that nothing moves in vain
    fill   missing members come from the least loaded workers, ties by a hash of partition and node

then, as long as some worker runs at least two partitions more than another, one partition moves
from the fuller to the emptier. Each such move lowers the sum of the squared loads, so moving
ends, and a balanced cluster stays as it is.

A partition that cannot be placed (too few workers or zones) keeps what it has: fewer copies are
better than none. A frozen partition counts as load and is never touched.

Invariants: a chosen set satisfies the replication; choosing again, with the result in place,
changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import xxhash

from restate_node.protocol.cluster_view import ClusterView
from restate_node.types.ids import PartitionId, PlainNodeId
from restate_node.types.nodes import Node
from restate_node.types.partitions import EpochMetadata
from restate_node.types.replication import LocationScope, ReplicationProperty

ReplicaSet: TypeAlias = tuple[PlainNodeId, ...]

_HASH_SEED = 7046029254386353131


@dataclass(frozen=True, slots=True)
class Wanted:
    """The replica set that a partition should have, and the replication it satisfies."""

    replication: ReplicationProperty
    replica_set: ReplicaSet


def wanted_replica_sets(view: ClusterView) -> dict[PartitionId, Wanted]:
    """For every partition that can be placed; the others are missing from the result."""
    if view.table.replication is None:
        return _everywhere(view)
    assignment = _Assignment(view, view.table.replication)
    for partition in assignment.free:
        assignment.keep(partition)
    for partition in assignment.free:
        assignment.fill(partition)
    assignment.balance()
    return assignment.result()


def latest_set(epoch: EpochMetadata | None) -> ReplicaSet:
    """Where the partition is going, or where it is."""
    if epoch is None:
        return ()
    latest = epoch.next or epoch.placed
    return () if latest is None else latest.replica_set


def _everywhere(view: ClusterView) -> dict[PartitionId, Wanted]:
    members = tuple(node.id for node in view.workers())
    if not members:
        return {}
    wanted = Wanted(ReplicationProperty.of_nodes(len(members)), members)
    return {partition: wanted for partition in view.partitions() if not _is_frozen(view, partition)}


def _is_frozen(view: ClusterView, partition: PartitionId) -> bool:
    epoch = view.epochs.get(partition)
    return epoch is not None and epoch.placement_policy.is_frozen


@dataclass(slots=True)
class _Assignment:
    """The replica sets while they are being chosen."""

    view: ClusterView
    replication: ReplicationProperty
    eligible: Mapping[PlainNodeId, Node] = field(init=False)
    keepers: Mapping[PlainNodeId, Node] = field(init=False)
    free: list[PartitionId] = field(init=False)
    sets: dict[PartitionId, list[PlainNodeId]] = field(init=False)
    load: Counter[PlainNodeId] = field(init=False)

    def __post_init__(self) -> None:
        self.eligible = {node.id: node for node in self.view.eligible()}
        tolerated = self.view.expected_back.union(self.eligible)
        self.keepers = {node.id: node for node in self.view.workers() if node.id in tolerated}
        self.free = [p for p in self.view.partitions() if not _is_frozen(self.view, p)]
        self.sets = {}
        self.load = Counter()
        for partition in set(self.view.partitions()).difference(self.free):
            self.load.update(latest_set(self.view.epochs.get(partition)))

    def keep(self, partition: PartitionId) -> None:
        """Members that may stay, in their order, as long as the spread can still be met."""
        kept: list[PlainNodeId] = []
        for node in latest_set(self.view.epochs.get(partition)):
            if node in self.keepers and self._may_join(kept, node):
                kept.append(node)
        self.sets[partition] = kept
        self.load.update(kept)

    def fill(self, partition: PartitionId) -> None:
        """Add the least loaded workers; give the partition up if there are too few."""
        members = self.sets[partition]
        for _ in range(self.replication.copies - len(members)):
            possible = [n for n in self.eligible if self._may_join(members, n)]
            if not possible:
                break
            chosen = min(possible, key=lambda n: (self.load[n], _hash(partition, n)))
            members.append(chosen)
            self.load[chosen] += 1
        if not self._is_satisfied(members):
            self.load.subtract(members)
            self.load.update(latest_set(self.view.epochs.get(partition)))
            del self.sets[partition]

    def balance(self) -> None:
        """Move partitions from full workers to empty ones while the difference is two or more."""
        moves_max = len(self.free) * self.replication.copies
        for _ in range(moves_max):
            if not self._move_one():
                return

    def result(self) -> dict[PartitionId, Wanted]:
        return {p: Wanted(self.replication, tuple(members)) for p, members in self.sets.items()}

    def _move_one(self) -> bool:
        fullest_first = sorted(self.eligible, key=lambda n: (-self.load[n], n))
        emptiest_first = sorted(self.eligible, key=lambda n: (self.load[n], n))
        for source in fullest_first:
            for target in emptiest_first:
                if self.load[source] - self.load[target] < 2:
                    break
                if self._move(source, target):
                    return True
        return False

    def _move(self, source: PlainNodeId, target: PlainNodeId) -> bool:
        for partition in self.free:
            members = self.sets.get(partition, [])
            if source not in members or target in members:
                continue
            moved = [target if member == source else member for member in members]
            if self._is_satisfied(moved):
                self.sets[partition] = moved
                self.load[source] -= 1
                self.load[target] += 1
                return True
        return False

    def _may_join(self, members: Sequence[PlainNodeId], node: PlainNodeId) -> bool:
        return node not in members and self._leaves_room(members, node)

    def _leaves_room(self, members: Sequence[PlainNodeId], node: PlainNodeId) -> bool:
        """With `node` in, the places still open are enough for the domains still missing."""
        joined = [*members, node]
        places_left = self.replication.copies - len(joined)
        if places_left < 0:
            return False
        return all(
            factor - len(self._domains(joined, scope)) <= places_left
            for scope, factor in self.replication.factors
        )

    def _is_satisfied(self, members: Sequence[PlainNodeId]) -> bool:
        return len(members) == self.replication.copies and all(
            len(self._domains(members, scope)) >= factor
            for scope, factor in self.replication.factors
        )

    def _domains(self, members: Sequence[PlainNodeId], scope: LocationScope) -> set[str]:
        if scope is LocationScope.NODE:
            return {str(member) for member in members}
        return {self.keepers[member].location.domain(scope) for member in members}


def _hash(partition: PartitionId, node: PlainNodeId) -> int:
    key = partition.to_bytes(4, "little") + node.to_bytes(4, "little")
    return xxhash.xxh3_64_intdigest(key, seed=_HASH_SEED)
