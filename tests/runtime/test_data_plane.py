"""What is particular to sockets: addresses, the preface, bytes that arrive in pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from restate_node.runtime.ports import FrameConnection
from restate_node.runtime.real.data_plane import DataPlane, Endpoint, parse_address

from .contracts.conftest import _Listener  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:5122/", Endpoint("127.0.0.1", 5122)),
        ("http://node-1", Endpoint("node-1", 5122)),
        ("node-1:80", Endpoint("node-1", 80)),
        ("http://[::1]:5122", Endpoint("::1", 5122)),
        ("unix:/run/node.sock", Endpoint(path="/run/node.sock")),
        ("unix:///run/node.sock", Endpoint(path="/run/node.sock")),
    ],
)
def test_addresses(address: str, expected: Endpoint) -> None:
    """Goal: all forms that users write. Method: a table."""
    assert parse_address(address) == expected


@pytest.mark.parametrize("address", ["https://node-1:5122", "http://", "http://a:99999", ":80"])
def test_addresses_that_mean_nothing(address: str) -> None:
    """Goal: a clear refusal. Method: a table."""
    with pytest.raises(ValueError):
        parse_address(address)


class Frames:
    """Remembers frames and each call that brought them."""

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []
        self.lost = asyncio.Event()

    def accept(self, connection: FrameConnection) -> Frames:
        return self

    def frames_received(self, frames: Sequence[bytes]) -> None:
        self.calls.append(list(frames))

    def connection_lost(self, reason: str) -> None:
        self.lost.set()


@asynccontextmanager
async def raw_client(
    plane: DataPlane,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Listener(plane), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


async def test_many_frames_of_one_read_come_in_one_call() -> None:
    """Goal: the cost is per read. Method: preface and 100 frames in one write."""
    plane, frames = DataPlane(), Frames()
    plane.accept(frames.accept)
    async with raw_client(plane) as (_, writer):
        writer.write(b"RSTN\x01" + b"\x02\x00\x00\x00ab" * 100)
        writer.write_eof()
        await asyncio.wait_for(frames.lost.wait(), 5)
    assert frames.calls == [[b"ab"] * 100]


async def test_bytes_may_arrive_one_by_one() -> None:
    """Goal: edges of reads mean nothing. Method: feed a connection byte by byte."""
    plane, frames = DataPlane(), Frames()
    plane.accept(frames.accept)
    async with raw_client(plane) as (_, writer):
        for byte in (
            b"RSTN\x01" + b"\x02\x00\x00\x00ab" + b"\x00\x00\x00\x00" + b"\x01\x00\x00\x00c"
        ):
            writer.write(bytes((byte,)))
            await asyncio.sleep(0.0005)
        writer.write_eof()
        await asyncio.wait_for(frames.lost.wait(), 5)
    assert [frame for call in frames.calls for frame in call] == [b"ab", b"", b"c"]


@pytest.mark.parametrize(
    "greeting", [b"RSTN\x02\x00\x00\x00\x00", b"GET / HTTP/1.1\r\n", b"RSTN\x01\xff\xff\xff\xff"]
)
async def test_strangers_are_hung_up_on(greeting: bytes) -> None:
    """Goal: wrong version, wrong protocol, absurd length. Method: greet, read until the end."""
    plane, frames = DataPlane(), Frames()
    plane.accept(frames.accept)
    async with raw_client(plane) as (reader, writer):
        writer.write(greeting)
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert frames.calls == []
