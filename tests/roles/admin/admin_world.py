"""Nodes with real fabrics over the simulated network, and hand-driven liveness: what the tests of
the admin role share.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_errors import MetadataUnavailable, PreconditionNotMet
from restate_node.fabric.fabric import Fabric
from restate_node.runtime.tasks import TaskCenter
from restate_node.runtime.watch import Watch
from restate_node.sim.hosts import Incarnation, SimClock
from restate_node.sim.loop import SimLoop
from restate_node.sim.network import SimNetwork
from restate_node.types.gossip import Leadership
from restate_node.types.gossip import NodeState as Believed
from restate_node.types.ids import (
    GenerationalNodeId,
    PartitionId,
    PlainNodeId,
    Version,
)
from restate_node.types.metadata import MetadataKind
from restate_node.types.metadata_kv import (
    DoesNotExist,
    MatchesVersion,
    Precondition,
    VersionedValue,
)
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState, WorkerState
from restate_node.types.partitions import PartitionTable
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.storage_codec import decode_version

ALL_ROLES = frozenset(Role)


def life(node: int, generation: int = 1) -> GenerationalNodeId:
    return GenerationalNodeId(PlainNodeId(node), generation)


def member(node: int, generation: int = 1, roles: frozenset[Role] = ALL_ROLES) -> Node:
    return Node(
        f"node-{node}",
        life(node, generation),
        f"http://node-{node}:5122/",
        roles,
        storage_state=StorageState.READ_WRITE,
        worker_state=WorkerState.ACTIVE,
    )


def members(*nodes: Node, version: int = 1) -> NodesConfiguration:
    return NodesConfiguration(
        Version(version), "test", {node.id: node for node in nodes}, cluster_fingerprint=7
    )


class HandLiveness:
    """Says of each node what the test says."""

    def __init__(self, *alive: GenerationalNodeId) -> None:
        self.alive: Watch[frozenset[GenerationalNodeId]] = Watch(frozenset(alive))
        self.states: Watch[Mapping[PlainNodeId, Believed]] = Watch(
            {node.id: Believed.ALIVE for node in alive}
        )
        self.leaders: Watch[Mapping[PartitionId, Leadership]] = Watch({})
        self.seen_ms: dict[PlainNodeId, int] = {}

    def state_of(self, node: PlainNodeId) -> Believed:
        return self.states.value.get(node, Believed.DEAD)

    def last_seen_ms(self, node: PlainNodeId) -> int | None:
        return self.seen_ms.get(node)

    def set(self, node: GenerationalNodeId, state: Believed) -> None:
        self.states.set({**self.states.value, node.id: state})
        others = {other for other in self.alive.value if other.id != node.id}
        self.alive.set(frozenset(others | ({node} if state is Believed.ALIVE else set())))


class MemoryStore:
    """The metadata store's contract in a dictionary; may be taken away."""

    def __init__(self) -> None:
        self.values: dict[str, VersionedValue] = {}
        self.available = True
        self.writes = 0
        self.reads = 0

    async def get(self, key: str, *, timeout_s: float = 5.0) -> VersionedValue | None:
        await self._travel(executed=False)
        self.reads += 1
        return self.values.get(key)

    async def put(
        self,
        key: str,
        value: VersionedValue,
        precondition: Precondition,
        *,
        timeout_s: float = 5.0,
    ) -> None:
        await self._travel(executed=True)
        found = self.values.get(key)
        version = None if found is None else found.version
        if isinstance(precondition, DoesNotExist) and found is not None:
            raise PreconditionNotMet("exists", version)
        if isinstance(precondition, MatchesVersion) and version != precondition.version:
            raise PreconditionNotMet("another version", version)
        self.values[key] = value
        self.writes += 1

    async def update(self, key: str, edit: Callable[[bytes | None], bytes | None]) -> bytes | None:
        found = await self.get(key)
        blob = edit(None if found is None else found.data)
        if blob is None:
            return None if found is None else found.data
        condition = DoesNotExist() if found is None else MatchesVersion(found.version)
        await self.put(key, VersionedValue(decode_version(blob), blob), condition)
        return blob

    async def _travel(self, *, executed: bool) -> None:
        await asyncio.sleep(0.002)
        if not self.available:
            await asyncio.sleep(0.2)
            raise MetadataUnavailable("no majority", maybe_executed=executed)


@dataclass
class Host:
    """One node: its fabric, cache and tasks."""

    me: GenerationalNodeId
    incarnation: Incarnation
    cache: MetadataCache
    fabric: Fabric
    tasks: TaskCenter


@dataclass
class World:
    """Nodes that share one configuration."""

    loop: SimLoop
    network: SimNetwork = field(init=False)
    hosts: dict[int, Host] = field(default_factory=dict[int, Host])
    nodes: NodesConfiguration = field(default_factory=members)

    def __post_init__(self) -> None:
        self.network = SimNetwork(self.loop, random.Random(0))
        self.clock = SimClock(self.loop)

    def start(self, node: int, generation: int = 1, roles: frozenset[Role] = ALL_ROLES) -> Host:
        """Boot a node and make it a member, known to all."""
        joined = member(node, generation, roles)
        incarnation = self.loop.boot(f"node-{node}")
        cache = MetadataCache("test")
        tasks = TaskCenter()
        transport = self.network.transport(incarnation, joined.address)
        fabric = Fabric(transport, cache, tasks, random.Random(node))
        cache.joined_as(joined.current_generation)
        host = Host(joined.current_generation, incarnation, cache, fabric, tasks)
        self.hosts[node] = host
        self.change(joined)
        return host

    def change(self, *changed: Node) -> None:
        """Everybody learns of a new nodes configuration at once."""
        nodes = {**self.nodes.nodes, **{node.id: node for node in changed}}
        version = Version(self.nodes.version + 1)
        self.nodes = replace(self.nodes, version=version, nodes=nodes)
        for host in self.hosts.values():
            host.cache.install(MetadataKind.NODES_CONFIGURATION, self.nodes)

    def partition(self, count: int, copies: int, version: int = 1) -> None:
        """Everybody learns of a partition table."""
        replication = ReplicationProperty.of_nodes(copies)
        table = PartitionTable.equal_ranges(count, replication, Version(version))
        for host in self.hosts.values():
            host.cache.install(MetadataKind.PARTITION_TABLE, table)

    def kill(self, node: int) -> None:
        self.loop.kill(self.hosts.pop(node).incarnation)

    async def eventually(self, condition: Callable[[], bool], within_s: float) -> float:
        """How long it took, in virtual seconds; fails when it takes longer."""
        started = self.loop.time()
        while not condition():
            assert self.loop.time() - started < within_s, "it did not happen in time"
            await asyncio.sleep(0.01)
        return self.loop.time() - started
