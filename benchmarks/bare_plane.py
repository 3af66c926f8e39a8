"""The log without a node around it: fabric, log server and, on the first of three, a sequencer.

    process 1   appender ─▶ sequencer ─┬─▶ its own log server ─▶ disk
    process 2                          ├─▶ log server ─▶ disk
    process 3                          └─▶ log server ─▶ disk

Who the members are and where the log stands is written down here instead of in a metadata store.
The difference between this and a real cluster is what the rest of a node costs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Final

from restate_node.bifrost.appender import Appender, OpenSegment
from restate_node.bifrost.replicated.provider import ReplicatedProvider
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.protocol.sequencer import SequencerOptions
from restate_node.roles.log_server.log_store import LogStore
from restate_node.roles.log_server.service import LogServer
from restate_node.runtime.real.clock import RealClock
from restate_node.runtime.real.data_plane import DataPlane
from restate_node.runtime.real.disk import RealDisk
from restate_node.runtime.real.front import Front
from restate_node.runtime.real.front_address import ListenAddress
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    PlainNodeId,
    SegmentIndex,
    Version,
    loglet_id,
)
from restate_node.types.logs import ReplicatedParams
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState
from restate_node.types.offsets import OLDEST_LSN
from restate_node.types.replication import ReplicationProperty

LOG: Final = LogId(1)
HOST: Final = "127.0.0.1"
RECORD_CACHE_BYTES_MAX: Final = 16 * 1024 * 1024
STOP_WITHIN_S: Final = 3.0


def first_life(node: int) -> GenerationalNodeId:
    """The only life of a node that this plane knows."""
    return GenerationalNodeId(PlainNodeId(node), 1)


def members(ports: list[int]) -> NodesConfiguration:
    """Nodes 1, 2, … on those ports."""
    nodes = {
        PlainNodeId(number): Node(
            f"bare-{number}",
            first_life(number),
            f"http://{HOST}:{port}/",
            frozenset({Role.LOG_SERVER}),
            StorageState.READ_WRITE,
        )
        for number, port in enumerate(ports, start=1)
    }
    return NodesConfiguration(Version(1), "bare-plane", nodes, cluster_fingerprint=1)


class BarePlane:
    """One process of it."""

    def __init__(self, node: int, directory: Path, ports: list[int], rng: Random) -> None:
        self.tasks = TaskCenter()
        self._rng = rng
        self._clock = RealClock()
        self._nodes = len(ports)
        self._cache = MetadataCache("bare-plane")
        self._cache.install(MetadataKind.NODES_CONFIGURATION, members(ports))
        self._cache.joined_as(first_life(node))
        data_plane = DataPlane()
        self.fabric = Fabric(data_plane, self._cache, self.tasks, rng)
        store = LogStore.open(RealDisk(directory))
        self._log_server = LogServer(store, self.fabric, self._clock, self.tasks)
        address = ListenAddress(HOST, ports[node - 1])
        self._front = Front(address, data_plane.accept_connection, refuse)

    async def start(self) -> None:
        """Listen and serve."""
        self._log_server.start()
        self.tasks.spawn(TaskKind.CONTROL_PLANE, "port", self._front.run())
        await self._front.started.wait()

    def appender(self, replication: int) -> Appender:
        """Appends to the one log, whose sequencer is this process."""
        segment = SegmentIndex(0)
        params = ReplicatedParams(
            loglet_id(LOG, segment),
            first_life(1),
            ReplicationProperty.of_nodes(replication),
            tuple(PlainNodeId(number) for number in range(1, self._nodes + 1)),
        )
        provider = ReplicatedProvider(
            self._cache,
            self.fabric,
            self._clock,
            self._rng,
            lambda _: True,
            SequencerOptions(),
            RECORD_CACHE_BYTES_MAX,
        )
        opened = OpenSegment(segment, OLDEST_LSN, provider.loglet(params))

        async def reopen(_: SegmentIndex | None) -> OpenSegment:
            return opened

        appender = Appender(LOG, reopen, self._rng, (0.1, 1.0))
        self.tasks.spawn(TaskKind.BIFROST, "appender", appender.run())
        return appender

    async def stop(self) -> None:
        """Stop the tasks, close connections and the database."""
        await self.tasks.stop(timeout_s=STOP_WITHIN_S)
        self.fabric.close("the benchmark is over")
        await self._log_server.close()


def refuse(transport: asyncio.Transport, _: bytes) -> asyncio.BaseProtocol:
    """In place of a control plane: nobody is answered."""
    transport.abort()
    return asyncio.Protocol()
