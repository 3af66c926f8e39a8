"""What is particular to a real directory: other processes, leftovers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from restate_node.runtime.ports import StoreLocked, StoreOptions
from restate_node.runtime.real.disk import RealDisk

HOLDER = """
import sys
from pathlib import Path
from restate_node.runtime.real.disk import RealDisk
disk = RealDisk(Path(sys.argv[1]))
disk.lock()
print("locked", flush=True)
sys.stdin.read()
"""


def test_the_lock_holds_against_another_process_and_ends_with_it(tmp_path: Path) -> None:
    """Goal: one process per directory. Method: a second process holds it, then is killed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(StoreLocked, match="another process"):
            RealDisk(tmp_path).lock()
        holder.kill()
    RealDisk(tmp_path).lock()


def test_a_leftover_of_a_crash_does_not_matter(tmp_path: Path) -> None:
    """Goal: half-written files are invisible. Method: leave one where the disk writes."""
    disk = RealDisk(tmp_path)
    (tmp_path / ".marker.new").write_bytes(b"half")
    assert disk.read_file("marker") is None
    disk.write_file("marker", b"whole")
    assert disk.read_file("marker") == b"whole"


async def test_open_stores_are_known_until_they_close(tmp_path: Path) -> None:
    """Goal: an operator's compaction reaches what is open and nothing else. Method: open two,
    compact one, close it."""
    disk = RealDisk(tmp_path)
    first = disk.open_store("log-store", StoreOptions(("a", "b")))
    second = disk.open_store("db/0", StoreOptions(("a", "b"), write_ahead_log=False))
    try:
        assert list(disk.open_stores()) == ["db/0", "log-store"]
        assert first.column_families > second.column_families
        await disk.open_stores()["log-store"].compact()
        await first.close()
        assert list(disk.open_stores()) == ["db/0"]
    finally:
        await second.close()
