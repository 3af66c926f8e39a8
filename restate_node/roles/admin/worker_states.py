"""Is it safe to set workers to another state, and what becomes of the partitions?

A worker that drains or is disabled gives its partitions to others. There must be others: enough
active workers to satisfy the replication, alive or not, since a node that is down comes back. A
change is refused only if it is to blame.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from restate_node.roles.admin.plans import Planned, plan_partitions
from restate_node.types.ids import GenerationalNodeId, PartitionId, PlainNodeId
from restate_node.types.nodes import Node, NodesConfiguration, Tombstone, WorkerState
from restate_node.types.partitions import EpochMetadata, PartitionTable
from restate_node.types.replication import ReplicationProperty
from restate_node.types.storage_rules import new_replica_candidates, shortage

REFUSED = "Safety-check failed: lost the ability to place partitions: "


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What a change of worker states would mean."""

    refusal: str | None
    partitions: dict[PartitionId, Planned]


def plan_worker_states(
    nodes: NodesConfiguration,
    table: PartitionTable,
    epochs: Mapping[PartitionId, EpochMetadata],
    alive: Collection[GenerationalNodeId],
    changed: Collection[PlainNodeId],
    state: WorkerState,
) -> WorkerPlan:
    """The verdict on setting all of `changed` to `state`."""
    after = with_worker_state(nodes, changed, state)
    return WorkerPlan(_refusal(nodes, after, table), plan_partitions(table, after, epochs, alive))


def with_worker_state(
    nodes: NodesConfiguration, changed: Collection[PlainNodeId], state: WorkerState
) -> NodesConfiguration:
    """The members as they would be; the version is left alone, for nothing is written."""

    def one(node: Node | Tombstone) -> Node | Tombstone:
        if isinstance(node, Node) and node.id in changed:
            return replace(node, worker_state=state)
        return node

    return replace(nodes, nodes={number: one(node) for number, node in nodes.nodes.items()})


def _refusal(
    before: NodesConfiguration, after: NodesConfiguration, table: PartitionTable
) -> str | None:
    needed = table.replication or ReplicationProperty.of_nodes(1)
    lacking = shortage(needed, new_replica_candidates(after.members()))
    if lacking is None or shortage(needed, new_replica_candidates(before.members())) is not None:
        return None
    return f"{REFUSED}{lacking}"
