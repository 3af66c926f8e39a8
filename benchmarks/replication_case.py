"""`replication`: the replication of all logs is raised while every partition is written to.

    partition   patch ─ patch ─ patch ─ [config set: seal, next segment] ─ patch ─ patch ─ …
    pause                                └────── no acknowledgement ─────┘

State patches to the partitions' leaders, wherever these are, a few at a time for each partition:
what a client would notice.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from benchmarks.cluster import BENCHMARK_LOG, cluster_world
from benchmarks.failover import SERVICE, key_of
from benchmarks.operations_figures import ReplicationFigures
from restate_node.cluster.partition_calls import PartitionCalls
from restate_node.node.node import Node
from restate_node.roles.admin.configuration_message import configuration_message
from restate_node.types.cluster_configuration import ClusterConfiguration
from restate_node.types.ids import PartitionId
from restate_node.types.logs import Logs, ReplicatedSegment
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.processor_messages import PatchState, Proposed
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.pb import cluster_ctrl_pb2

LOGS = 8
IN_FLIGHT = 4
USUAL_S = 5.0
AFTERWARDS_S = 3.0
READY_WITHIN_S = 120.0


class _Writer:
    """Patches the state of one partition, and notes the longest time without an answer."""

    def __init__(self, calls: PartitionCalls, key: str) -> None:
        self._calls = calls
        self._key = key
        self._answered_at = perf_counter()
        self._pause_s = 0.0
        self.begun = asyncio.Event()
        """The partition has a leader that commits."""
        self._patches = 0

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(self._patch_on())

    def take_pause_s(self) -> float:
        """The longest since the last call, one that still lasts included."""
        pause = max(self._pause_s, perf_counter() - self._answered_at)
        self._pause_s = 0.0
        self._answered_at = perf_counter()
        return pause

    async def _patch_on(self) -> None:
        key = partition_key_of_key(self._key)
        while True:
            await self._calls.call(key, self._request, Proposed)
            now = perf_counter()
            self._pause_s = max(self._pause_s, now - self._answered_at)
            self._answered_at = now
            self._patches += 1
            self.begun.set()

    def _request(self, partition: PartitionId) -> PatchState:
        return PatchState(partition, SERVICE, self._key, {"patch": b"%d" % self._patches})


@dataclass(frozen=True, slots=True)
class _Raised:
    """One round."""

    reconfigured_s: float
    pause_s: float
    usual_pause_s: float


async def measure_replication(directory: Path, rounds: int) -> ReplicationFigures:
    """Each round in a cluster of its own; raises WorldFailed, TimeoutError."""
    found: list[_Raised] = []
    for number in range(rounds):
        place = directory / f"replication-{number}"
        place.mkdir()
        async with cluster_world(place, 1, LOGS) as world:
            found.append(await _raise(world.node))
    return ReplicationFigures(
        LOGS,
        tuple(one.reconfigured_s for one in found),
        tuple(one.pause_s for one in found),
        tuple(one.usual_pause_s for one in found),
    )


async def _raise(node: Node) -> _Raised:
    calls = node.calls
    assert calls is not None, "the node is ready"
    writers = [_Writer(calls, key_of(node, PartitionId(number))) for number in range(LOGS)]
    running = [asyncio.create_task(writer.run()) for writer in writers]
    try:
        async with asyncio.timeout(READY_WITHIN_S):
            for writer in writers:
                await writer.begun.wait()
        _longest(writers)
        await asyncio.sleep(USUAL_S)
        usual_pause_s = _longest(writers)
        started = perf_counter()
        await _set_replication(node, 2)
        async with asyncio.timeout(READY_WITHIN_S):
            await node.cache.logs.until(_are_raised)
        reconfigured_s = perf_counter() - started
        # The pause of the log that came last may not be over.
        await asyncio.sleep(AFTERWARDS_S)
        return _Raised(reconfigured_s, _longest(writers), usual_pause_s)
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)


def _longest(writers: list[_Writer]) -> float:
    return max(writer.take_pause_s() for writer in writers)


async def _set_replication(node: Node, copies: int) -> None:
    """What `restatectl config set --log-replication` sends."""
    assert node.cluster_ctrl is not None, "the node is ready"
    logs, table = node.cache.logs.value, node.cache.partition_table.value
    current = ClusterConfiguration.of(logs, table)
    provider = replace(current.provider, replication=ReplicationProperty.of_nodes(copies))
    wanted = replace(current, provider=provider)
    request = cluster_ctrl_pb2.SetClusterConfigurationRequest(
        cluster_configuration=configuration_message(wanted)
    )
    await node.cluster_ctrl.set_cluster_configuration(request)


def _are_raised(logs: Logs) -> bool:
    """The benchmark's own log is led by nobody: it is changed when it is next opened."""
    tails = [chain.tail for log, chain in logs.chains.items() if log != BENCHMARK_LOG]
    return len(tails) >= LOGS and all(
        isinstance(tail, ReplicatedSegment)
        and tail.params.replication == ReplicationProperty.of_nodes(2)
        for tail in tails
    )
