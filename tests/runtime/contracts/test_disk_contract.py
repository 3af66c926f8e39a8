"""What every Disk promises about directories and small files."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

import pytest

from restate_node.runtime.ports import FILE_PIECE_BYTES_MAX, Disk, FileEntry, StoreError, Write

from .conftest import Machine


async def test_a_file_is_replaced_whole_and_survives_reopening(machine: Machine) -> None:
    """Goal: the last content wins and stays. Method: write, replace, reopen, read."""
    machine.disk.write_file("raft/vote", b"one")
    machine.disk.write_file("raft/vote", b"two")
    assert machine.reopened().read_file("raft/vote") == b"two"


async def test_absent_files_read_as_none(machine: Machine) -> None:
    """Goal: absence is a value. Method: ask for what was never there, and what was removed."""
    assert machine.disk.read_file("none") is None
    machine.disk.write_file("a/b", b"x")
    assert machine.disk.exists("a/b")
    assert machine.disk.exists("a")
    machine.disk.remove_tree("a")
    machine.disk.remove_tree("a")
    assert not machine.disk.exists("a/b")


@pytest.mark.parametrize("path", ["../out", "a/../../out", "/etc/passwd", ""])
async def test_paths_stay_inside(machine: Machine, path: str) -> None:
    """Goal: no path leads out of the data directory. Method: try the ways that would."""
    with pytest.raises(ValueError):
        machine.disk.write_file(path, b"x")
    with pytest.raises(ValueError):
        machine.disk.read_file(path)
    with pytest.raises(ValueError):
        machine.disk.remove_tree(path)


async def test_locking_twice_in_one_process_is_fine(machine: Machine) -> None:
    """Goal: a lock is idempotent for its holder. Method: take it twice."""
    machine.disk.lock()
    machine.disk.lock()


def filling(*pieces: bytes) -> Callable[[Write], Awaitable[None]]:
    """Writes them from one buffer that is used again."""

    async def fill(write: Write) -> None:
        buffer = bytearray(max(map(len, pieces), default=0))
        for piece in pieces:
            buffer[: len(piece)] = piece
            write(memoryview(buffer)[: len(piece)])

    return fill


def content(disk: Disk, path: str) -> bytes:
    return b"".join([bytes(piece) for piece in disk.read_pieces(path)])


async def test_large_files_are_written_and_read_in_pieces(machine: Machine) -> None:
    """Goal: streams keep every byte and their order. Method: more than a piece, and nothing."""
    whole = random.Random(1).randbytes(FILE_PIECE_BYTES_MAX + 5)
    await machine.disk.write_pieces("d/large", filling(whole[:1_000_000], whole[1_000_000:]))
    await machine.disk.write_pieces("d/empty", filling())
    assert content(machine.disk, "d/large") == whole
    assert content(machine.reopened(), "d/empty") == b""
    with pytest.raises(StoreError):
        content(machine.disk, "d/none")


async def test_trees_are_discarded(machine: Machine) -> None:
    """Goal: gone with all below; what is not there is fine. Method: files, then again."""
    machine.disk.write_file("a/one", b"1")
    machine.disk.write_file("a/b/two", b"2")
    for _ in range(2):
        await machine.disk.discard("a")
        assert not machine.disk.exists("a")


async def test_a_file_whose_source_fails_does_not_appear(machine: Machine) -> None:
    """Goal: whole or not at all. Method: a source that breaks after its first piece."""

    async def breaking(write: Write) -> None:
        write(b"half")
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        await machine.disk.write_pieces("d/file", breaking)
    assert not machine.disk.exists("d/file")
    assert machine.disk.list_files("d") == []


async def test_directories_are_listed_and_renamed(machine: Machine) -> None:
    """Goal: names, sizes, and a move of all below. Method: three files, one deeper; move them."""
    machine.disk.write_file("a/two", b"22")
    machine.disk.write_file("a/one", b"1")
    machine.disk.write_file("a/b/three", b"333")
    assert machine.disk.list_files("a") == [FileEntry("one", 1), FileEntry("two", 2)]
    assert machine.disk.list_files("none") == []
    machine.disk.rename("a", "deep/er")
    assert machine.disk.list_files("a") == []
    assert machine.disk.read_file("deep/er/b/three") == b"333"
    machine.disk.write_file("a/new", b"")
    with pytest.raises(StoreError):
        machine.disk.rename("a", "deep/er")
