"""HTTP/1.1 to services: framing, keep-alive, and peers that do not keep to it."""

from __future__ import annotations

import asyncio

import pytest

from restate_node.runtime.real.service_stream import ServiceTransportOptions
from restate_node.runtime.real.service_transport import RealServiceTransport
from restate_node.runtime.services import (
    EndpointAddress,
    ExchangeBroken,
    FailureCause,
    HttpVersion,
    RequestHead,
    ServiceUnreachable,
    fetch,
)
from tests.runtime.contracts.service_places import Services
from tests.runtime.service_servers import http1_server, limited, scripted_server

POST = RequestHead("POST", "/whole", (("content-type", "text/plain"), ("host", "elsewhere")))


def at(uri: str) -> EndpointAddress:
    return EndpointAddress(uri, HttpVersion.HTTP_1_1)


async def answered(answer: bytes, then: str = "close") -> tuple[int, bytes]:
    """Status and body of a canned answer."""
    client = RealServiceTransport()
    try:
        async with scripted_server(answer, then=then) as uri:
            found = await fetch(client, at(uri), POST, b"x", body_bytes_max=100_000)
            assert found.head.http_version is HttpVersion.HTTP_1_1
            return found.head.status, found.body
    finally:
        await client.close()


@limited
async def test_connections_are_used_again() -> None:
    """Goal: keep-alive. Method: exchanges one after the other share a connection, concurrent ones
    do not.
    """
    client = RealServiceTransport()
    async with http1_server(Services().serve) as (uri, server):
        for _ in range(3):
            assert (await fetch(client, at(uri), POST, b"abc", body_bytes_max=9)).body == b"3"
        assert server.connection_count == 1
        await asyncio.gather(
            *(fetch(client, at(uri), POST, b"abc", body_bytes_max=9) for _ in range(5))
        )
        assert server.connection_count == 5
        await client.close()


@limited
async def test_framing_of_requests() -> None:
    """Goal: a length when it is known, chunks when not; `host` is ours. Method: look at the heads
    that the server got for a body at once, a body in pieces, and none.
    """
    client = RealServiceTransport()
    async with http1_server(Services().serve) as (uri, server):
        await fetch(client, at(uri), POST, b"abc", body_bytes_max=9)
        exchange = await client.open(at(uri), POST)
        exchange.send(b"ab")
        await asyncio.sleep(0.01)
        exchange.send(b"c")
        exchange.finish()
        assert await exchange.receive() == b"3"
        await fetch(client, at(uri), RequestHead("GET", "/whole"), body_bytes_max=9)
        heads = [(dict(head.headers), chunked) for head, chunked in server.requests]
        assert [chunked for _, chunked in heads] == [False, True, False]
        assert heads[0][0]["content-length"] == "3"
        assert heads[0][0]["host"] == uri.removeprefix("http://")
        assert "content-length" not in heads[2][0]
        await client.close()


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", 200, b"hi"),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end"),
        (b"HTTP/1.0 502 Bad\r\n\r\n<html>", 502, b"<html>"),
        (b"HTTP/1.1 204 None\r\n\r\n", 204, b""),
        (
            b"HTTP/1.1 103 Hints\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n!",
            200,
            b"!",
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
            200,
            b"abcd",
        ),
    ],
)
@limited
async def test_answers(answer: bytes, status: int, body: bytes) -> None:
    """Goal: each way to say where a body ends. Method: canned answers, then the end."""
    assert await answered(answer) == (status, body)


@pytest.mark.parametrize(
    ("answer", "then", "cause"),
    [
        (b"\xff\xfe garbage", "stay", FailureCause.PROTOCOL),
        (b"\0\0\0\4\0\0\0\0\0", "stay", FailureCause.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "close", FailureCause.CLOSED),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "reset", FailureCause.CLOSED),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "close",
            FailureCause.CLOSED,
        ),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz", "stay", FailureCause.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, "stay", FailureCause.TOO_LARGE),
        (b"", "close", FailureCause.CLOSED),
    ],
)
@limited
async def test_broken_answers(answer: bytes, then: str, cause: FailureCause) -> None:
    """Goal: half an answer is none, and one line says why. Method: canned nonsense."""
    with pytest.raises(ExchangeBroken) as caught:
        await answered(answer, then)
    assert caught.value.cause is cause
    assert "\n" not in str(caught.value)


@limited
async def test_head_that_comes_slowly() -> None:
    """Goal: a head in pieces is a head. Method: a server that writes byte by byte."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi":
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    client = RealServiceTransport()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    uri = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    assert (await fetch(client, at(uri), POST, body_bytes_max=9)).body == b"hi"
    await client.close()
    server.close()


@limited
async def test_closing_server_is_not_reused() -> None:
    """Goal: no exchange on a connection that its server closes. Method: it says so, and stays."""
    client = RealServiceTransport()
    answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n!"
    async with scripted_server(answer, then="stay") as uri:
        for _ in range(3):
            assert (await fetch(client, at(uri), POST, body_bytes_max=9)).body == b"!"
            assert client.connection_count == 0
    await client.close()


@limited
async def test_idle_connections_are_closed() -> None:
    """Goal: descriptors are for use. Method: a short idle time, wait until none is open."""
    client = RealServiceTransport(ServiceTransportOptions(idle_timeout_ms=20))
    async with http1_server(Services().serve) as (uri, _):
        await fetch(client, at(uri), POST, body_bytes_max=9)
        assert client.connection_count == 1
        while client.connection_count:  # noqa: ASYNC110 what is waited for has no event
            await asyncio.sleep(0.005)
    await client.close()


@pytest.mark.parametrize("value", ["a\r\nx-admin: yes", "a\nb", "a\0b"])
@limited
async def test_no_header_smuggles_another(value: str) -> None:
    """Goal: what a user's header says stays one header. Method: line breaks in a value."""
    client = RealServiceTransport()
    async with http1_server(Services().serve) as (uri, server):
        with pytest.raises(ServiceUnreachable, match="line break"):
            await client.open(at(uri), RequestHead("POST", "/whole", (("x-user", value),)))
        assert server.requests == []
    await client.close()
