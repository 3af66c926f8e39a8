"""Writes of one turn are one write, in order, whatever ends the turn."""

from __future__ import annotations

import asyncio

from restate_node.runtime.real.joined_writes import HELD_BYTES_MAX, JoinedWrites


class Socket(asyncio.Transport):
    """Remembers what reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.heard.append(bytes(data))

    def close(self) -> None:
        self.heard.append(b"<closed>")

    def abort(self) -> None:
        self.heard.append(b"<aborted>")


async def test_one_turn_is_one_write() -> None:
    """Goal: head and body of a response leave together. Method: two writes, a turn, two more."""
    socket = Socket()
    joined = JoinedWrites(socket)
    joined.write(b"head ")
    joined.write(bytearray(b"body"))
    assert socket.heard == []
    await asyncio.sleep(0)
    joined.writelines([b"head ", memoryview(b"again")])
    await asyncio.sleep(0)
    assert socket.heard == [b"head body", b"head again"]


async def test_close_comes_last() -> None:
    """Goal: a response before the end of its connection is not lost, and one that was given up is
    not sent. Method: write and close, write and abort, within a turn."""
    socket, broken = Socket(), Socket()
    joined = JoinedWrites(socket)
    joined.write(b"farewell")
    joined.close()
    given_up = JoinedWrites(broken)
    given_up.write(b"nobody hears this")
    given_up.abort()
    await asyncio.sleep(0)
    assert socket.heard == [b"farewell", b"<closed>"]
    assert broken.heard == [b"<aborted>"]


async def test_much_does_not_wait_for_the_end_of_the_turn() -> None:
    """Goal: what is held is bounded. Method: more than the limit in one turn."""
    socket = Socket()
    joined = JoinedWrites(socket)
    joined.write(b"x" * HELD_BYTES_MAX)
    assert socket.heard == []
    joined.write(b"y")
    assert [len(data) for data in socket.heard] == [HELD_BYTES_MAX + 1]
    await asyncio.sleep(0)
    assert len(socket.heard) == 1
