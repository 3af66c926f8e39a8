"""Which replica leads each partition.

A leader that does its work stays. It is replaced when it died, left the replica set, or may no
longer take partitions; when an operator wants it elsewhere; or when its node leads more than
ceil(P / N) + 1 partitions and another replica can take over at once. Nobody is appointed whose
turn would mean waiting while another could lead now:

    score 3  has caught up, and is where the operator wants the leader
          2  has caught up
          1  is where the operator wants the leader
          0  any other living replica

Among equals the one appointed before stays (it may be on its way), then the node that leads
fewest partitions. A partition that never had a leader has nothing to catch up with, so there
whoever runs a processor counts as caught up.

A frozen leadership never changes nodes. Invariant: a view in which every appointment has been
obeyed yields none.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import xxhash

from restate_node.protocol.cluster_view import ClusterView, ProcessorMode
from restate_node.types.ids import PartitionId, PlainNodeId, plain_text
from restate_node.types.partitions import (
    EpochMetadata,
    LocationAffinity,
    NodeAffinity,
)

_HASH_SEED = 1609587929392839161


@dataclass(frozen=True, slots=True)
class AppointLeader:
    """Tell this node to lead this partition."""

    partition: PartitionId
    node: PlainNodeId
    reason: str


def appointments(view: ClusterView) -> list[AppointLeader]:
    """The leaders that have to be appointed, by partition."""
    return _Election(view).run()


class _Election:
    """One look at all partitions. Loads are counted over those that stay, then over each choice."""

    def __init__(self, view: ClusterView) -> None:
        self._view = view
        self._living = view.living()
        self._eligible = {node.id: node for node in view.eligible()}
        partitions, nodes = len(view.table.partitions), max(1, len(self._eligible))
        self._load_max = -(-partitions // nodes) + 1
        self._placed = {
            partition: epoch
            for partition in view.partitions()
            if (epoch := view.epochs.get(partition)) is not None and epoch.placed is not None
        }
        self._incumbents = {p: self._incumbent(p, epoch) for p, epoch in self._placed.items()}
        self._load = Counter(node for node in self._incumbents.values() if node is not None)

    def run(self) -> list[AppointLeader]:
        found = [self._judge(partition, epoch) for partition, epoch in self._placed.items()]
        return [appointment for appointment in found if appointment is not None]

    def _judge(self, partition: PartitionId, epoch: EpochMetadata) -> AppointLeader | None:
        if epoch.leadership_policy.is_frozen and epoch.leader is not None:
            return self._remind(partition, epoch.leader.id)
        incumbent = self._incumbents[partition]
        if incumbent is not None:
            return self._challenge(partition, epoch, incumbent)
        chosen = self._best(partition, epoch, self._candidates(epoch))
        if chosen is None:
            return None
        return self._appoint(partition, chosen, "the partition has no leader")

    def _challenge(
        self, partition: PartitionId, epoch: EpochMetadata, incumbent: PlainNodeId
    ) -> AppointLeader | None:
        """Replace a living leader, if there is a cause and somebody who could take over at once."""
        ready = [
            node
            for node in self._candidates(epoch)
            if node != incumbent and self._view.has_caught_up(node, partition)
        ]
        chosen = self._best(partition, epoch, ready)
        if chosen is None:
            return None
        cause = self._cause_to_move(epoch, incumbent, chosen)
        if cause is None or self._leads(chosen, partition):
            return None
        return self._appoint(partition, chosen, cause, incumbent)

    def _appoint(
        self,
        partition: PartitionId,
        node: PlainNodeId,
        reason: str,
        former: PlainNodeId | None = None,
    ) -> AppointLeader:
        self._load[node] += 1
        if former is not None:
            self._load[former] -= 1
        return AppointLeader(partition, node, reason)

    def _remind(self, partition: PartitionId, node: PlainNodeId) -> AppointLeader | None:
        """A frozen leader that lives but does not lead was restarted: tell it again."""
        if node not in self._living or self._leads(node, partition):
            return None
        return AppointLeader(partition, node, "the leadership is frozen and its node came back")

    def _incumbent(self, partition: PartitionId, epoch: EpochMetadata) -> PlainNodeId | None:
        """The living node that leads or is about to; of several, the one of the latest epoch."""
        claimed = epoch.leader if epoch.leader in self._view.alive else None
        if claimed is not None and self._leads(claimed.id, partition):
            return claimed.id
        leading = [n for n in sorted(self._living) if self._leads(n, partition)]
        return leading[0] if leading else None

    def _leads(self, node: PlainNodeId, partition: PartitionId) -> bool:
        status = self._view.status(node, partition)
        return status is not None and status.mode is not ProcessorMode.FOLLOWER

    def _candidates(self, epoch: EpochMetadata) -> list[PlainNodeId]:
        """Living replicas; those that may take no more partitions only if there are no others."""
        assert epoch.placed is not None, "only placed partitions have candidates"
        living = [n for n in epoch.placed.replica_set if n in self._living]
        return [n for n in living if n in self._eligible] or living

    def _best(
        self, partition: PartitionId, epoch: EpochMetadata, nodes: list[PlainNodeId]
    ) -> PlainNodeId | None:
        return max(nodes, key=lambda n: self._rank(partition, epoch, n), default=None)

    def _rank(
        self, partition: PartitionId, epoch: EpochMetadata, node: PlainNodeId
    ) -> tuple[int, bool, int, int]:
        appointed_before = self._view.targets.get(partition) == node
        score = self._score(partition, epoch, node)
        return score, appointed_before, -self._load[node], _hash(partition, node)

    def _score(self, partition: PartitionId, epoch: EpochMetadata, node: PlainNodeId) -> int:
        fresh = epoch.leader is None and self._view.status(node, partition) is not None
        caught_up = fresh or self._view.has_caught_up(node, partition)
        return 2 * caught_up + self._is_preferred(epoch, node)

    def _is_preferred(self, epoch: EpochMetadata, node: PlainNodeId) -> bool:
        member = self._eligible.get(node)
        match epoch.leadership_policy.affinity:
            case None:
                return False
            case NodeAffinity(wanted):
                return node == wanted
            case LocationAffinity(location):
                return member is not None and member.location.within(location)

    def _cause_to_move(
        self, epoch: EpochMetadata, incumbent: PlainNodeId, chosen: PlainNodeId
    ) -> str | None:
        assert epoch.placed is not None, "only placed partitions are moved"
        if incumbent not in epoch.placed.replica_set:
            return f"{plain_text(incumbent)} is no longer a replica"
        if incumbent not in self._eligible and chosen in self._eligible:
            return f"{plain_text(incumbent)} takes no more partitions"
        if self._is_preferred(epoch, incumbent):
            return None
        if self._is_preferred(epoch, chosen):
            return f"the leader is wanted on {plain_text(chosen)}"
        return self._overload(incumbent, chosen)

    def _overload(self, incumbent: PlainNodeId, chosen: PlainNodeId) -> str | None:
        load, target_load = self._load[incumbent], self._load[chosen]
        if load <= self._load_max or target_load + 1 >= load:
            return None
        return (
            f"{plain_text(incumbent)} leads {load} partitions, more than {self._load_max}; "
            f"{plain_text(chosen)} leads {target_load}"
        )


def _hash(partition: PartitionId, node: PlainNodeId) -> int:
    key = partition.to_bytes(4, "little") + node.to_bytes(4, "little")
    return xxhash.xxh3_64_intdigest(key, seed=_HASH_SEED)
