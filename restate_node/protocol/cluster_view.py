"""What the cluster controller knows when it decides, as one frozen value.

Nodes, partitions and epoch metadata come from the metadata store, the living from the failure
detector, the processors' states from the workers themselves. The parts are of slightly different
moments; decisions must bear that, and do: each is carried out by compare and swap or is a hint
that a worker may refuse.

Driven by the controller of the admin role; read by `replica_sets`, `leaders` and `placement`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType

from restate_node.types.ids import GenerationalNodeId, PartitionId, PlainNodeId
from restate_node.types.nodes import Node, NodesConfiguration, Role, WorkerState
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import EpochMetadata, PartitionTable


class ProcessorMode(Enum):
    """What a processor does at this moment."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class ProcessorStatus:
    """What a worker reports of one processor. `replay_active`: it has caught up with the log;
    `is_wanted`: it was told to lead.
    """

    mode: ProcessorMode
    replay_active: bool
    applied_lsn: Lsn | None = None
    durable_lsn: Lsn | None = None
    is_wanted: bool = False


@dataclass(frozen=True, slots=True)
class ClusterView:
    """
    Everything a plan depends on.

    `targets` are the leaders appointed so far, if remembered. `expected_back` are nodes that died a
    moment ago: they cannot lead, but keep their replicas, or every restart would copy partitions.
    """

    nodes: NodesConfiguration
    table: PartitionTable
    epochs: Mapping[PartitionId, EpochMetadata]
    alive: frozenset[GenerationalNodeId]
    processors: Mapping[tuple[PlainNodeId, PartitionId], ProcessorStatus] = field(
        default_factory=lambda: MappingProxyType({})
    )
    targets: Mapping[PartitionId, PlainNodeId] = field(default_factory=lambda: MappingProxyType({}))

    expected_back: frozenset[PlainNodeId] = frozenset()

    def partitions(self) -> list[PartitionId]:
        """Every partition, in order."""
        return sorted(self.table.partitions)

    def workers(self) -> tuple[Node, ...]:
        """Workers that take partitions, alive or not, by id."""
        return tuple(
            node
            for node in self.nodes.with_role(Role.WORKER)
            if node.worker_state is WorkerState.ACTIVE
        )

    def eligible(self) -> tuple[Node, ...]:
        """Workers that take partitions and are alive, by id."""
        living = self.living()
        return tuple(node for node in self.workers() if node.id in living)

    def living(self) -> frozenset[PlainNodeId]:
        """Nodes that are alive, in whatever generation."""
        return frozenset(node.id for node in self.alive)

    def status(self, node: PlainNodeId, partition: PartitionId) -> ProcessorStatus | None:
        """What a living node reports of a partition."""
        return self.processors.get((node, partition))

    def has_caught_up(self, node: PlainNodeId, partition: PartitionId) -> bool:
        """The node's processor has read all there was to read."""
        status = self.status(node, partition)
        return status is not None and status.replay_active
