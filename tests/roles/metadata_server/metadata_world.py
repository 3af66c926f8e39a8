"""Metadata servers and clients on simulated machines: real fabric, simulated network and disks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_client import MetadataClient, MetadataUnavailable
from restate_node.fabric.fabric import Fabric
from restate_node.roles.metadata_server.service import MetadataServer
from restate_node.runtime.tasks import TaskCenter
from restate_node.sim.disk import DiskOptions, SimMedium
from restate_node.sim.hosts import Death, Incarnation, SimClock
from restate_node.sim.loop import SimLoop
from restate_node.sim.network import SimNetwork
from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.metadata import MetadataKind
from restate_node.types.metadata_kv import NODES_CONFIGURATION_KEY, VersionedValue
from restate_node.types.metadata_messages import MetadataServerPhase
from restate_node.types.nodes import MetadataServerState, Node, NodesConfiguration, Role
from restate_node.types.options import MetadataClientOptions, MetadataServerOptions
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration
from restate_node.wire.storage_codec import encode_shape

T = TypeVar("T")

CLUSTER = "test"
FINGERPRINT = 4711


def address(host: str) -> str:
    return f"http://{host}:5122/"


def blob(version: int, text: str = "") -> bytes:
    """An object of that version."""
    return encode_shape({"version": version, "text": text})


def value(version: int, text: str = "") -> VersionedValue:
    return VersionedValue(Version(version), blob(version, text))


def first_nodes(host: str, fingerprint: int = FINGERPRINT) -> bytes:
    """The nodes configuration with which `host` founds the cluster."""
    node = new_node(host, PlainNodeId(1))
    configuration = NodesConfiguration(
        Version(1), CLUSTER, {node.id: node}, cluster_fingerprint=fingerprint
    )
    return encode_nodes_configuration(configuration)


def new_node(host: str, node_id: PlainNodeId) -> Node:
    return Node(
        name=host,
        current_generation=GenerationalNodeId(node_id, 1),
        address=address(host),
        roles=frozenset({Role.METADATA_SERVER}),
    )


@dataclass(slots=True)
class Machine:
    """One life of a node."""

    host: str
    incarnation: Incarnation
    cache: MetadataCache
    fabric: Fabric
    client: MetadataClient
    server: MetadataServer | None
    tasks: TaskCenter

    @property
    def phase(self) -> MetadataServerPhase:
        assert self.server is not None
        return self.server.phase

    @property
    def leads(self) -> bool:
        server = self.server
        return self.incarnation.alive and bool(server and server.replica and server.replica.leads)


class World:
    """Machines by host name; each restart makes a new life on the same disk."""

    def __init__(
        self,
        loop: SimLoop,
        options: MetadataServerOptions | None = None,
        disk: DiskOptions | None = None,
    ) -> None:
        self.loop = loop
        self.options = options or MetadataServerOptions()
        self.network = SimNetwork(loop, loop.streams.stream("network"))
        self.machines: dict[str, Machine] = {}
        self._disk = disk
        self._media: dict[str, SimMedium] = {}

    def medium(self, host: str) -> SimMedium:
        if host not in self._media:
            stream = self.loop.streams.stream(f"disk {host}")
            self._media[host] = SimMedium(host, stream, self._disk)
        return self._media[host]

    def swap_disk(self, host: str, other: str) -> None:
        """From now on `host` starts on the disk of the other one."""
        self._media[host] = self.medium(other)

    def wipe(self, host: str) -> None:
        """From now on `host` starts on a new disk."""
        self._media.pop(host, None)

    async def run(self, machine: Machine, work: Coroutine[Any, Any, T]) -> T:
        """Run it as that process; the process must not be killed meanwhile."""
        return await self.loop.spawn(machine.incarnation, work)

    async def boot(
        self,
        host: str,
        addresses: tuple[str, ...] = (),
        *,
        is_server: bool = True,
        options: MetadataServerOptions | None = None,
        cluster: str = CLUSTER,
        knows_cluster: bool = False,
    ) -> Machine:
        """Start a process; it has not joined yet."""
        incarnation = self.loop.boot(host)
        stream = self.loop.streams.stream(f"node {host} {incarnation.number}")
        started = self._start(
            incarnation,
            host,
            tuple(address(name) for name in addresses or (host,)),
            random.Random(stream.getrandbits(64)),
            (options or self.options) if is_server else None,
            cluster,
            knows_cluster,
        )
        machine = await self.loop.spawn(incarnation, started)
        self.machines[host] = machine
        return machine

    async def _start(
        self,
        incarnation: Incarnation,
        host: str,
        addresses: tuple[str, ...],
        rng: random.Random,
        options: MetadataServerOptions | None,
        cluster: str,
        knows_cluster: bool,
    ) -> Machine:
        clock = SimClock(self.loop)
        tasks = TaskCenter()
        cache = MetadataCache(cluster)
        fabric = Fabric(self.network.transport(incarnation, address(host)), cache, tasks, rng)
        client = MetadataClient(
            fabric, cache, addresses, MetadataClientOptions(), clock, rng, rng.getrandbits(63)
        )
        server = None
        if options is not None:
            disk = self.medium(host).mount(incarnation)
            server = MetadataServer(
                host,
                address(host),
                disk,
                fabric,
                cache,
                options,
                clock,
                rng,
                tasks,
                knows_cluster=knows_cluster,
            )
            await server.start()
        return Machine(host, incarnation, cache, fabric, client, server, tasks)

    async def join(self, host: str) -> None:
        """What booting does: enter the nodes configuration, with the next generation."""
        machine = self.machines[host]

        def edit(stored: bytes | None) -> bytes:
            assert stored is not None
            configuration = decode_nodes_configuration(stored)
            known = configuration.by_name(host)
            if known is None:
                node = new_node(host, configuration.next_node_id())
            else:
                generation = known.current_generation
                life = GenerationalNodeId(generation.id, generation.generation + 1)
                node = replace(known, current_generation=life)
            return encode_nodes_configuration(configuration.updated(node, 1))

        async def join() -> None:
            while True:
                try:
                    stored = await machine.client.update(NODES_CONFIGURATION_KEY, edit)
                    break
                except MetadataUnavailable:
                    await asyncio.sleep(0.2)
            assert stored is not None
            machine.cache.install_blob(MetadataKind.NODES_CONFIGURATION, stored)
            me = machine.cache.nodes.value.by_name(host)
            assert me is not None
            machine.cache.joined_as(me.current_generation)

        await self.run(machine, join())

    async def found(self, hosts: tuple[str, ...]) -> None:
        """A cluster of these hosts, all of them members."""
        first = await self.boot(hosts[0])
        founded = await self.run(first, first.client.provision(first_nodes(hosts[0])))
        assert founded
        await self.join(hosts[0])
        for host in hosts[1:]:
            await self.boot(host, (host, hosts[0]))
            await self.join(host)
        await self.until(lambda: all(self.is_settled_member(host) for host in hosts))

    async def restart(self, host: str, addresses: tuple[str, ...]) -> Machine:
        """A new life on the same disk, which joins by itself later."""
        machine = await self.boot(host, addresses)
        self.loop.spawn(machine.incarnation, self.join(host))
        return machine

    def kill(self, host: str, death: Death = Death.KILLED) -> None:
        self.loop.kill(self.machines[host].incarnation, death)

    def leader(self) -> Machine | None:
        leaders = [machine for machine in self.machines.values() if machine.leads]
        return max(leaders, key=lambda one: one.server.status().term) if leaders else None

    def is_settled_member(self, host: str) -> bool:
        """A member, and the leader has written that down."""
        machine = self.machines[host]
        leader = self.leader()
        if machine.phase is not MetadataServerPhase.MEMBER or leader is None:
            return False
        assert leader.server is not None
        node = leader.server.stored_nodes().by_name(host)
        return node is not None and node.metadata_server_state is MetadataServerState.MEMBER

    async def until(self, condition: Any, seconds: float = 30.0) -> None:
        """Wait in simulated time; fails when the time is over."""
        deadline = self.loop.time() + seconds
        while not condition():
            assert self.loop.time() < deadline, "the condition never held"
            await asyncio.sleep(0.02)
