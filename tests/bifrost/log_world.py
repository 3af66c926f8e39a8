"""A small cluster in the simulator: hosts with a fabric, a log server and the log on top.

The metadata store is one dictionary that all hosts reach; everything else is the real code over the
simulated network and disks. Tests act *inside* a host (`Host.run`), so that what they start dies
with it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from restate_node.bifrost.chain_keeper import ChainKeeper
from restate_node.bifrost.log import Bifrost
from restate_node.bifrost.loglet import AppendResult, Loglet
from restate_node.bifrost.replicated.provider import ReplicatedProvider
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_client import MetadataClient
from restate_node.cluster.metadata_errors import MetadataUnavailable, PreconditionNotMet
from restate_node.cluster.metadata_sync import MetadataSync
from restate_node.fabric.fabric import Fabric
from restate_node.protocol.sequencer import SequencerOptions
from restate_node.roles.log_server.log_store import LogStore
from restate_node.roles.log_server.repair import RepairedLogServer
from restate_node.roles.log_server.service import LogServer
from restate_node.roles.log_server.start import StartMode
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.sim.disk import SimMedium
from restate_node.sim.hosts import Death, Incarnation, SimClock
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.network import SimNetwork
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    PlainNodeId,
    SegmentIndex,
    Version,
    loglet_id,
)
from restate_node.types.logs import (
    Logs,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedParams,
)
from restate_node.types.metadata import MetadataKind
from restate_node.types.metadata_kv import (
    DoesNotExist,
    MatchesVersion,
    Precondition,
    VersionedValue,
)
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState
from restate_node.types.records import RecordBatch, pack
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.logs import encode_logs
from restate_node.wire.metadata_keys import LOGS_KEY, NODES_CONFIGURATION_KEY
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration

T = TypeVar("T")

CLUSTER = "a-cluster"
LOG = LogId(0)
REPLICATION = ReplicationProperty.of_nodes(2)
CACHE_BYTES = 1024 * 1024


def node_id(number: int) -> PlainNodeId:
    return PlainNodeId(number)


def batch(*records: str) -> RecordBatch:
    return pack([record.encode() for record in records])


@dataclass
class MetadataTable:
    """What a metadata store holds, and how often it was written."""

    values: dict[str, VersionedValue] = field(default_factory=dict)
    writes: int = 0
    is_down: bool = False


class FakeMetadataClient:
    """One host's client: each operation takes a moment, and is atomic at its end."""

    def __init__(self, table: MetadataTable, rng: random.Random) -> None:
        self._table = table
        self._rng = rng

    async def get(self, key: str, *, timeout_s: float = 5.0) -> VersionedValue | None:
        await self._travel()
        return self._table.values.get(key)

    async def put(
        self,
        key: str,
        value: VersionedValue,
        precondition: Precondition,
        *,
        timeout_s: float = 5.0,
    ) -> None:
        await self._travel()
        found = self._table.values.get(key)
        match precondition:
            case MatchesVersion(version) if found is None or found.version != version:
                raise PreconditionNotMet("another version", found.version if found else None)
            case DoesNotExist() if found is not None:
                raise PreconditionNotMet("exists", found.version)
            case _:
                self._table.values[key] = value
                self._table.writes += 1

    async def update(
        self, key: str, edit: Callable[[bytes | None], bytes | None], *, timeout_s: float = 5.0
    ) -> bytes | None:
        await self._travel()
        found = self._table.values.get(key)
        blob = edit(None if found is None else found.data)
        if blob is None:
            return None if found is None else found.data
        version = Version(1 if found is None else found.version + 1)
        self._table.values[key] = VersionedValue(version, blob)
        self._table.writes += 1
        return blob

    async def _travel(self) -> None:
        await asyncio.sleep(self._rng.uniform(0.0005, 0.003))
        if self._table.is_down:
            raise MetadataUnavailable("the store is down", maybe_executed=True)


class Host:
    """One life of one node."""

    def __init__(self, world: World, number: int, generation: int, mode: StartMode) -> None:
        self.world = world
        self.mode = mode
        self.id = PlainNodeId(number)
        self.me = GenerationalNodeId(self.id, generation)
        self.process: Incarnation = world.loop.boot(world.name(number))
        self.address = world.address(number)

    async def start(self) -> None:
        """Everything a node has of the log; runs inside the host."""
        world = self.world
        rng = world.rng
        self.tasks = TaskCenter()
        self.cache = MetadataCache(CLUSTER)
        self.cache.joined_as(self.me)
        self.cache.install_blob(
            MetadataKind.NODES_CONFIGURATION, encode_nodes_configuration(world.nodes)
        )
        self.cache.install_blob(MetadataKind.LOGS, world.table.values[LOGS_KEY].data)
        self.fabric = Fabric(
            world.network.transport(self.process, self.address), self.cache, self.tasks, rng
        )
        self.clock = SimClock(world.loop)
        store = LogStore.open(world.medium(self.id).mount(self.process))
        self.log_store = store
        self.log_server = LogServer(store, self.fabric, self.clock, self.tasks)
        self.log_server.start(self.mode)
        client = FakeMetadataClient(world.table, rng)
        metadata = cast(MetadataClient, client)
        self.repaired = RepairedLogServer(self.log_server, store, self.cache, metadata, self.clock)
        self.sync = MetadataSync(self.cache, self.fabric, self._reader(client), 1.0)
        self.tasks.spawn(TaskKind.METADATA_SYNC, "sync", self.sync.run())
        self.keeper = ChainKeeper(self.cache, cast(MetadataClient, client))
        self.tasks.spawn(TaskKind.BIFROST, "keeper", self.keeper.run())
        self.provider = ReplicatedProvider(
            self.cache,
            self.fabric,
            self.clock,
            rng,
            world.is_alive,
            world.sequencer_options,
            CACHE_BYTES,
        )
        self.bifrost = Bifrost(self.cache, self.keeper, self.provider, self.clock, rng, (0.01, 0.1))

    def _reader(self, client: FakeMetadataClient) -> Callable[[str], Coroutine[Any, Any, Any]]:
        async def read(key: str) -> bytes | None:
            value = await client.get(key)
            return value.data if value is not None else None

        return read

    async def run(self, activity: Coroutine[Any, Any, T]) -> T:
        """Run inside the host and wait; never ends if the host is killed."""
        return await self.world.loop.spawn(self.process, activity)

    def spawn(self, activity: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = self.world.loop.spawn(self.process, activity)
        self.world.spawned.append(task)
        return task

    def loglet(self, params: ReplicatedParams) -> Loglet:
        return self.provider.loglet(params)


class World:
    """All hosts, and what outlives them."""

    def __init__(self, loop: SimLoop, *, hosts: int = 3, kind: ProviderKind | None = None) -> None:
        self.loop = loop
        self.rng = loop.streams.stream("test")
        self.network = SimNetwork(loop, loop.streams.stream("network"))
        self.sequencer_options = SequencerOptions()
        self.table = MetadataTable()
        self.hosts: dict[int, Host] = {}
        self.spawned: list[asyncio.Task[Any]] = []
        loop.world = self  # type: ignore[attr-defined]  # lives as long as the loop
        self._media: dict[PlainNodeId, SimMedium] = {}
        self._count = hosts
        self.nodes = self._nodes()
        configuration = ProviderConfiguration(kind or ProviderKind.REPLICATED, REPLICATION, hosts)
        logs = Logs(Version(1), {}, configuration)
        self.table.values[LOGS_KEY] = VersionedValue(Version(1), encode_logs(logs))

    def _nodes(self) -> NodesConfiguration:
        nodes = {
            node_id(number): Node(
                name=self.name(number),
                current_generation=GenerationalNodeId(node_id(number), 1),
                address=self.address(number),
                roles=frozenset((Role.LOG_SERVER, Role.WORKER)),
                storage_state=StorageState.READ_WRITE,
            )
            for number in range(1, self._count + 1)
        }
        return NodesConfiguration(Version(1), CLUSTER, nodes, cluster_fingerprint=7)

    def name(self, number: int) -> str:
        return f"node-{number}"

    def address(self, number: int) -> str:
        return f"http://node-{number}:5122/"

    def medium(self, node: PlainNodeId) -> SimMedium:
        if node not in self._media:
            stream = self.loop.streams.stream(f"disk-{node}")
            self._media[node] = SimMedium(self.name(node), stream)
        return self._media[node]

    def is_alive(self, node: GenerationalNodeId) -> bool:
        host = self.hosts.get(node.id)
        return host is not None and host.me == node and host.process.alive

    async def start(self) -> None:
        for number in range(1, self._count + 1):
            await self.boot(number)

    async def boot(
        self, number: int, generation: int = 1, mode: StartMode = StartMode.WHOLE
    ) -> Host:
        """Start a host, or start it again."""
        host = self.hosts[number] = Host(self, number, generation, mode)
        await host.run(host.start())
        return host

    async def restart(
        self,
        number: int,
        state: StorageState | None = None,
        mode: StartMode = StartMode.WHOLE,
    ) -> Host:
        """The next life of a killed host; the others hear of it, and of its state, at once."""
        old = self.hosts[number]
        self.kill(number)
        self.learn()
        generation = old.me.generation + 1
        member = self.nodes.node(old.id)
        assert member is not None
        born = GenerationalNodeId(old.id, generation)
        self.nodes = self.nodes.updated(
            Node(member.name, born, member.address, member.roles, state or member.storage_state),
            None,
        )
        self.write(self.nodes)
        host = await self.boot(number, generation, mode)
        self.learn()
        return host

    def write(self, nodes: NodesConfiguration) -> None:
        """Another nodes configuration in the metadata store."""
        self.nodes = nodes
        blob = encode_nodes_configuration(nodes)
        self.table.values[NODES_CONFIGURATION_KEY] = VersionedValue(nodes.version, blob)

    def learn(self) -> None:
        """What a host wrote about nodes is known to all that are alive."""
        stored = self.table.values.get(NODES_CONFIGURATION_KEY)
        if stored is not None:
            self.nodes = decode_nodes_configuration(stored.data)
        for host in self.hosts.values():
            if host.process.alive:
                host.cache.install(MetadataKind.NODES_CONFIGURATION, self.nodes)

    def kill(self, number: int, death: Death = Death.KILLED) -> None:
        self.loop.kill(self.hosts[number].process, death)

    def params(self, sequencer: int = 1, segment: int = 0) -> ReplicatedParams:
        """A loglet over all hosts."""
        return ReplicatedParams(
            loglet_id(LOG, SegmentIndex(segment)),
            self.hosts[sequencer].me,
            REPLICATION,
            tuple(node_id(number) for number in range(1, self._count + 1)),
        )


async def appended(loglet: Loglet, what: RecordBatch) -> AppendResult:
    """Append and wait for the answer; for tests that stay below the window."""
    ended: asyncio.Future[AppendResult] = asyncio.get_running_loop().create_future()
    assert loglet.append(what, ended.set_result), "the window is full"
    return await ended


Story = Callable[[World], Awaitable[None]]


def tell(
    story: Story,
    seeds: range = range(3),
    *,
    hosts: int = 3,
    kind: ProviderKind = ProviderKind.REPLICATED,
) -> None:
    """Run a story in a fresh world per seed."""
    for seed in seeds:

        async def main(loop: SimLoop) -> None:
            world = World(loop, hosts=hosts, kind=kind)
            await world.start()
            await story(world)

        simulate(seed, main)
