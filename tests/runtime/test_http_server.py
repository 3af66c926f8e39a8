"""The embedded HTTP server over real sockets."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from restate_node.runtime.real.front_address import AddressUnusable, ListenAddress
from restate_node.runtime.real.http_server import HttpServer, HttpServerOptions

LENGTH = [(b"content-length", b"5")]
HERE = ListenAddress("127.0.0.1", 0)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http", "no lifespan, no websockets"
    await send({"type": "http.response.start", "status": 200, "headers": LENGTH})
    await send({"type": "http.response.body", "body": b"hello"})


class Slow:
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.entered.set()
        await self.let_go.wait()
        await hello(scope, receive, send)


@asynccontextmanager
async def serving(application: Any, **options: int) -> AsyncIterator[HttpServer]:
    server = HttpServer(application, HERE, HttpServerOptions(**options))
    task = asyncio.ensure_future(server.run())
    try:
        async with asyncio.timeout(10):
            await server.started.wait()
        yield server
    finally:
        task.cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(task, return_exceptions=True)


async def get(server: HttpServer) -> bytes:
    """The whole answer of a connection that is closed after it; empty when it was cut."""
    reader, writer = await asyncio.open_connection(server.bound.host, server.bound.port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_serves_and_frees_its_port() -> None:
    """Goal: requests are answered, and after a cancellation the port can be bound again."""
    async with serving(hello) as server:
        assert (await get(server)).endswith(b"hello")
        port = server.bound.port
    with socket.create_server(("127.0.0.1", port)):
        pass


async def test_port_in_use_is_one_line() -> None:
    """Goal: the operator reads which address, and what to do. Method: bind it first."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = ListenAddress("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(AddressUnusable) as raised:
            await HttpServer(hello, address).run()
    assert str(address) in str(raised.value) and "\n" not in str(raised.value)


async def test_signals_stay_with_the_node() -> None:
    """Goal: a server that runs does not change what SIGTERM and SIGINT do."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    async with serving(hello):
        assert [signal.getsignal(number) for number in numbers] == before


async def test_request_in_flight_is_answered_when_the_server_stops() -> None:
    """Goal: a graceful stop. Method: cancel while a request is inside, then let it go."""
    slow = Slow()
    async with serving(slow) as server:
        answer = asyncio.ensure_future(get(server))
        await slow.entered.wait()
        asyncio.get_running_loop().call_later(0.2, slow.let_go.set)
    assert (await answer).endswith(b"hello")


async def test_request_that_never_ends_does_not_hold_the_stop() -> None:
    """Goal: the stop is bounded. Method: a request that is never let go."""
    slow = Slow()
    loop = asyncio.get_running_loop()
    async with serving(slow, stop_grace_s=1) as server:
        answer = asyncio.ensure_future(get(server))
        await slow.entered.wait()
        stopping = loop.time()
    assert loop.time() - stopping < 4
    assert b"hello" not in await answer
