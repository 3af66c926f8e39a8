"""Pieces are written whole and in order, by calls that are not too long."""

from __future__ import annotations

import os
import random
import socket
import threading

import pytest

from restate_node.runtime.real.file_pieces import WRITE_BYTES_MAX, write_piece

MORE_THAN_ANY_CALL = 8 * WRITE_BYTES_MAX


@pytest.mark.parametrize(
    "size_bytes", [0, 1, WRITE_BYTES_MAX, WRITE_BYTES_MAX + 1, 3 * WRITE_BYTES_MAX + 5]
)
def test_a_piece_arrives_whole_by_short_calls(size_bytes: int) -> None:
    """Goal: every byte, in order, no call longer than the limit. Method: write to a socket that
    keeps the bounds of calls, and look at what each of them brought.
    """
    content = random.Random(size_bytes).randbytes(size_bytes)
    calls: list[bytes] = []
    writer, reader = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # Room for one call: Linux grants twice its limit, 416 KiB by default.
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MORE_THAN_ANY_CALL)

    def receive() -> None:
        while call := reader.recv(MORE_THAN_ANY_CALL):
            calls.append(call)

    receiving = threading.Thread(target=receive)
    receiving.start()
    with reader:
        with writer:
            write_piece(writer.fileno(), memoryview(content))
        receiving.join()
    assert b"".join(calls) == content
    assert all(len(call) <= WRITE_BYTES_MAX for call in calls)


def test_a_call_that_takes_less_is_followed_by_another() -> None:
    """Goal: nothing is left out when the kernel takes a part. Method: a pipe that is almost full
    and does not wait; the error comes after all that it had room for.
    """
    content = random.Random(7).randbytes(2 * WRITE_BYTES_MAX)
    source, target = os.pipe()
    try:
        os.set_blocking(target, False)
        with pytest.raises(BlockingIOError):
            write_piece(target, content)
        taken = os.read(source, len(content))
        assert taken
        assert content.startswith(taken)
    finally:
        os.close(source)
        os.close(target)
