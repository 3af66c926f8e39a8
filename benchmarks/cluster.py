"""The world without options: three real nodes, of which this process is one.

    this process   all roles, the sequencer of the benchmark's log, and the callers
    two children   `restate-node --config node-N.toml`

The log is one of its own, beside those of the partitions. The appends take the way of a partition
leader's: `Appender` to the sequencer of the same process, from there to all three log servers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TextIO

from benchmarks import processes
from benchmarks.bare_plane import refuse
from benchmarks.cluster_files import HOST, PARTITIONS, Place, places, write_configuration
from benchmarks.failover import FailOver, find_led_by, patch_until_committed
from benchmarks.load import Submit, make_batches
from benchmarks.world import WorldFailed
from restate_node.bifrost.appender import Appender
from restate_node.bifrost.log import Bifrost, SegmentRequest
from restate_node.node.config import load_config
from restate_node.node.node import Node
from restate_node.node.ports import Ports
from restate_node.runtime.real.clock import RealClock
from restate_node.runtime.real.data_plane import DataPlane
from restate_node.runtime.real.disk import RealDisk
from restate_node.runtime.real.front import Front
from restate_node.runtime.real.front_address import ListenAddress
from restate_node.runtime.tasks import TaskKind
from restate_node.runtime.telemetry import LineFormat, configure
from restate_node.types.ids import GenerationalNodeId, LogId, PlainNodeId
from restate_node.types.nodes import NodesConfiguration, StorageState

BENCHMARK_LOG = LogId(1_000_000)
"""Far above the logs of partitions."""
READY_WITHIN_S = 60.0
LOOK_AFTER_S = 0.2


class ClusterWorld:
    """Implements `world.World`; it alone has idle nodes, and leaders that may be killed."""

    def __init__(self, directory: Path, replication: int, partitions: int = PARTITIONS) -> None:
        self.directory = directory
        self._replication = replication
        self._places = places(processes.free_ports(9))
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._files = [
            write_configuration(directory, place, self._places, replication, partitions)
            for place in self._places
        ]
        self._node: Node | None = None
        self._running: asyncio.Task[object] | None = None
        self._appender: Appender | None = None
        self._log_file: TextIO | None = None

    @property
    def description(self) -> str:
        return f"3 nodes, this process leads the log, {self._replication} durable copies"

    @property
    def process_ids(self) -> list[int]:
        return [os.getpid(), *self.idle_process_ids]

    @property
    def idle_process_ids(self) -> list[int]:
        return [child.pid for child in self._children.values()]

    @property
    def node(self) -> Node:
        """The node in this process."""
        assert self._node is not None, "the world is open"
        return self._node

    @property
    def submit(self) -> Submit:
        assert self._appender is not None, "the world is open"
        return self._appender.submit

    # ------------------------------------------------------------ life

    async def open(self) -> None:
        """Start all three, and the log."""
        self._log_file = (self.directory / "node-1.log").open("w", encoding="utf-8")
        configure(LineFormat.COMPACT, logging.INFO, colours=False, output=self._log_file)
        self._node = await self._start_own_node(self._places[0])
        for number in (2, 3):
            self._start_child(number)
        async with asyncio.timeout(READY_WITHIN_S):
            await self._wait_for_all(self._node)
            bifrost = self._bifrost
            await bifrost.ensure_log(BENCHMARK_LOG)
        self._appender = bifrost.appender(BENCHMARK_LOG)
        self._node.tasks.spawn(TaskKind.BIFROST, "benchmark appender", self._appender.run())

    async def _wait_for_all(self, node: Node) -> None:
        """Raises WorldFailed when a child ends instead."""
        formed = asyncio.gather(node.ready.until(bool), node.cache.nodes.until(_all_can_store))
        while not (await asyncio.wait([formed], timeout=LOOK_AFTER_S))[0]:
            for number, child in self._children.items():
                if child.poll() is not None:
                    formed.cancel()
                    await asyncio.wait([formed])
                    log = self.directory / f"node-{number}.log"
                    raise WorldFailed(f"node {number} ended while it started: {_last_words(log)}")

    async def close(self) -> None:
        """Stop this node, then the others."""
        if self._node is not None and self._running is not None:
            self._node.tasks.request_shutdown("the benchmark is over")
            await self._running
        await asyncio.to_thread(processes.stop, list(self._children.values()))
        if self._log_file is not None:
            self._log_file.close()

    async def _start_own_node(self, place: Place) -> Node:
        loaded = load_config(["--config", str(self._files[0])], {}, _read_file)
        data_plane = DataPlane()
        home = self.directory / place.name
        ports = Ports(RealClock(), data_plane, RealDisk(home), Random(os.urandom(16)))
        node = Node(loaded.options, ports, str(home))
        front = Front(ListenAddress(HOST, place.fabric_port), data_plane.accept_connection, refuse)
        node.tasks.spawn(TaskKind.CONTROL_PLANE, "fabric port", front.run())
        await front.started.wait()
        self._running = asyncio.create_task(node.run())
        return node

    def _start_child(self, number: int) -> None:
        arguments = ["-m", "restate_node.node", "--config", str(self._files[number - 1])]
        log = self.directory / f"{self._places[number - 1].name}.log"
        self._children[number] = processes.start(arguments, log)

    # ------------------------------------------------------------ fail-over

    async def fail_over(self) -> FailOver:
        """Kill a child that leads a partition, time what others wait for, start it again.

        Raises WorldFailed when no child comes to lead one.
        """
        assert self._node is not None
        numbers = self._numbers_by_id(self._node)
        partition, victim = await find_led_by(self._node, list(numbers))
        number = numbers[victim.id]
        await self._lead_log_from(victim)
        await self._append_once()
        child = self._children[number]
        child.send_signal(signal.SIGKILL)
        killed = perf_counter()
        async with asyncio.timeout(READY_WITHIN_S):
            log, state = await asyncio.gather(
                _seconds_until(self._append_once(), killed),
                _seconds_until(patch_until_committed(self._node, partition, victim), killed),
            )
        child.wait()
        self._start_child(number)
        async with asyncio.timeout(READY_WITHIN_S):
            await self._alive_again(victim)
        return FailOver(log, state)

    def _numbers_by_id(self, node: Node) -> dict[PlainNodeId, int]:
        """Node ids follow the order of joining, names the order of starting."""
        found = {
            number: node.cache.nodes.value.by_name(self._places[number - 1].name)
            for number in self._children
        }
        return {member.id: number for number, member in found.items() if member is not None}

    async def _lead_log_from(self, leader: GenerationalNodeId) -> None:
        """Move the sequencer of the benchmark's log to that node."""
        tail = await self._bifrost.find_tail(BENCHMARK_LOG)
        request = SegmentRequest(sequencer=leader)
        await self._bifrost.reconfigure(BENCHMARK_LOG, tail.segment, request)

    async def _append_once(self) -> None:
        assert self._appender is not None
        await self._appender.append(make_batches(1, 128)[0])

    async def _alive_again(self, former: GenerationalNodeId) -> None:
        assert self._node is not None
        assert self._node.membership is not None
        await self._node.membership.alive.until(
            lambda alive: any(
                node.id == former.id and node.generation > former.generation for node in alive
            )
        )

    @property
    def _bifrost(self) -> Bifrost:
        assert self._node is not None
        assert self._node.bifrost is not None, "the node is ready"
        return self._node.bifrost


@asynccontextmanager
async def cluster_world(
    directory: Path, replication: int, partitions: int = PARTITIONS
) -> AsyncIterator[ClusterWorld]:
    """Three nodes for as long as the context lasts."""
    world = ClusterWorld(directory, replication, partitions)
    try:
        await world.open()
        yield world
    finally:
        await world.close()


def _all_can_store(nodes: NodesConfiguration) -> bool:
    servers = nodes.log_servers()
    return len(servers) == 3 and all(
        server.storage_state is StorageState.READ_WRITE for server in servers
    )


async def _seconds_until(work: Coroutine[object, object, None], since: float) -> float:
    await work
    return perf_counter() - since


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "without a word"


def _read_file(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")
