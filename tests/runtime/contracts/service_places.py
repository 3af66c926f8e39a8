"""The services of the service transport's contract, and the places where they run."""

from __future__ import annotations

import asyncio
import random
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import zstandard

from restate_node.runtime.real.service_lambda import LambdaTransport
from restate_node.runtime.real.service_lambda_clients import LambdaOptions
from restate_node.runtime.real.service_transport import RealServiceTransport
from restate_node.runtime.request_identity import Unsigned
from restate_node.runtime.services import (
    EndpointAddress,
    Headers,
    HttpVersion,
    RequestHead,
    ServiceTransport,
)
from restate_node.sim.hosts import Incarnation
from restate_node.sim.services import CallerGone, ServiceCall, SimServices
from tests.runtime.function_api import answer, function_api
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


class FunctionServiceCall:
    """What a service sees of an event."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.head = RequestHead(event["httpMethod"], event["path"], tuple(event["headers"].items()))
        body = b64decode(event["body"])
        packed = event["headers"].get("content-encoding") == "zstd"
        self._body = zstandard.decompress(body) if packed else body
        self.status = 0
        self.headers: Headers = ()
        self.out = bytearray()

    async def receive(self) -> bytes:
        taken, self._body = self._body, b""
        return taken

    def start(self, status: int, headers: Headers = ()) -> None:
        self.status, self.headers = status, headers

    def send(self, data: bytes) -> None:
        self.out += data

    async def drained(self) -> None:
        """There is no flow."""

    def answer(self) -> dict[str, Any]:
        body, headers = bytes(self.out), dict(self.headers)
        if len(body) > 1024 * 1024:
            body, headers["content-encoding"] = zstandard.compress(body), "zstd"
        return answer(body, self.status, headers)


@asynccontextmanager
async def function_place() -> AsyncIterator[Place]:
    services, arn = Services(), "arn:aws:lambda:eu-central-1:1:function:f:1"
    address = EndpointAddress(arn, HttpVersion.HTTP_1_1, unpacks_zstd=True)
    nobody = EndpointAddress("arn:aws:lambda:eu-central-1:1:function:nobody:1")

    async def serve(event: dict[str, Any]) -> Any:
        call = FunctionServiceCall(event)
        await services.serve(cast("ServiceCall", call))
        return call.answer()

    async with function_api() as api:
        api.functions[arn] = serve
        transport = LambdaTransport(LambdaOptions(), Unsigned(), (), 4 * 1024 * 1024)
        yield Place(transport, address, nobody, services)
        await transport.close()


CONNECTED_PLACES = [http2_place, http1_place, simulated_place]
"""Those that know at once that nobody is there."""
PLACES = [
    *CONNECTED_PLACES,
    # The library of AWS takes its time to start: half a second per test.
    pytest.param(function_place, marks=pytest.mark.slow),
]
DUPLEX_PLACES = [http2_place, simulated_place]
