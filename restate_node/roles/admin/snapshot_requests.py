"""Sends an operator's wish for a snapshot to whoever leads the partition.

    restatectl ─▶ ClusterCtrl ─▶ the effective leader, as the collector saw it ─▶ SnapshotCreated

Only the leader takes snapshots on request, since its state is the newest. A leader that was deposed
meanwhile says so, and the operator asks again.

Statuses: an operator's tool asks the next admin node after most errors, which knows no better; so
what only a change of configuration can mend is FAILED_PRECONDITION, at which it stops.
"""

from __future__ import annotations

from typing import Final

from restate_node.fabric.fabric import Fabric
from restate_node.roles.admin.cluster_state import ClusterState, ClusterStateCollector
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import GenerationalNodeId, PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.processor_messages import CreateSnapshot, RunMode, SnapshotCreated

SNAPSHOT_TIMEOUT_S: Final = 3600.0
"""For waiting its turn, export and upload. The operator's tool says how long it waits, and may
leave long before; the longest that it can say is this.
"""


class SnapshotRequests:
    """One per admin node."""

    def __init__(self, collector: ClusterStateCollector, fabric: Fabric) -> None:
        self._collector = collector
        self._fabric = fabric

    async def create(self, partition: PartitionId, at_least: Lsn | None) -> SnapshotCreated:
        """A snapshot, or a stored one that is as new; raises GrpcError. When cancelled, the leader
        goes on.
        """
        leader = leader_of(await self._collector.settled(), partition)
        if leader is None:
            text = f"Can not find a suitable node to take snapshot of partition {partition}"
            raise GrpcError(StatusCode.INTERNAL, text)
        request = CreateSnapshot(partition, at_least)
        try:
            return await self._fabric.call(
                leader, request, SnapshotCreated, timeout_s=SNAPSHOT_TIMEOUT_S
            )
        except RpcFailure as failure:
            status = StatusCode.INTERNAL
            if failure.code is RpcCode.FORBIDDEN:
                status = StatusCode.FAILED_PRECONDITION
            text = f"Failed to create snapshot: {failure.message}"
            raise GrpcError(status, text) from None


def leader_of(state: ClusterState, partition: PartitionId) -> GenerationalNodeId | None:
    """Who leads; of two that believe so, the one of the higher epoch."""
    leaders = [
        (status.observed_epoch or 0, alive.node)
        for alive in state.alive()
        if (status := alive.processors.get(partition)) is not None
        and status.effective_mode is RunMode.LEADER
    ]
    return max(leaders, default=(0, None), key=lambda leader: leader[0])[1]
