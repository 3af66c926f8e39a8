"""What every KeyValueStore promises, with a write-ahead log and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from restate_node.runtime.ports import KeyValueStore, StoreError, StoreLocked, StoreOptions

from .conftest import Machine

FAMILIES = ("data", "metadata")


@pytest.fixture(params=[True, False], ids=["log", "no-log"])
def options(request: pytest.FixtureRequest) -> StoreOptions:
    return StoreOptions(FAMILIES, write_ahead_log=request.param, write_buffer_bytes=1 << 20)


@pytest.fixture
async def store(machine: Machine, options: StoreOptions) -> AsyncIterator[KeyValueStore]:
    opened = machine.disk.open_store("store", options)
    yield opened
    await opened.close()


def fill(store: KeyValueStore, family: str, rows: dict[bytes, bytes]) -> None:
    batch = store.batch()
    for key, value in rows.items():
        batch.put(family, key, value)
    store.write(batch)


async def test_a_batch_is_visible_at_once_in_its_order(store: KeyValueStore) -> None:
    """Goal: later changes of a batch win. Method: put, delete and put again in one batch."""
    batch = store.batch()
    batch.put("data", b"a", b"1")
    batch.delete("data", b"a")
    batch.put("data", b"b", b"2")
    batch.put("data", b"b", b"3")
    store.write(batch)
    assert (store.get("data", b"a"), store.get("data", b"b")) == (None, b"3")


async def test_families_do_not_meet(store: KeyValueStore) -> None:
    """Goal: a family is a space of its own. Method: same key in both, unbounded scans."""
    fill(store, "data", {b"": b"d0", b"k": b"d", b"\xff\xff": b"d1"})
    fill(store, "metadata", {b"k": b"m"})
    assert store.get("metadata", b"k") == b"m"
    everything = store.scan("data", b"", b"\xff" * 9, rows_max=9)
    assert everything == [(b"", b"d0"), (b"k", b"d"), (b"\xff\xff", b"d1")]
    assert store.scan("metadata", b"", b"\xff" * 9, rows_max=9, reverse=True) == [(b"k", b"m")]


SCANS = [
    (b"b", b"d", False, 9, 999, [b"b", b"c"]),
    (b"b", b"d", True, 9, 999, [b"c", b"b"]),
    (b"a", b"z", False, 2, 999, [b"a", b"b"]),
    (b"a", b"z", True, 2, 999, [b"e", b"d"]),
    (b"a", b"z", False, 9, 22, [b"a", b"b"]),
    (b"a", b"z", False, 9, 1, [b"a"]),
    (b"d", b"b", False, 9, 999, []),
    (b"c", b"c", False, 9, 999, []),
    (b"f", b"z", False, 9, 999, []),
]


@pytest.mark.parametrize(("start", "end", "reverse", "rows_max", "bytes_max", "expected"), SCANS)
async def test_scans(
    store: KeyValueStore,
    start: bytes,
    end: bytes,
    reverse: bool,
    rows_max: int,
    bytes_max: int,
    expected: list[bytes],
) -> None:
    """Goal: bounds, order and limits. Method: five rows of 11 bytes, a table of scans."""
    fill(store, "data", {bytes((letter,)): b"v" * 10 for letter in b"abcde"})
    rows = store.scan("data", start, end, rows_max=rows_max, bytes_max=bytes_max, reverse=reverse)
    assert [key for key, _ in rows] == expected


async def test_ranges_are_deleted_up_to_their_end(store: KeyValueStore) -> None:
    """Goal: `[start, end)` goes, nothing else. Method: delete inside, empty and inverted ranges."""
    fill(store, "data", {bytes((letter,)): b"v" for letter in b"abcd"})
    batch = store.batch()
    batch.delete_range("data", b"b", b"d")
    batch.delete_range("data", b"a", b"a")
    batch.delete_range("data", b"z", b"a")
    store.write(batch)
    assert [key for key, _ in store.scan("data", b"", b"z", rows_max=9)] == [b"a", b"d"]


async def test_concurrent_syncs_all_return(store: KeyValueStore) -> None:
    """Goal: nobody is forgotten in a round. Method: a hundred callers, some cancelled."""

    async def synced(number: int) -> None:
        fill(store, "data", {b"%d" % number: b"v"})
        await store.sync()

    tasks = [asyncio.create_task(synced(number)) for number in range(100)]
    await asyncio.sleep(0)
    for task in tasks[::10]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [result for result in results if result is None] == [None] * 90


async def test_what_was_flushed_survives_reopening(machine: Machine, options: StoreOptions) -> None:
    """Goal: durable after flush, in every family. Method: write, flush, close, open again."""
    store = machine.disk.open_store("again", options)
    fill(store, "data", {b"k": b"d"})
    fill(store, "metadata", {b"k": b"m"})
    await store.flush()
    await store.compact()
    await store.close()
    await store.close()
    again = machine.reopened().open_store("again", options)
    assert (again.get("data", b"k"), again.get("metadata", b"k")) == (b"d", b"m")
    await again.close()


async def test_a_range_is_merged(machine: Machine, options: StoreOptions) -> None:
    """Goal: what was deleted stays so, what was not is there. Method: delete a range, merge it."""
    store = machine.disk.open_store("merged", options)
    fill(store, "data", {b"a": b"1", b"b": b"2", b"c": b"3"})
    await store.flush()
    batch = store.batch()
    batch.delete_range("data", b"a", b"c")
    store.write(batch)
    await store.compact_range("data", b"a", b"c")
    assert store.scan("data", b"", b"z", rows_max=9) == [(b"c", b"3")]
    await store.close()


async def test_a_store_is_open_once(machine: Machine, options: StoreOptions) -> None:
    """Goal: two writers are refused, and closing makes room. Method: open twice, close, open."""
    first = machine.disk.open_store("once", options)
    with pytest.raises(StoreLocked):
        machine.disk.open_store("once", options)
    await first.close()
    await machine.disk.open_store("once", options).close()


async def test_a_closed_store_refuses(machine: Machine, options: StoreOptions) -> None:
    """Goal: no write vanishes in a closed store. Method: close, then write."""
    store = machine.disk.open_store("closed", options)
    batch = store.batch()
    batch.put("data", b"k", b"v")
    await store.close()
    with pytest.raises(StoreError):
        store.write(batch)


async def test_a_checkpoint_is_a_store_of_that_moment(
    machine: Machine, options: StoreOptions
) -> None:
    """Goal: rows of the moment, all of them, and none written later. Method: checkpoint, write on,
    move the copy, open it beside the original.
    """
    store = machine.disk.open_store("store", options)
    fill(store, "data", {b"a": b"1"})
    fill(store, "metadata", {b"a": b"2"})
    await store.checkpoint("copies/0/first")
    fill(store, "data", {b"a": b"later", b"b": b"later"})
    with pytest.raises(StoreError):
        await store.checkpoint("copies/0/first")
    assert machine.disk.list_files("copies/0/first")
    machine.disk.rename("copies/0/first", "moved")
    copy = machine.disk.open_store("moved", options)
    assert copy.scan("data", b"", b"\xff", rows_max=9) == [(b"a", b"1")]
    assert copy.get("metadata", b"a") == b"2"
    fill(copy, "data", {b"c": b"3"})
    assert store.get("data", b"c") is None
    await copy.close()
    await store.close()
