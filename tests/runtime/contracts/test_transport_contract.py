"""What every Transport promises."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from restate_node.runtime.ports import FrameConnection, Swimlane, Unreachable

from .conftest import FRAME_LIMITS, Link


class Inbox:
    """Collects what a connection delivers, and lets a test wait for it."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.lost: list[str] = []
        self._changed = asyncio.Event()

    def frames_received(self, frames: Sequence[bytes]) -> None:
        assert not self.lost
        self.frames.extend(frames)
        self._changed.set()

    def connection_lost(self, reason: str) -> None:
        self.lost.append(reason)
        self._changed.set()

    async def until(self, frames: int = 0, lost: int = 0) -> None:
        async with asyncio.timeout(5):
            while len(self.frames) < frames or len(self.lost) < lost:
                self._changed.clear()
                await self._changed.wait()


class Server:
    """Accepts connections of a link, remembers them and what they bring."""

    def __init__(self, link: Link) -> None:
        self.connections: list[FrameConnection] = []
        self.inbox = Inbox()
        link.server.accept(self._accept)

    def _accept(self, connection: FrameConnection) -> Inbox:
        self.connections.append(connection)
        return self.inbox


async def connected(link: Link) -> tuple[FrameConnection, Inbox, Server]:
    server, inbox = Server(link), Inbox()
    connection = await link.client.connect(link.address, Swimlane.APPEND, inbox)
    connection.send(b"hello")
    await server.inbox.until(frames=1)
    return connection, inbox, server


async def test_frames_arrive_whole_and_in_order(link: Link) -> None:
    """Goal: frames of every size keep their edges. Method: empty to large, both ways, compare."""
    connection, inbox, server = await connected(link)
    sent = [bytes([size % 251]) * size for size in (0, 1, 3, 4, 5, 70_000, 0, 1_000_000, 2, 300)]
    for frame in sent:
        connection.send(frame)
    await server.inbox.until(frames=1 + len(sent))
    assert server.inbox.frames == [b"hello", *sent]
    server.connections[0].send(b"first")
    for frame in sent:
        server.connections[0].send(frame)
    await inbox.until(frames=1 + len(sent))
    assert inbox.frames == [b"first", *sent]
    connection.close("done")
    await inbox.until(frames=1 + len(sent), lost=1)


async def test_close_sends_what_is_queued_and_tells_both_sides_once(link: Link) -> None:
    """Goal: a hang-up loses nothing. Method: send, close twice in the same turn, look at both."""
    connection, inbox, server = await connected(link)
    connection.send(b"x" * 500_000)
    connection.close("going away")
    connection.close("again")
    connection.send(b"vanishes")
    await server.inbox.until(frames=2, lost=1)
    await inbox.until(lost=1)
    assert len(server.inbox.frames) == 2
    assert inbox.lost == ["going away"]
    assert len(server.inbox.lost) == 1
    assert connection.backlog_bytes == 0


@pytest.mark.parametrize(
    ("size", "first"),
    [
        (FRAME_LIMITS.first_frame_bytes_max + 1, True),
        (FRAME_LIMITS.frame_bytes_max, False),
    ],
)
async def test_sizes_are_limited(link: Link, size: int, first: bool) -> None:
    """Goal: strangers get small frames only. Method: the same link, before and after the first."""
    server, inbox = Server(link), Inbox()
    connection = await link.client.connect(link.address, Swimlane.GENERAL, inbox)
    if not first:
        connection.send(b"hello")
    connection.send(b"x" * size)
    if first:
        await inbox.until(lost=1)
        assert server.inbox.frames == []
    else:
        await server.inbox.until(frames=2)
    connection.close("done")
    await inbox.until(lost=1)
    await server.inbox.until(lost=1)


async def test_a_frame_above_the_limit_is_refused_to_the_sender(link: Link) -> None:
    """Goal: the mistake shows where it is made. Method: send one byte too many."""
    connection, inbox, _ = await connected(link)
    with pytest.raises(ValueError):
        connection.send(b"x" * (FRAME_LIMITS.frame_bytes_max + 1))
    connection.close("done")
    await inbox.until(lost=1)


async def test_drained_returns_when_the_peer_has_taken_the_backlog(link: Link) -> None:
    """Goal: senders can follow the peer. Method: queue more than the high mark, await, measure."""
    connection, inbox, server = await connected(link)
    for _ in range(8):
        connection.send(b"x" * 1_500_000)
    assert connection.backlog_bytes > 0
    async with asyncio.timeout(5):
        await connection.drained()
    assert connection.backlog_bytes < 4 * 1024 * 1024
    await server.inbox.until(frames=9)
    connection.close("done")
    await inbox.until(lost=1)


async def test_nobody_there_is_unreachable(link: Link) -> None:
    """Goal: one error for all that is safe to retry. Method: connect to nobody."""
    with pytest.raises(Unreachable):
        await link.client.connect(link.nobody, Swimlane.GOSSIP, Inbox())
