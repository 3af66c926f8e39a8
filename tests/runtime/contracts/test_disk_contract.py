"""What every Disk promises about directories and small files."""

from __future__ import annotations

import pytest

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
