"""The tables about the cluster, for `restatectl sql`.

Rows come from what every admin node knows: the shared metadata, what the failure detector believes,
what nodes report of their processors, and the epoch metadata in the metadata store. What only a
node itself knows (its configuration, its loglets, its readers) it is asked for; one that does not
answer is named in the answer, for the operator wants to see the others all the more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_errors import MetadataError
from restate_node.fabric.fabric import Fabric
from restate_node.roles.admin.cluster_state import ClusterStateCollector
from restate_node.roles.admin.epoch_reads import ReadableStore, read_epochs
from restate_node.roles.admin.liveness import Liveness
from restate_node.roles.admin.sql.sources import Missing, Restriction, RowScan, RowsUnavailable
from restate_node.types import cluster_tables as tables
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    PartitionId,
    PlainNodeId,
    loglet_text,
    plain_text,
)
from restate_node.types.introspection import Table
from restate_node.types.logs import InMemorySegment, ReplicatedSegment, SealMarker, Segment
from restate_node.types.node_row_messages import NodeRows, ReadNodeRows
from restate_node.types.nodes import Node, Role
from restate_node.types.partitions import EpochMetadata, Partition, ReplicaSetConfiguration
from restate_node.types.processor_messages import ProcessorStatus
from restate_node.wire.storage_codec import CodecError

NODE_TIMEOUT_S: Final = 5.0

Rows = list[list[Any]]


@dataclass(frozen=True, slots=True)
class ClusterSources:
    """What this node knows, and how it asks others."""

    metadata: MetadataCache
    liveness: Liveness
    collector: ClusterStateCollector
    store: ReadableStore
    fabric: Fabric


class ClusterRows:
    """The RowSource of these tables."""

    def __init__(self, sources: ClusterSources) -> None:
        self._sources = sources
        self._readers: Mapping[str, Callable[[], Awaitable[Rows]]] = {
            tables.NODES.name: self._nodes,
            tables.LOGS.name: self._logs,
            tables.LOGS_TAIL_SEGMENTS.name: self._tail_segments,
            tables.PARTITIONS.name: self._partitions,
            tables.PARTITION_STATE.name: self._partition_state,
            tables.PARTITION_REPLICA_SET.name: self._replica_sets,
        }

    def open(self, table: Table, restriction: Restriction) -> RowScan:
        """Restrictions are of no use here: everything is small, or in memory."""
        if table.name in tables.NODE_TABLES:
            alive = {node.id: node for node in sorted(self._sources.liveness.alive.value)}
            members = [node.id for node in self._sources.metadata.nodes.value.members()]
            lives = {member: alive.get(member) for member in members}
            return _OfNodes(self._sources.fabric, table, lives)
        return _Once(self._readers[table.name])

    # ------------------------------------------------------------ nodes and logs

    async def _nodes(self) -> Rows:
        nodes = self._sources.metadata.nodes.value
        return [self._node_row(node, nodes.version) for node in nodes.members()]

    def _node_row(self, node: Node, version: int) -> list[Any]:
        return tables.NODES.row(
            {
                "plain_node_id": plain_text(node.id),
                "gen_node_id": str(node.current_generation),
                "state": self._sources.liveness.state_of(node.id).value,
                "name": node.name,
                "address": node.address,
                "ctrl_address": node.address,
                "location": str(node.location),
                "has_admin_role": node.has_role(Role.ADMIN),
                "has_worker_role": node.has_role(Role.WORKER),
                "has_metadata_server_role": node.has_role(Role.METADATA_SERVER),
                "has_log_server_role": node.has_role(Role.LOG_SERVER),
                "has_ingress_role": node.has_role(Role.HTTP_INGRESS),
                "storage_state": node.storage_state.value,
                "worker_state": node.worker_state.value,
                "metadata_server_state": node.metadata_server_state.value,
                "nodes_configuration_version": version,
                "binary_version": node.binary_version,
            }
        )

    async def _logs(self) -> Rows:
        logs = self._sources.metadata.logs.value
        return [
            _segment_row(tables.LOGS, log, segment, logs.version)
            for log, chain in sorted(logs.chains.items())
            for segment in chain.segments
        ]

    async def _tail_segments(self) -> Rows:
        logs = self._sources.metadata.logs.value
        return [
            _segment_row(tables.LOGS_TAIL_SEGMENTS, log, chain.tail, logs.version)
            for log, chain in sorted(logs.chains.items())
        ]

    # ------------------------------------------------------------ partitions

    async def _partitions(self) -> Rows:
        table = self._sources.metadata.partition_table.value
        epochs = await self._epochs()
        return [
            self._partition_row(table.partitions[partition], epochs.get(partition), table.version)
            for partition in sorted(table.partitions)
        ]

    def _partition_row(
        self, partition: Partition, epoch: EpochMetadata | None, version: int
    ) -> list[Any]:
        current = None if epoch is None else epoch.placed
        following = None if epoch is None else epoch.next
        leadership = self._sources.liveness.leaders.value.get(partition.id)
        leader = None if leadership is None else leadership.node
        return tables.PARTITIONS.row(
            {
                "partition_id": partition.id,
                "start_key": partition.key_range.start,
                "end_key": partition.key_range.end,
                "log_id": partition.log_id,
                "cf_name": partition.cf_name or f"data-{partition.id}",
                "leader_gen_node_id": None if leader is None else str(leader),
                "leader_plain_node_id": None if leader is None else plain_text(leader.id),
                "leader_epoch": None if leadership is None else f"e{leadership.epoch}",
                "v_current": None if current is None else current.version,
                "current_replica_set": None if current is None else _replica_text(current),
                "v_next": None if following is None else following.version,
                "next_replica_set": None if following is None else _replica_text(following),
                "partition_table_version": version,
            }
        )

    async def _partition_state(self) -> Rows:
        state = await self._sources.collector.settled()
        rows: Rows = []
        for alive in state.alive():
            for partition in sorted(alive.processors):
                row = _processor_values(alive.processors[partition])
                row["plain_node_id"] = plain_text(alive.node.id)
                row["gen_node_id"] = str(alive.node)
                rows.append(tables.PARTITION_STATE.row(row))
        return rows

    async def _replica_sets(self) -> Rows:
        state = await self._sources.collector.settled()
        reports = {alive.node.id: alive.processors for alive in state.alive()}
        rows: Rows = []
        for partition, epoch in sorted((await self._epochs()).items()):
            for membership, replicas in (("current", epoch.placed), ("next", epoch.next)):
                if replicas is None:
                    continue
                for node in replicas.replica_set:
                    status = reports.get(node, {}).get(partition)
                    values = self._replica_values(partition, node, status)
                    values |= {"membership": membership, "membership_version": replicas.version}
                    rows.append(tables.PARTITION_REPLICA_SET.row(values))
        return rows

    def _replica_values(
        self, partition: PartitionId, node: PlainNodeId, status: ProcessorStatus | None
    ) -> dict[str, Any]:
        liveness = self._sources.liveness
        leadership = liveness.leaders.value.get(partition)
        life = next((life for life in liveness.alive.value if life.id == node), None)
        return {
            "partition_id": partition,
            "plain_node_id": plain_text(node),
            "alive_gen_node_id": None if life is None else str(life),
            "is_leader": leadership is not None and leadership.node == life,
            "leader_epoch": None if leadership is None else f"e{leadership.epoch}",
            "durable_lsn": None if status is None else status.durable_lsn,
        }

    async def _epochs(self) -> dict[PartitionId, EpochMetadata]:
        partitions = self._sources.metadata.partition_table.value.partitions
        try:
            return await read_epochs(self._sources.store, partitions)
        except (MetadataError, CodecError) as error:
            text = f"the placement of the partitions cannot be read: {error}; try again later"
            raise RowsUnavailable(text) from None


class _OfNodes:
    """A scan of what each living member has by itself, all asked at once. None: it is dead."""

    def __init__(
        self,
        fabric: Fabric,
        table: Table,
        members: Mapping[PlainNodeId, GenerationalNodeId | None],
    ) -> None:
        self.missing = [
            Missing(plain_text(member), "the node is not alive")
            for member, life in members.items()
            if life is None
        ]
        self._fabric = fabric
        self._table = table
        self._nodes = [life for life in members.values() if life is not None]

    async def next_rows(self) -> Rows | None:
        nodes, self._nodes = self._nodes, []
        found = await asyncio.gather(*(self._ask(node) for node in nodes))
        return [row for rows in found for row in rows] or None

    async def _ask(self, node: GenerationalNodeId) -> Rows:
        request = ReadNodeRows(self._table.name)
        try:
            answer = await self._fabric.call(node, request, NodeRows, timeout_s=NODE_TIMEOUT_S)
        except RpcFailure as failure:
            self.missing.append(Missing(plain_text(node.id), str(failure)))
            return []
        return answer.rows


class _Once:
    """A scan whose rows are made when the first is wanted."""

    missing: Sequence[Missing] = ()

    def __init__(self, read: Callable[[], Awaitable[Rows]]) -> None:
        self._read: Callable[[], Awaitable[Rows]] | None = read

    async def next_rows(self) -> Rows | None:
        read, self._read = self._read, None
        return None if read is None else await read() or None


def _segment_row(table: Table, log: LogId, segment: Segment, version: int) -> list[Any]:
    values: dict[str, Any] = {
        "log_id": log,
        "segment_index": segment.index,
        "base_lsn": segment.base_lsn,
        "logs_metadata_version": version,
    }
    match segment:
        case ReplicatedSegment(params=params):
            values |= {
                "kind": "replicated",
                "loglet_id": loglet_text(params.loglet_id),
                "sequencer": str(params.sequencer),
                "replication": str(params.replication),
                "nodeset": f"[{_nodes_text(params.nodeset, ', ')}]",
            }
        case InMemorySegment(kind=kind):
            values |= {"kind": kind.value, "loglet_id": str(segment.loglet_id)}
        case SealMarker():
            values["kind"] = "sealed"
    return table.row(values)


def _processor_values(status: ProcessorStatus) -> dict[str, Any]:
    leader = status.observed_leader
    return {
        "partition_id": status.partition,
        "target_mode": status.planned_mode.name.lower(),
        "effective_mode": status.detailed_mode.name.title().replace("_", ""),
        "updated_at": status.updated_at_ms,
        "leader_epoch": status.observed_epoch,
        "leader": None if leader is None else str(leader),
        "applied_log_lsn": status.applied_lsn,
        "last_record_applied_at": status.applied_at_ms,
        "replay_status": status.replay_status.name.lower().replace("_", "-"),
        "durable_log_lsn": status.durable_lsn,
        "archived_log_lsn": status.archived_lsn,
        "target_tail_lsn": status.target_tail_lsn,
        "enabled_features": [],
        "enabled_storage_features": [],
    }


def _replica_text(replicas: ReplicaSetConfiguration) -> str:
    return _nodes_text(replicas.replica_set, ",")


def _nodes_text(nodes: Iterable[PlainNodeId], separator: str) -> str:
    return separator.join(plain_text(node) for node in nodes)
