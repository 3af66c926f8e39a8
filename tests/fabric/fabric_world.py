"""Two nodes with a fabric each, over the simulated network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.runtime.tasks import TaskCenter
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.network import SimNetwork
from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import Node, NodesConfiguration

CLUSTER = "a-cluster"


def node(number: int, generation: int = 1) -> GenerationalNodeId:
    return GenerationalNodeId(PlainNodeId(number), generation)


def address(number: int) -> str:
    return f"http://node-{number}:5122/"


def members(version: int = 1, *, fingerprint: int = 7, newest: int = 1) -> NodesConfiguration:
    """Nodes 1 to 3; node 2 in its `newest` generation."""
    nodes = {
        PlainNodeId(number): Node(
            f"node-{number}",
            node(number, newest if number == 2 else 1),
            address(number),
            frozenset(),
        )
        for number in (1, 2, 3)
    }
    return NodesConfiguration(Version(version), CLUSTER, nodes, cluster_fingerprint=fingerprint)


class FabricHost:
    """One process."""

    def __init__(self, network: SimNetwork, loop: SimLoop, number: int, generation: int = 1):
        self.process = loop.boot(f"node-{number}")
        self.tasks = TaskCenter()
        self.cache = MetadataCache(CLUSTER)
        self.cache.joined_as(node(number, generation))
        self.cache.install(MetadataKind.NODES_CONFIGURATION, members())
        transport = network.transport(self.process, address(number))
        rng = loop.streams.stream(f"fabric-{number}")
        self.fabric = Fabric(transport, self.cache, self.tasks, rng)


class FabricWorld:
    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.network = SimNetwork(loop, loop.streams.stream("network"))
        self.one = FabricHost(self.network, loop, 1)
        self.two = FabricHost(self.network, loop, 2)


def tell(story: Callable[[FabricWorld], Awaitable[None]], seeds: range = range(3)) -> None:
    for seed in seeds:

        async def main(loop: SimLoop) -> None:
            await story(FabricWorld(loop))

        simulate(seed, main)
