"""Metadata spreads: from the peer that announced it, else from the store; and ends a replaced node.

Two hosts of the simulator; the store is a dictionary that can be taken away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_sync import MetadataSync, Superseded
from restate_node.fabric.fabric import Fabric
from restate_node.runtime.tasks import TaskCenter
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.network import SimNetwork
from restate_node.types.fabric import Peer
from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.logs import Logs
from restate_node.types.metadata import MetadataKind, MetadataVersions
from restate_node.types.nodes import TOMBSTONE, Node, NodesConfiguration, Tombstone
from restate_node.wire.logs import encode_logs
from restate_node.wire.metadata_keys import LOGS_KEY, NODES_CONFIGURATION_KEY
from restate_node.wire.nodes import encode_nodes_configuration

N1, N2 = PlainNodeId(1), PlainNodeId(2)
ROUND_S = 5.0


def configuration(version: int, one: Node | Tombstone | None = None) -> NodesConfiguration:
    nodes = {number: member(number) for number in (N1, N2)}
    return NodesConfiguration(
        Version(version), "c", {**nodes, N1: one or nodes[N1]}, cluster_fingerprint=7
    )


def member(number: PlainNodeId, generation: int = 1) -> Node:
    generational = GenerationalNodeId(number, generation)
    return Node(f"node-{number}", generational, address(number), frozenset())


def address(number: PlainNodeId) -> str:
    return f"http://node-{number}:5122/"


class SyncWorld:
    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.network = SimNetwork(loop, loop.streams.stream("network"))
        self.store: dict[str, bytes] | None = {}
        self.reads = 0
        self.caches: list[MetadataCache] = []
        self.syncs: list[asyncio.Task[None]] = []
        for number in (N1, N2):
            self.start(number)

    def start(self, number: PlainNodeId) -> None:
        cache = MetadataCache("c")
        cache.joined_as(GenerationalNodeId(number, 1))
        cache.install(MetadataKind.NODES_CONFIGURATION, configuration(1))
        process = self.loop.boot(f"node-{number}")
        transport = self.network.transport(process, address(number))
        fabric = Fabric(transport, cache, TaskCenter(), self.loop.streams.stream("fabric"))
        sync = MetadataSync(cache, fabric, self.read, ROUND_S)
        self.caches.append(cache)
        self.syncs.append(self.loop.spawn(process, sync.run()))

    async def read(self, key: str) -> bytes | None:
        self.reads += 1
        await asyncio.sleep(0.001)
        if self.store is None:
            raise ConnectionError("away")
        return self.store.get(key)


def tell(story: Callable[[SyncWorld], Awaitable[None]]) -> None:
    for seed in range(3):

        async def main(loop: SimLoop) -> None:
            await story(SyncWorld(loop))

        simulate(seed, main)


PEER_2 = Peer(GenerationalNodeId(N2, 1), address(N2))


@pytest.mark.parametrize("store_is_away", [False, True])
def test_an_announcement_is_fetched_from_its_peer(store_is_away: bool) -> None:
    """Goal: without waiting for a round and without the store."""

    async def story(world: SyncWorld) -> None:
        one, two = world.caches
        if store_is_away:
            world.store = None
        two.install(MetadataKind.LOGS, Logs(Version(4)))
        one.observed(PEER_2, MetadataVersions(logs=4))
        await asyncio.sleep(0.5)
        assert one.logs.value.version == 4
        assert not one.newer.value

    tell(story)


def test_the_store_helps_when_the_peer_does_not() -> None:
    """Goal: the peer that announced it has died; the store has it, later."""

    async def story(world: SyncWorld) -> None:
        one = world.caches[0]
        world.store = None
        one.observed(Peer(GenerationalNodeId(PlainNodeId(9), 1), "x"), MetadataVersions(logs=4))
        await asyncio.sleep(1)
        world.store = {LOGS_KEY: encode_logs(Logs(Version(4)))}
        await asyncio.sleep(1)
        assert one.logs.value.version == 4

    tell(story)


def test_a_version_that_never_was_costs_little() -> None:
    """Goal: a false announcement is asked for once and then forgotten. A later, true one counts."""

    async def story(world: SyncWorld) -> None:
        one, two = world.caches
        world.store = {LOGS_KEY: encode_logs(Logs(Version(3)))}
        one.observed(PEER_2, MetadataVersions(logs=4_000_000_000))
        await asyncio.sleep(ROUND_S * 0.8)
        assert one.logs.value.version == 3
        assert world.reads <= 2
        two.install(MetadataKind.LOGS, Logs(Version(5)))
        one.observed(PEER_2, MetadataVersions(logs=5))
        await asyncio.sleep(0.5)
        assert one.logs.value.version == 5

    tell(story)


def test_an_idle_node_asks_now_and_then() -> None:
    """Goal: what no frame told is found by the round; garbage in the store harms nothing."""

    async def story(world: SyncWorld) -> None:
        world.store = {LOGS_KEY: b"garbage"}
        await asyncio.sleep(ROUND_S + 1)
        world.store = {LOGS_KEY: encode_logs(Logs(Version(2)))}
        await asyncio.sleep(ROUND_S + 1)
        assert [cache.logs.value.version for cache in world.caches] == [2, 2]
        assert not any(sync.done() for sync in world.syncs)

    tell(story)


@pytest.mark.parametrize(
    ("one", "reason"),
    [(TOMBSTONE, "removed"), (member(N1, generation=2), "another process runs as N1")],
)
def test_a_process_that_was_replaced_ends(one: Node | Tombstone, reason: str) -> None:
    """Goal: removal and a newer life both end the old process, with a reason; the other goes on."""

    async def story(world: SyncWorld) -> None:
        blob = encode_nodes_configuration(configuration(2, one))
        world.store = {NODES_CONFIGURATION_KEY: blob}
        await asyncio.sleep(ROUND_S + 1)
        with pytest.raises(Superseded, match=reason):
            await world.syncs[0]
        assert not world.syncs[1].done()

    tell(story)
