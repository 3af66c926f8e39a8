"""The port of the ingress over real sockets: both protocols, limits, the stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded, StreamReset

from restate_node.runtime.real.front_address import AddressUnusable, ListenAddress
from restate_node.runtime.real.http_server import HttpServerOptions
from restate_node.runtime.real.ingress_server import IngressServer, IngressServerOptions

HERE = ListenAddress("127.0.0.1", 0)


class Recorder:
    """Answers with the protocol's version and the length of the body; `/refuse` reads nothing,
    `/slow` waits until it is let go.
    """

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.entered.set()
        length = 0
        if scope["raw_path"] != b"/refuse":
            more = True
            while more:
                message = await receive()
                length += len(message.get("body", b""))
                more = message.get("more_body", False)
        if scope["raw_path"] == b"/slow":
            await self.let_go.wait()
        body = f"{scope['http_version']} {length} {scope['query_string'].decode()}".encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def unusual(scope: Any, receive: Any, send: Any) -> None:
    """Answers 777."""
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 777, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def serving(
    application: Any, path: Path, options: IngressServerOptions | None = None
) -> AsyncIterator[IngressServer]:
    server = IngressServer(application, HERE, path / "ingress.sock", options)
    task = asyncio.ensure_future(server.run())
    try:
        async with asyncio.timeout(10):
            await server.started.wait()
        yield server
    finally:
        task.cancel()
        async with asyncio.timeout(10):
            await asyncio.gather(task, return_exceptions=True)


async def http1(server: IngressServer, path: str, body: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_connection(server.bound.host, server.bound.port)
    try:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n"
        writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
        async with asyncio.timeout(10):
            return (await reader.read()).rpartition(b"\r\n\r\n")[2]
    finally:
        writer.close()
        await writer.wait_closed()


async def http2(server: IngressServer, *paths: str, body: bytes = b"") -> list[bytes]:
    """All requests on one connection at once, with prior knowledge."""
    connection = H2Connection(H2Configuration(client_side=True))
    connection.initiate_connection()
    reader, writer = await asyncio.open_connection(server.bound.host, server.bound.port)
    answers: dict[int, bytes] = {}
    for path in paths:
        stream = connection.get_next_available_stream_id()
        pseudo = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "x")]
        connection.send_headers(stream, pseudo)
        connection.send_data(stream, body, end_stream=True)
        answers[stream] = b""
    open_streams = set(answers)
    try:
        async with asyncio.timeout(10):
            while open_streams:
                writer.write(connection.data_to_send())
                for event in connection.receive_data(await reader.read(65536)):
                    match event:
                        case DataReceived(stream_id=stream, data=data):
                            answers[stream] += data
                        case StreamEnded(stream_id=stream) | StreamReset(stream_id=stream):
                            open_streams.discard(stream)
                        case ResponseReceived():
                            pass
                        case _:
                            pass
    finally:
        writer.close()
        await writer.wait_closed()
    return list(answers.values())


async def test_both_protocols_on_one_port(tmp_path: Path) -> None:
    """Goal: the first bytes decide; both reach the application, with query and body."""
    async with serving(Recorder(), tmp_path) as server:
        assert await http1(server, "/a?b=c", b"12345") == b"1.1 5 b=c"
        assert await http2(server, "/a?b=c", body=b"123") == [b"2 3 b=c"]


async def test_requests_share_an_http2_connection(tmp_path: Path) -> None:
    """Goal: multiplexed; one that waits and one that is refused unread do not hold the others."""
    recorder = Recorder()
    async with serving(recorder, tmp_path) as server:
        asyncio.get_running_loop().call_later(0.3, recorder.let_go.set)
        paths = ["/slow", "/refuse", *(f"/?{i}" for i in range(20))]
        answers = await http2(server, *paths, body=b"x" * 1000)
        assert answers[0] == b"2 1000 " and answers[1] == b"2 0 "
        assert answers[2:] == [f"2 1000 {i}".encode() for i in range(20)]


async def test_requests_in_flight_are_answered_when_it_stops(tmp_path: Path) -> None:
    """Goal: an orderly stop gives what runs its time, and frees port and socket."""
    recorder = Recorder()
    server = IngressServer(recorder, HERE, tmp_path / "ingress.sock")
    task = asyncio.ensure_future(server.run())
    async with asyncio.timeout(10):
        await server.started.wait()
        asking = asyncio.ensure_future(http1(server, "/slow"))
        await recorder.entered.wait()
        task.cancel()
        asyncio.get_running_loop().call_later(0.3, recorder.let_go.set)
        assert await asking == b"1.1 0 "
        await asyncio.gather(task, return_exceptions=True)
    with socket.create_server((server.bound.host, server.bound.port)):
        pass
    assert not (tmp_path / "ingress.sock").exists()


async def test_what_does_not_end_is_cut_when_it_stops(tmp_path: Path) -> None:
    """Goal: a stop is bounded. Method: a request that nobody lets go is cancelled; uvicorn says
    500 for an application that does not answer then.
    """
    recorder = Recorder()
    options = IngressServerOptions(http1=HttpServerOptions(stop_grace_s=1))
    server = IngressServer(recorder, HERE, tmp_path / "ingress.sock", options)
    task = asyncio.ensure_future(server.run())
    async with asyncio.timeout(10):
        await server.started.wait()
        asking = asyncio.ensure_future(http1(server, "/slow"))
        await recorder.entered.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await asking == b"Internal Server Error"


@pytest.mark.parametrize("ask", [http1, http2])
async def test_application_is_asked_to_answer_when_it_stops(
    tmp_path: Path, ask: Callable[[IngressServer, str], Awaitable[Any]]
) -> None:
    """Goal: in both protocols, who waits gets an answer. Method: the application lets go when it is
    asked to.
    """
    recorder = Recorder()
    server = IngressServer(
        recorder, HERE, tmp_path / "ingress.sock", on_drained=recorder.let_go.set
    )
    task = asyncio.ensure_future(server.run())
    async with asyncio.timeout(10):
        await server.started.wait()
        asking = asyncio.ensure_future(ask(server, "/slow"))
        await recorder.entered.wait()
        task.cancel()
        assert b" 0 " in b"".join([await asking] if ask is http1 else await asking)
        await asyncio.gather(task, return_exceptions=True)


async def test_silent_connections_are_closed(tmp_path: Path) -> None:
    """Goal: who connects and says nothing does not stay."""
    options = IngressServerOptions(identify_timeout_ms=100)
    async with serving(Recorder(), tmp_path, options) as server:
        reader, writer = await asyncio.open_connection(server.bound.host, server.bound.port)
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    """Goal: the operator reads which address, and what to do. Method: bind it first."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = ListenAddress("127.0.0.1", taken.getsockname()[1])
        server = IngressServer(Recorder(), address, tmp_path / "ingress.sock")
        with pytest.raises(AddressUnusable, match="set another bind-address"):
            await server.run()


async def test_any_status_of_three_digits_is_sent(tmp_path: Path) -> None:
    """Goal: a handler's code above 599 arrives as it is. Method: a raw request, its status line."""
    async with serving(unusual, tmp_path) as server:
        reader, writer = await asyncio.open_connection(server.bound.host, server.bound.port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 777 \r\n")
