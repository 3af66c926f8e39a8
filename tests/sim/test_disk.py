"""The simulated disk: what is synced survives, what is not may go, and faults are told apart."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from restate_node.runtime.ports import (
    KeyValueStore,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreOptions,
)
from restate_node.sim.disk import DiskFaults, DiskOptions, SimDisk, SimMedium
from restate_node.sim.hosts import Death, Incarnation
from restate_node.sim.loop import SimLoop, simulate

LOGGED = StoreOptions(families=("data", "meta"))
UNLOGGED = StoreOptions(families=("data", "meta"), write_ahead_log=False)
EXACT = DiskOptions(sync_seconds_min=0.01, sync_seconds_mean=0)


class Host:
    """One host with a disk; `crash` restarts its process."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.medium = SimMedium("node-1", loop.streams.stream("disk"), EXACT, loop.trace)
        self.process: Incarnation = loop.boot("node-1")
        self.disk: SimDisk = self.medium.mount(self.process)

    def crash(self, death: Death = Death.KILLED) -> None:
        self.loop.kill(self.process, death)
        self.process = self.loop.boot("node-1")
        self.disk = self.medium.mount(self.process)


def run(main: Callable[[Host], Awaitable[None]], seed: int = 1) -> None:
    async def build(loop: SimLoop) -> None:
        await main(Host(loop))

    simulate(seed, build)


def put(store: KeyValueStore, **rows: str) -> None:
    batch = store.batch()
    for key, value in rows.items():
        batch.put("data", key.encode(), value.encode())
    store.write(batch)


def content(store: KeyValueStore, family: str = "data") -> dict[str, str]:
    rows = store.scan(family, b"", b"\xff" * 8, rows_max=10_000)
    return {key.decode(): value.decode() for key, value in rows}


# ---------------------------------------------------------------- durability


@pytest.mark.parametrize("death", list(Death))
@pytest.mark.parametrize("seed", range(10))
def test_crash_keeps_a_prefix_of_batches(seed: int, death: Death) -> None:
    """Goal: synced batches survive, unsynced ones as a prefix, each whole.

    Method: sync three of ten batches, each of two rows, crash, count.
    """

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        for number in range(10):
            put(store, **{f"a{number}": "x", f"b{number}": "x"})
            if number == 2:
                await store.sync()
        host.crash(death)
        kept = content(host.disk.open_store("log", LOGGED))
        batches = len(kept) // 2
        assert 3 <= batches <= 10
        expected = {f"{name}{number}" for name in "ab" for number in range(batches)}
        assert set(kept) == expected

    run(main, seed)


def test_seeds_lose_differently() -> None:
    """Goal: every prefix length is tried. Method: 100 seeds, three unsynced batches."""
    survivors: set[int] = set()

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        for number in range(3):
            put(store, **{f"k{number}": "x"})
        host.crash()
        survivors.add(len(content(host.disk.open_store("log", LOGGED))))

    for seed in range(100):
        run(main, seed)
    assert survivors == {0, 1, 2, 3}


def test_crash_takes_back_every_kind_of_change() -> None:
    """Goal: undo restores exactly. Method: random batches on top of a synced state, crash without
    survivors (no log), compare with the state at the flush, over many seeds.
    """

    def change(store: KeyValueStore, randomness: random.Random) -> None:
        batch = store.batch()
        for _ in range(randomness.randint(1, 4)):
            first, second = sorted(b"%02d" % randomness.randrange(30) for _ in range(2))
            match randomness.randrange(3):
                case 0:
                    batch.put("data", first, b"%d" % randomness.randrange(1000))
                case 1:
                    batch.delete("data", first)
                case _:
                    batch.delete_range("data", first, second)
        store.write(batch)

    async def main(host: Host) -> None:
        randomness = host.loop.streams.stream("workload")
        store = host.disk.open_store("p", UNLOGGED)
        put(store, **{f"{number:02d}": "before" for number in range(0, 30, 2)})
        for _ in range(5):
            change(store, randomness)
        await store.flush()
        flushed, size = content(store), host.medium.used_bytes
        for _ in range(20):
            change(store, randomness)
        await store.sync()
        host.crash()
        assert content(host.disk.open_store("p", UNLOGGED)) == flushed
        assert host.medium.used_bytes == size

    for seed in range(50):
        run(main, seed)


def test_writes_during_a_sync_are_not_covered() -> None:
    """Goal: sync covers what was written before it began; a later caller gets another fsync."""

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        put(store, a="1")
        first = asyncio.create_task(store.sync())
        await asyncio.sleep(0.005)
        put(store, b="1")
        second = asyncio.create_task(store.sync())
        third = asyncio.create_task(store.sync())
        await first
        assert host.loop.time() == pytest.approx(0.01)
        assert len(host.medium.stores["log"].pending) == 1
        await asyncio.gather(second, third)
        assert host.loop.time() == pytest.approx(0.02)
        assert not host.medium.stores["log"].pending

    run(main)


def test_cancelled_sync_does_not_harm_others() -> None:
    """Goal: cancelling one caller leaves the shared fsync and the other caller alone."""

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        put(store, a="1")
        mine, other = (asyncio.create_task(store.sync()) for _ in range(2))
        await asyncio.sleep(0)
        mine.cancel()
        await other
        assert mine.cancelled()
        assert not host.medium.stores["log"].pending

    run(main)


def test_stall_delays_even_a_running_sync() -> None:
    """Goal: nothing finishes during a stall."""

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        put(store, a="1")
        syncing = asyncio.create_task(store.sync())
        await asyncio.sleep(0.001)
        host.medium.stall(3)
        await syncing
        assert host.loop.time() == pytest.approx(3.001)

    run(main)


@pytest.mark.parametrize(("options", "kept"), [(LOGGED, {"a": "1"}), (UNLOGGED, {})])
def test_close_syncs_the_log(options: StoreOptions, kept: dict[str, str]) -> None:
    """Goal: close makes logged writes durable and promises nothing for the others."""

    async def main(host: Host) -> None:
        store = host.disk.open_store("s", options)
        put(store, a="1")
        await store.close()
        await store.close()
        with pytest.raises(StoreError, match="closed"):
            store.get("data", b"a")
        assert content(host.disk.open_store("s", options)) == kept

    run(main)


# ---------------------------------------------------------------- reading


def test_scan_limits() -> None:
    """Goal: order, half-open range, both limits, at least one row, both directions."""

    async def main(host: Host) -> None:
        store = host.disk.open_store("s", LOGGED)
        put(store, **dict.fromkeys("dbaec", "x" * 9))

        def scan(start: bytes, end: bytes, **limits: int | bool) -> str:
            rows = store.scan("data", start, end, **{"rows_max": 99, **limits})  # type: ignore[arg-type]
            return "".join(key.decode() for key, _ in rows)

        assert scan(b"", b"z") == "abcde"
        assert scan(b"b", b"d") == "bc"
        assert scan(b"b", b"z", rows_max=2) == "bc"
        assert scan(b"b", b"z", bytes_max=1) == "b"
        assert scan(b"b", b"z", bytes_max=20) == "bc"
        assert scan(b"a", b"e", reverse=True) == "dcba"
        assert scan(b"a", b"e", reverse=True, rows_max=2) == "dc"
        assert scan(b"e", b"a") == ""
        assert content(store, "meta") == {}

    run(main)


# ---------------------------------------------------------------- faults


def test_failed_sync_is_for_ever() -> None:
    """Goal: after EIO the handle refuses writes; a restart shows what is durable."""

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        put(store, a="1")
        await store.sync()
        host.medium.faults = DiskFaults(sync_error_probability=1)
        put(store, b="1")
        with pytest.raises(StoreError, match="sync failed"):
            await store.sync()
        host.medium.faults = DiskFaults()
        with pytest.raises(StoreError, match="failed before"):
            await store.sync()
        with pytest.raises(StoreError, match="failed before"):
            put(store, c="1")
        host.crash()
        assert content(host.disk.open_store("log", LOGGED)).keys() >= {"a"}

    run(main)


def test_failed_write_may_have_happened() -> None:
    """Goal: a write that raised is sometimes visible. Method: many seeds, both outcomes."""
    seen: set[int] = set()

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        host.medium.faults = DiskFaults(write_error_probability=1)
        with pytest.raises(StoreError, match="write failed"):
            put(store, a="1")
        seen.add(len(content(store)))

    for seed in range(20):
        run(main, seed)
    assert seen == {0, 1}


def test_full_disk_changes_nothing() -> None:
    """Goal: StoreFull leaves store and file as they were, and space can come back."""

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        host.medium.capacity_bytes = 10
        put(store, a="12345678")
        with pytest.raises(StoreFull):
            put(store, b="12345678")
        with pytest.raises(StoreFull):
            host.disk.write_file("marker", b"0123")
        assert content(store) == {"a": "12345678"}
        assert not host.disk.exists("marker")
        host.medium.capacity_bytes = 100
        put(store, b="12345678")

    run(main)


def test_busy_writes_nothing_and_passes() -> None:
    """Goal: StoreBusy is retryable with the same batch."""

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        batch = store.batch()
        batch.put("data", b"a", b"1")
        host.medium.faults = DiskFaults(busy_probability=1)
        with pytest.raises(StoreBusy):
            store.write(batch)
        assert content(store) == {}
        host.medium.faults = DiskFaults()
        store.write(batch)
        assert content(store) == {"a": "1"}

    run(main)


def test_bit_flip_changes_one_bit() -> None:
    """Goal: exactly one bit of one value differs, where the medium says."""

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        assert host.medium.flip_bit() is None
        before = {f"k{number}": "value" for number in range(5)}
        put(store, **before)
        flipped = host.medium.flip_bit("log")
        assert flipped is not None
        after = store.get(flipped.family, flipped.key)
        assert after is not None
        old = int.from_bytes(before[flipped.key.decode()].encode(), "big")
        assert (old ^ int.from_bytes(after, "big")).bit_count() == 1

    run(main)


# ---------------------------------------------------------------- locks and files


def test_locks_end_with_the_process() -> None:
    """Goal: a second process is refused; a death releases directory and stores."""

    async def main(host: Host) -> None:
        host.disk.lock()
        host.disk.lock()
        host.disk.open_store("log", LOGGED)
        with pytest.raises(StoreLocked):
            host.disk.open_store("log", LOGGED)
        second = host.medium.mount(Incarnation("node-1", 99))
        with pytest.raises(StoreLocked):
            second.lock()
        host.crash()
        host.disk.lock()
        host.disk.open_store("log", LOGGED)

    run(main)


def test_the_dead_do_not_write() -> None:
    """Goal: handles of a dead process refuse everything."""

    async def main(host: Host) -> None:
        disk, store = host.disk, host.disk.open_store("log", LOGGED)
        batch = store.batch()
        host.crash()
        for action in (
            lambda: store.write(batch),
            lambda: store.get("data", b"a"),
            lambda: disk.write_file("x", b""),
            lambda: disk.open_store("log", LOGGED),
        ):
            with pytest.raises(StoreError, match="dead"):
                action()

    run(main)


def test_crash_during_sync() -> None:
    """Goal: a sync cut short by a crash does not touch the next incarnation's store."""

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        put(store, a="1")
        host.loop.spawn(host.process, store.sync())
        await asyncio.sleep(0.005)
        host.crash()
        again = host.disk.open_store("log", LOGGED)
        put(again, b="1")
        await asyncio.sleep(1)
        assert len(host.medium.stores["log"].pending) == 1

    run(main)


def test_files_and_trees() -> None:
    """Goal: files are durable at once; trees hold files and stores; open stores stay."""

    async def main(host: Host) -> None:
        host.disk.write_file("a/b/c", b"1")
        host.disk.write_file("a/./b//c/", b"2")
        store = host.disk.open_store("a/store", LOGGED)
        host.crash()
        assert host.disk.read_file("a/b/c") == b"2"
        assert host.disk.read_file("a/b") is None
        assert host.disk.exists("a/b") and host.disk.exists("a/store")
        assert not host.disk.exists("a/sto")
        store = host.disk.open_store("a/store", LOGGED)
        with pytest.raises(StoreError, match="still open"):
            host.disk.remove_tree("a")
        await store.close()
        host.disk.remove_tree("a")
        host.disk.remove_tree("a")
        assert not host.disk.exists("a")

    run(main)


def test_failed_file_write_is_old_or_new() -> None:
    """Goal: EIO of a file leaves one whole content. Method: many seeds, both outcomes."""
    seen: set[bytes | None] = set()

    async def main(host: Host) -> None:
        host.disk.write_file("marker", b"old")
        host.medium.faults = DiskFaults(file_error_probability=1)
        with pytest.raises(StoreError):
            host.disk.write_file("marker", b"new")
        seen.add(host.disk.read_file("marker"))

    for seed in range(20):
        run(main, seed)
    assert seen == {b"old", b"new"}


def test_wiped_disk_is_empty() -> None:
    """Goal: a replaced disk holds nothing."""

    async def main(host: Host) -> None:
        host.disk.write_file("marker", b"x")
        host.disk.open_store("log", LOGGED)
        host.loop.kill(host.process)
        host.medium.wipe()
        assert host.medium.used_bytes == 0
        assert not host.medium.stores

    run(main)


def test_a_bit_flips_where_it_is_asked_for() -> None:
    """Goal: rot strikes one family of one store. Method: flips among two stores."""

    async def main(host: Host) -> None:
        for path in ("log", "other"):
            store = host.disk.open_store(path, LOGGED)
            batch = store.batch()
            batch.put("data", b"k", b"v")
            store.write(batch)
            await store.sync()
        for _ in range(10):
            struck = host.medium.flip_bit("log", "data")
            assert struck is not None and (struck.path, struck.family) == ("log", "data")
        assert host.medium.flip_bit("log", "missing") is None

    run(main)


def test_a_lost_store_is_gone_and_the_rest_stays() -> None:
    """Goal: a log server's database can go alone. Method: lose one of two stores."""

    async def main(host: Host) -> None:
        for path in ("log", "other"):
            host.disk.open_store(path, LOGGED)
        host.loop.kill(host.process)
        host.medium.lose("log")
        assert list(host.medium.stores) == ["other"]

    run(main)


def test_a_checkpoint_that_cannot_be_read_stays_unreadable() -> None:
    """Goal: a bad file does not become an empty store at the second attempt. Method: cut the file
    of a checkpoint and open it twice.
    """

    async def main(host: Host) -> None:
        store = host.disk.open_store("log", LOGGED)
        batch = store.batch()
        batch.put("data", b"k", b"v")
        store.write(batch)
        await store.checkpoint("copy")
        name = next(name for name in host.medium.files if name.startswith("copy/"))
        host.medium.files[name] = host.medium.files[name][:-1]
        for _ in range(2):
            with pytest.raises(StoreError, match="corrupt file"):
                host.disk.open_store("copy", LOGGED)

    run(main)
