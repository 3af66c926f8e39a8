"""The services of the service transport's contract, and the places where they run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from restate_node.runtime.real.service_transport import RealServiceTransport
from restate_node.runtime.services import EndpointAddress, HttpVersion, ServiceTransport
from restate_node.sim.hosts import Incarnation
from restate_node.sim.services import CallerGone, ServiceCall, SimServices
from tests.runtime.service_servers import ServerPlan, http1_server, http2_server

HTML = (("content-type", "text/html"),)
PIECE = bytes(range(256)) * 256


@dataclass
class Services:
    """What callers ask for by path, and what the services noticed."""

    gone: asyncio.Event = field(default_factory=asyncio.Event)
    let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, call: ServiceCall) -> None:
        match call.head.path:
            case "/echo":
                await self.echo(call)
            case "/whole":
                await self.whole(call)
            case "/large":
                await self.large(call)
            case "/stalled":
                await self.let_go.wait()
                await self.whole(call)
            case "/html":
                await self.whole_request(call)
                call.start(500, HTML)
                call.send(b"<html>broken</html>")
            case "/raises":
                await self.whole_request(call)
                call.start(200)
                call.send(b"some")
                raise RuntimeError("service failed")
            case _:
                call.start(404)

    async def echo(self, call: ServiceCall) -> None:
        """Each piece as it comes; notes when its caller is gone."""
        call.start(200, (("x-method", call.head.method),))
        try:
            while data := await call.receive():
                call.send(data)
                await call.drained()
        except CallerGone:
            self.gone.set()
            raise

    async def whole_request(self, call: ServiceCall) -> int:
        length = 0
        while data := await call.receive():
            length += len(data)
        return length

    async def whole(self, call: ServiceCall) -> None:
        length = await self.whole_request(call)
        call.start(200)
        call.send(str(length).encode())

    async def large(self, call: ServiceCall) -> None:
        """As many pieces as the request says."""
        count = int(await call.receive())
        call.start(200)
        for _ in range(count):
            call.send(PIECE)
            await call.drained()


@dataclass(frozen=True)
class Place:
    """Services that a transport reaches."""

    transport: ServiceTransport
    address: EndpointAddress
    nobody: EndpointAddress
    services: Services


@asynccontextmanager
async def http2_place() -> AsyncIterator[Place]:
    services, transport = Services(), RealServiceTransport()
    async with http2_server(ServerPlan(services.serve)) as uri:
        nobody = EndpointAddress("http://127.0.0.1:1")
        yield Place(transport, EndpointAddress(uri), nobody, services)
        await transport.close()


@asynccontextmanager
async def http1_place() -> AsyncIterator[Place]:
    services, transport = Services(), RealServiceTransport()
    version = HttpVersion.HTTP_1_1
    async with http1_server(services.serve) as (uri, _):
        nobody = EndpointAddress("http://127.0.0.1:1", version)
        yield Place(transport, EndpointAddress(uri, version), nobody, services)
        await transport.close()


@asynccontextmanager
async def simulated_place() -> AsyncIterator[Place]:
    services = Services()
    world = SimServices(asyncio.get_running_loop(), random.Random(1))
    world.serve("http://service", services.serve)
    transport = world.mount(Incarnation("node-1", 1))
    nobody = EndpointAddress("http://nobody")
    yield Place(transport, EndpointAddress("http://service"), nobody, services)
    await transport.close()


PLACES = [http2_place, http1_place, simulated_place]
DUPLEX_PLACES = [http2_place, simulated_place]
