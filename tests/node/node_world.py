"""Whole nodes on simulated hosts, without faults unless a test makes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from restate_node.node.config_resolution import resolve
from restate_node.node.node import Node
from restate_node.node.ports import Ports
from restate_node.runtime.tasks import ShutdownCause
from restate_node.sim.disk import SimMedium
from restate_node.sim.hosts import Death, Incarnation, SimClock
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.network import SimNetwork
from restate_node.types.options import MetadataClientOptions, NodeOptions
from restate_node.types.replication import ReplicationProperty

PATIENCE_S = 30.0


class NodeWorld:
    """Hosts `node-1`, `node-2`, …, each with a disk that outlives its processes."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.network = SimNetwork(loop, loop.streams.stream("network"))
        self.nodes: dict[str, Node] = {}
        self.causes: dict[str, ShutdownCause] = {}
        self.errors: dict[str, Exception] = {}
        self._media: dict[str, SimMedium] = {}
        self._lives: dict[str, Incarnation] = {}

    def medium(self, name: str) -> SimMedium:
        if name not in self._media:
            self._media[name] = SimMedium(name, self.loop.streams.stream(f"disk {name}"))
        return self._media[name]

    def start(self, name: str, **changes: Any) -> None:
        """Start a process of that node; what becomes of it is kept in `causes` or `errors`."""
        life = self._lives[name] = self.loop.boot(name)
        self.causes.pop(name, None)
        self.errors.pop(name, None)
        self.loop.spawn(life, self._live(name, life, _options(name, changes)), name)

    def kill(self, name: str) -> None:
        self.nodes.pop(name)
        self.loop.kill(self._lives[name], Death.KILLED)

    async def ready(self, *names: str) -> None:
        await self.until(
            lambda: all(name in self.nodes and self.nodes[name].ready.value for name in names)
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait in virtual time until the condition holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - virtual time: looking is free
                await asyncio.sleep(0.01)

    async def _live(self, name: str, life: Incarnation, options: NodeOptions) -> None:
        address = str(options.advertised_address)
        ports = Ports(
            SimClock(self.loop),
            self.network.transport(life, address),
            self.medium(name).mount(life),
            self.loop.streams.stream(f"{name} {life.number}"),
        )
        try:
            node = self.nodes[name] = Node(options, ports, name)
            self.causes[name] = await node.run()
        except Exception as error:
            self.errors[name] = error


def run(scenario: Callable[[NodeWorld], Awaitable[None]], seed: int = 1) -> None:
    """Run a scenario; an error of any task fails it."""

    async def main(loop: SimLoop) -> None:
        await scenario(NodeWorld(loop))

    simulate(seed, main)


def _options(name: str, changes: dict[str, Any]) -> NodeOptions:
    values: dict[str, Any] = {
        "cluster_name": "test",
        "node_name": name,
        "advertised_address": f"http://{name}:5122/",
        "auto_provision": name == "node-1",
        "default_num_partitions": 2,
        "default_replication": ReplicationProperty.of_nodes(1),
        "metadata_client": MetadataClientOptions(addresses=("http://node-1:5122/",)),
    }
    return resolve(NodeOptions(**{**values, **changes}), name)
