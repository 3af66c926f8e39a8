"""What reaches the machine, in real time: services over HTTP, and ports on the loopback address.

Imported when it is needed: virtual time needs none of it, and HTTP servers take long to import.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from restate_node.node.edges import admin_api, ingress_api
from restate_node.node.node import Node
from restate_node.runtime.ports import Clock
from restate_node.runtime.real.clock import RealClock
from restate_node.runtime.real.front_address import ListenAddress
from restate_node.runtime.real.http_server import HttpServer
from restate_node.runtime.real.ingress_server import IngressServer
from restate_node.runtime.real.service_transport import open_services
from restate_node.runtime.services import EndpointAddress, Exchange, RequestHead, ServiceTransport
from restate_node.runtime.tasks import TaskKind
from restate_node.sim.hosts import Incarnation
from restate_node.sim.services import SimServices
from restate_node.testing.embedded import Edges
from restate_node.types.options import NodeOptions

LOOPBACK: Final = "127.0.0.1"


async def open_edges(node: Node, directory: Path) -> Edges:
    """Open both for a node that is ready; they end with it. `directory` takes a socket."""
    admin = HttpServer(admin_api(node), ListenAddress(LOOPBACK, 0))
    ingress = IngressServer(
        ingress_api(node), ListenAddress(LOOPBACK, 0), directory / "ingress.sock"
    )
    node.tasks.spawn(TaskKind.ADMIN, "admin port", admin.run())
    node.tasks.spawn(TaskKind.INGRESS, "ingress port", ingress.run())
    await asyncio.gather(admin.started.wait(), ingress.started.wait())
    return Edges(f"http://{ingress.bound}", f"http://{admin.bound}")


@dataclass(frozen=True, slots=True)
class RealSurroundings:
    """Services may be real ones."""

    in_memory: SimServices
    options: NodeOptions
    time: RealClock = field(default_factory=RealClock)

    def clock(self, host: str) -> Clock:
        del host
        return self.time

    def services(self, incarnation: Incarnation) -> ServiceTransport:
        real = open_services(self.options, self.time)
        return MixedTransport(self.in_memory, self.in_memory.mount(incarnation), real)


class MixedTransport:
    """In memory where something is served in memory, else over sockets."""

    def __init__(
        self, services: SimServices, in_memory: ServiceTransport, real: ServiceTransport
    ) -> None:
        self._services = services
        self._in_memory = in_memory
        self._real = real

    async def open(self, address: EndpointAddress, head: RequestHead) -> Exchange:
        """See the port."""
        if self._services.is_known(address.uri):
            return await self._in_memory.open(address, head)
        return await self._real.open(address, head)

    async def close(self) -> None:
        await self._in_memory.close()
        await self._real.close()
