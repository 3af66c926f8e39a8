"""Looks at the whole cluster as an operator can: what `status` says, and what the metadata holds.

`say_status` keeps what a node answers to `restatectl status`; if it is true, the probes know.
`survey` keeps nodes, nodesets, replica sets and leaders of one moment, for what is owed once the
cluster has come to rest.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.history_cluster import (
    ClusterSeen,
    LogSeen,
    NodeSeen,
    PartitionSeen,
    StatusSaid,
)
from restate_node.sim.operating.console import CLUSTER, Console, Refused
from restate_node.sim.world import World
from restate_node.types.logs import Logs, ReplicatedSegment
from restate_node.types.nodes import NodesConfiguration
from restate_node.types.partitions import EpochMetadata, PartitionTable
from restate_node.types.processor_messages import ProcessorStatus, RunMode
from restate_node.wire.logs import decode_logs
from restate_node.wire.metadata_keys import (
    LOGS_KEY,
    NODES_CONFIGURATION_KEY,
    PARTITION_TABLE_KEY,
    epoch_metadata_key,
)
from restate_node.wire.nodes import decode_nodes_configuration
from restate_node.wire.partitions import decode_epoch_metadata, decode_partition_table
from restate_node.wire.pb.cluster_ctrl_pb2 import ClusterStateRequest, ClusterStateResponse
from restate_node.wire.pb.cluster_pb2 import ClusterState, PartitionProcessorStatus, ReplayStatus
from restate_node.wire.pb.cluster_pb2 import RunMode as WireMode


async def read_nodes(console: Console) -> NodesConfiguration:
    """The newest nodes configuration. Raises Refused."""
    return decode_nodes_configuration(await _object(console, NODES_CONFIGURATION_KEY))


async def read_logs(console: Console) -> Logs:
    """The newest chains. Raises Refused."""
    return decode_logs(await _object(console, LOGS_KEY))


async def read_table(console: Console) -> PartitionTable:
    """The newest partition table. Raises Refused."""
    return decode_partition_table(await _object(console, PARTITION_TABLE_KEY))


async def say_status(console: Console) -> None:
    """Record one answer to `status`, if there is one."""
    try:
        answer = await console.call(
            f"{CLUSTER}/GetClusterState", ClusterStateRequest(), ClusterStateResponse
        )
    except Refused:
        return
    recorder = console.world.recorder
    partitions = console.world.options.partitions
    healthy = _looks_healthy(answer.cluster_state, partitions, console.tails_seen)
    recorder.add(StatusSaid(recorder.now(), healthy))


async def survey(console: Console) -> None:
    """Record the cluster as it is now, if the metadata store answers."""
    try:
        nodes, logs = await read_nodes(console), await read_logs(console)
        table = await read_table(console)
        epochs = {
            partition: decode_epoch_metadata(await _object(console, epoch_metadata_key(partition)))
            for partition in sorted(table.partitions)
        }
    except Refused:
        return
    world = console.world
    world.recorder.add(
        ClusterSeen(
            world.recorder.now(),
            tuple(_nodes(world, nodes)),
            tuple(_logs(logs)),
            tuple(_partition(world, number, epoch) for number, epoch in epochs.items()),
            logs.configuration.replication.copies,
        )
    )


def leader_of(world: World, partition: int) -> int | None:
    """Who leads by its own word; of several, the one of the highest epoch."""
    leaders = [
        (status.observed_epoch or 0, node)
        for node, status in _replicas(world, partition)
        if status.effective_mode is RunMode.LEADER
    ]
    return max(leaders)[1] if leaders else None


def _replicas(world: World, partition: int) -> Iterator[tuple[int, ProcessorStatus]]:
    for life in world.lives:
        me, worker = life.node.cache.me, life.node.worker
        for status in worker.statuses() if worker else []:
            if status.partition == partition and me is not None:
                yield me.id, status


async def _object(console: Console, key: str) -> bytes:
    found = await console.read(key)
    if found is None:
        raise Refused(f"there is no {key}")
    return found


def _looks_healthy(state: ClusterState, partitions: int, tails: dict[int, int]) -> bool:
    """All nodes are there, and every partition is led and caught up wherever it runs.

    Under load no replica is at the tail; but where the tail was at the look before, `tails`, it
    must be by now. So one look alone, or one after a look that found nodes missing, says nothing.
    """
    rows: list[tuple[int, PartitionProcessorStatus]] = [
        row for node in state.nodes.values() for row in node.alive.partitions.items()
    ]
    abreast = all(
        number in tails and row.last_applied_log_lsn.value + 1 >= tails[number]
        for number, row in rows
    )
    there = bool(state.nodes) and all(node.HasField("alive") for node in state.nodes.values())
    tails.clear()
    for number, row in rows if there else ():
        tails[number] = max(row.target_tail_lsn.value, tails.get(number, 0))
    led = {number for number, row in rows if row.effective_mode == WireMode.LEADER}
    calm = all(row.replay_status == ReplayStatus.ACTIVE for _, row in rows)
    return there and calm and abreast and len(led) == partitions


def _nodes(world: World, nodes: NodesConfiguration) -> Iterator[NodeSeen]:
    living = {life.host for life in world.lives}
    for node in nodes.members():
        states = (node.storage_state.value, node.worker_state.value)
        yield NodeSeen(node.id, node.name, *states, node.name in living)


def _logs(logs: Logs) -> Iterator[LogSeen]:
    for log, chain in sorted(logs.chains.items()):
        tail = chain.tail
        if isinstance(tail, ReplicatedSegment):
            params = tail.params
            yield LogSeen(log, tail.index, params.replication.copies, params.nodeset)


def _partition(world: World, number: int, epoch: EpochMetadata) -> PartitionSeen:
    leader = leader_of(world, number)
    bound = epoch.leadership_policy.affinity is not None or epoch.leadership_policy.is_frozen
    wanted = tuple(
        node for node, status in _replicas(world, number) if status.planned_mode is RunMode.LEADER
    )
    replicas = tuple(sorted(epoch.replicas))
    return PartitionSeen(number, replicas, leader, epoch.epoch, bound, wanted)
