"""What is particular to RocksDB: damage, crashes, stalls, and the words of its errors."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from restate_node.runtime.ports import (
    StoreBusy,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreOptions,
)
from restate_node.runtime.real.rocksdb import RocksStore, store_error
from restate_node.runtime.real.rocksdb_options import StoreMemory

LOG = StoreOptions(("data", "metadata"), write_buffer_bytes=1 << 20)
NO_LOG = StoreOptions(("data", "metadata"), write_ahead_log=False, write_buffer_bytes=1 << 20)

CRASHING_WRITER = """
import asyncio, os, sys
from pathlib import Path
from restate_node.runtime.ports import StoreOptions
from restate_node.runtime.real.rocksdb import RocksStore
from restate_node.runtime.real.rocksdb_options import StoreMemory

async def main() -> None:
    log = sys.argv[2] == "log"
    options = StoreOptions(("data", "metadata"), write_ahead_log=log, write_buffer_bytes=1 << 20)
    store = RocksStore(Path(sys.argv[1]), options, StoreMemory())
    for number in range(20):
        batch = store.batch()
        batch.put("data", b"%03d" % number, b"v" * 100)
        batch.put("metadata", b"tail", b"%03d" % number)
        store.write(batch)
        if number == 9:
            await (store.sync() if log else store.flush())
    os._exit(0)

asyncio.run(main())
"""


def crashed_store(path: Path, kind: str) -> None:
    """A process writes 20 batches, makes 10 of them durable, and is gone."""
    subprocess.run([sys.executable, "-c", CRASHING_WRITER, str(path), kind], check=True)


def put(store: RocksStore, key: bytes, value: bytes) -> None:
    batch = store.batch()
    batch.put("data", key, value)
    store.write(batch)


@pytest.mark.parametrize(("kind", "options"), [("log", LOG), ("no-log", NO_LOG)])
async def test_a_crash_keeps_what_was_durable_and_whole_batches(
    tmp_path: Path, kind: str, options: StoreOptions
) -> None:
    """Goal: durable stays, batches stay whole. Method: crash a process, compare both families."""
    crashed_store(tmp_path / "s", kind)
    store = RocksStore(tmp_path / "s", options, StoreMemory())
    rows = store.scan("data", b"", b"\xff", rows_max=99)
    assert len(rows) >= 10
    assert store.get("metadata", b"tail") == rows[-1][0] == b"%03d" % (len(rows) - 1)
    await store.close()


def disk_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir())


async def test_merging_a_deleted_range_gives_its_disk_back(tmp_path: Path) -> None:
    """Goal: the rows and the log that held them go, what lies beside stays. Method: write two
    ranges, a few files of them, delete and merge one."""
    store = RocksStore(tmp_path / "s", LOG, StoreMemory())
    for number in range(64):
        put(store, b"a%02d" % number, os.urandom(1 << 16))
        put(store, b"b%02d" % number, b"kept")
        if number % 8 == 7:
            await store.flush()
    full = disk_bytes(tmp_path / "s")
    batch = store.batch()
    batch.delete_range("data", b"a", b"b")
    store.write(batch)
    await store.compact_range("data", b"a", b"b")
    assert disk_bytes(tmp_path / "s") < full // 10
    assert len(store.scan("data", b"", b"z", rows_max=999)) == 64
    await store.close()


async def test_a_torn_tail_is_dropped_and_damage_before_it_refused(tmp_path: Path) -> None:
    """Goal: a crash is repaired, a loss is told. Method: flip an early byte, cut the end."""
    crashed_store(tmp_path / "s", "log")
    log = max((tmp_path / "s").glob("*.log"), key=lambda path: path.stat().st_size)
    content = log.read_bytes()
    log.write_bytes(content[:200] + bytes([content[200] ^ 0xFF]) + content[201:])
    with pytest.raises(StoreError, match="Corruption"):
        RocksStore(tmp_path / "s", LOG, StoreMemory())
    log.write_bytes(content[:-20])
    store = RocksStore(tmp_path / "s", LOG, StoreMemory())
    assert len(store.scan("data", b"", b"\xff", rows_max=99)) == 19
    await store.close()


async def test_a_scan_over_a_corrupt_block_raises(tmp_path: Path) -> None:
    """Goal: damage is not the end of the data. Method: flip a byte in the middle of a table."""
    store = RocksStore(tmp_path / "s", LOG, StoreMemory())
    for number in range(2000):
        put(store, b"%06d" % number, os.urandom(50))
    await store.flush()
    await store.close()
    table = max((tmp_path / "s").glob("*.sst"), key=lambda path: path.stat().st_size)
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 0xFF
    table.write_bytes(content)
    store = RocksStore(tmp_path / "s", LOG, StoreMemory())
    with pytest.raises(StoreError, match="Corruption"):
        store.scan("data", b"", b"\xff", rows_max=9999)
    await store.close()


async def test_a_store_that_is_behind_asks_for_a_pause(tmp_path: Path) -> None:
    """Goal: backpressure instead of a frozen loop. Method: write faster than memtables flush."""
    options = StoreOptions(("data",), write_buffer_bytes=64 * 1024)
    store = RocksStore(tmp_path / "s", options, StoreMemory())
    written = 0
    with pytest.raises(StoreBusy):
        for written in range(5000):
            put(store, b"%06d" % written, b"x" * 30_000)
    async with asyncio.timeout(5):
        while True:
            try:
                put(store, b"again", b"v")
                break
            except StoreBusy:
                await asyncio.sleep(0.001)
    await store.sync()
    assert len(store.scan("data", b"0", b"1", rows_max=9999, bytes_max=1 << 30)) == written
    await store.close()


async def test_families_are_appended_never_reordered(tmp_path: Path) -> None:
    """Goal: rows never change family. Method: reopen without a log with other lists."""

    def opened(*families: str) -> RocksStore:
        return RocksStore(
            tmp_path / "s", StoreOptions(families, write_ahead_log=False), StoreMemory()
        )

    store = opened("a", "b")
    batch = store.batch()
    batch.put("b", b"k", b"v")
    store.write(batch)
    await store.flush()
    await store.close()
    with pytest.raises(StoreError, match="append"):
        opened("b", "a")
    store = opened("a", "b", "c")
    assert (store.get("b", b"k"), store.get("c", b"k")) == (b"v", None)
    await store.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IO error: No space left on device: While appending to file: x", StoreFull),
        ("Result incomplete: Write stall", StoreBusy),
        ("IO error: lock hold by current process, acquire time 1", StoreLocked),
        ("IO error: While lock file: x/LOCK: Resource temporarily unavailable", StoreLocked),
        ("Corruption: block checksum mismatch", StoreError),
    ],
)
def test_errors_are_told_apart(text: str, expected: type[StoreError]) -> None:
    """Goal: an error says what to do. Method: RocksDB's words, as captured from it."""
    assert type(store_error(Exception(text), "write")) is expected
