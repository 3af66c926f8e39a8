"""A cluster state as the message that `restatectl status` and `partitions list` read.

Two rules of the reader shape this. What is absent prints as `-`, a wrapper that holds 0 prints as
`0`: what is not known must be left out, also when a dead node was seen last. And `target_tail_lsn`
is the next free LSN, all others are LSNs of records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from restate_node.roles.admin.cluster_state import AliveNode, ClusterState, DeadNode, NodeEntry
from restate_node.types.ids import GenerationalNodeId, PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.processor_messages import ProcessorStatus
from restate_node.wire.pb import cluster_pb2, common_pb2

Tails: TypeAlias = Mapping[PartitionId, Lsn]


def cluster_state_message(state: ClusterState, now: float) -> cluster_pb2.ClusterState:
    """The whole state; `now` is monotonic time."""
    versions, tails = state.versions, _tails(state)
    return cluster_pb2.ClusterState(
        last_refreshed=_duration(max(0.0, now - state.refreshed_at)),
        nodes_config_version=common_pb2.Version(value=versions.nodes_configuration),
        partition_table_version=common_pb2.Version(value=versions.partition_table),
        logs_metadata_version=common_pb2.Version(value=versions.logs),
        nodes={node: _node(entry, tails) for node, entry in sorted(state.nodes.items())},
    )


def _tails(state: ClusterState) -> Tails:
    """The highest tail that any replica of a partition knows. A replica that was cut off knows an
    old one, and would look as if it had caught up.
    """
    tails: dict[PartitionId, Lsn] = {}
    for node in state.alive():
        for partition, status in node.processors.items():
            behind_applied = Lsn((status.applied_lsn or 0) + 1)
            known = max(behind_applied, status.target_tail_lsn or behind_applied)
            tails[partition] = max(known, tails.get(partition, known))
    return tails


def _node(entry: NodeEntry, tails: Tails) -> cluster_pb2.NodeState:
    match entry:
        case AliveNode():
            return cluster_pb2.NodeState(alive=_alive(entry, tails))
        case DeadNode(last_seen_ms):
            seen = None if last_seen_ms is None else _timestamp(last_seen_ms)
            return cluster_pb2.NodeState(dead=cluster_pb2.DeadNode(last_seen_alive=seen))


def _alive(node: AliveNode, tails: Tails) -> cluster_pb2.AliveNode:
    return cluster_pb2.AliveNode(
        generational_node_id=common_pb2.GenerationalNodeId(
            id=node.node.id, generation=node.node.generation
        ),
        last_heartbeat_at=_timestamp(node.heartbeat_at_ms),
        partitions={
            p: _processor(status, tails[p]) for p, status in sorted(node.processors.items())
        },
        uptime_s=node.uptime_s,
    )


def _processor(status: ProcessorStatus, tail: Lsn) -> cluster_pb2.PartitionProcessorStatus:
    message = cluster_pb2.PartitionProcessorStatus(
        updated_at=_timestamp(status.updated_at_ms),
        planned_mode=status.planned_mode.name,
        effective_mode=status.effective_mode.name,
        detailed_effective_mode=f"DRM_{status.detailed_mode.name}",
        replay_status=status.replay_status.name,
        last_observed_leader_node=_node_id(status.observed_leader),
        last_applied_log_lsn=_lsn(status.applied_lsn),
        durable_lsn=_lsn(status.durable_lsn),
        target_tail_lsn=None if status.target_tail_lsn is None else _lsn(tail),
        last_archived_log_lsn=_lsn(status.archived_lsn),
    )
    if status.observed_epoch is not None:
        message.last_observed_leader_epoch.value = status.observed_epoch
        message.last_observed_leader_epoch.SetInParent()
    if status.applied_at_ms is not None:
        message.last_record_applied_at.CopyFrom(_timestamp(status.applied_at_ms))
    return message


def _lsn(lsn: Lsn | None) -> common_pb2.Lsn | None:
    return None if lsn is None else common_pb2.Lsn(value=lsn)


def _node_id(node: GenerationalNodeId | None) -> common_pb2.NodeId | None:
    return None if node is None else common_pb2.NodeId(id=node.id, generation=node.generation)


def _timestamp(unix_ms: int) -> Timestamp:
    return Timestamp(seconds=unix_ms // 1000, nanos=unix_ms % 1000 * 1_000_000)


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
