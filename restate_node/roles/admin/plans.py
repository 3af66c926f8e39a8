"""What a change of configuration or of nodes would make of every log and partition.

    configuration, nodes ─▶ log_placement.judge_log        for each log, as its own writer would
    table, nodes, epochs ─▶ replica_sets, as the controller would

The same rules that will act later are asked now, so the plan is what happens unless something
else changes in between. A plan changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from restate_node.protocol.cluster_view import ClusterView
from restate_node.protocol.log_placement import Keep, judge_log
from restate_node.protocol.replica_sets import Wanted, wanted_replica_sets
from restate_node.types.ids import GenerationalNodeId, LogId, PartitionId, PlainNodeId, plain_text
from restate_node.types.logs import Chain, Logs, ReplicatedSegment, SealMarker
from restate_node.types.nodes import NodesConfiguration
from restate_node.types.partitions import EpochMetadata, PartitionTable
from restate_node.types.replication import ReplicationProperty

_NOBODY = GenerationalNodeId(PlainNodeId(0), 0)
"""The writer of a log that has none yet."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Where a log or partition is, where it would go (None: it stays), and why."""

    present: str
    next: str | None
    reason: str


def plan_logs(logs: Logs, nodes: NodesConfiguration) -> dict[LogId, Planned]:
    """For every log, under the configuration that `logs` carries."""
    return {log: _plan_log(log, logs, chain, nodes) for log, chain in sorted(logs.chains.items())}


def plan_partitions(
    table: PartitionTable,
    nodes: NodesConfiguration,
    epochs: Mapping[PartitionId, EpochMetadata],
    alive: Collection[GenerationalNodeId],
) -> dict[PartitionId, Planned]:
    """For every partition of the table, under the replication that it carries."""
    view = ClusterView(nodes=nodes, table=table, epochs=epochs, alive=frozenset(alive))
    wanted = wanted_replica_sets(view)
    return {p: _plan_partition(view, p, wanted.get(p)) for p in view.partitions()}


def nodes_text(nodes: Collection[PlainNodeId]) -> str:
    """`[N1, N2]`."""
    return "[" + ", ".join(plain_text(node) for node in sorted(nodes)) + "]"


def copies_text(replication: ReplicationProperty, nodes: Collection[PlainNodeId]) -> str:
    """`{node: 2} on [N1, N2]`."""
    return f"{replication} on {nodes_text(nodes)}"


def _plan_log(log: LogId, logs: Logs, chain: Chain, nodes: NodesConfiguration) -> Planned:
    writer = chain.replicated[-1].params.sequencer if chain.replicated else _NOBODY
    decision = judge_log(log, chain, logs.configuration, nodes, writer)
    if isinstance(decision, Keep):
        return Planned(_segment_text(chain), None, decision.reason)
    following = copies_text(decision.replication, decision.nodeset)
    return Planned(_segment_text(chain), following, decision.reason)


def _segment_text(chain: Chain) -> str:
    match chain.tail:
        case ReplicatedSegment(params=params):
            return copies_text(params.replication, params.nodeset)
        case SealMarker():
            return "sealed"
        case tail:
            return tail.kind.value


def _plan_partition(view: ClusterView, partition: PartitionId, wanted: Wanted | None) -> Planned:
    epoch = view.epochs.get(partition)
    latest = None if epoch is None else epoch.next or epoch.placed
    present = "nowhere" if latest is None else copies_text(latest.replication, latest.replica_set)
    if epoch is not None and epoch.placement_policy.is_frozen:
        return Planned(present, None, f"frozen: {epoch.placement_policy.freeze_reason}")
    if wanted is None:
        return Planned(present, None, "there are not enough living, active workers")
    following = copies_text(wanted.replication, wanted.replica_set)
    if present == following:
        return Planned(present, None, "nothing would be better")
    return Planned(present, following, _why_moved(epoch, wanted))


def _why_moved(epoch: EpochMetadata | None, wanted: Wanted) -> str:
    latest = None if epoch is None else epoch.next or epoch.placed
    if latest is None:
        return "the partition has no replicas yet"
    if latest.replication != wanted.replication:
        return f"replication changes from {latest.replication} to {wanted.replication}"
    return (
        f"replicas move from {nodes_text(latest.replica_set)} to {nodes_text(wanted.replica_set)}"
    )
