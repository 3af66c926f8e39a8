"""`trim`: what a trimmed log gives back to the disk, and how soon.

    disk   before ─ append ─▶ full ─ trim, 1 s, 1 s, … ─▶ after

Disk is what the file systems count: the blocks of all files of the three log stores, write-ahead
logs included.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from benchmarks.cluster import BENCHMARK_LOG, ClusterWorld
from benchmarks.load import make_batches
from benchmarks.operations_figures import TrimFigures
from benchmarks.world import WorldFailed
from restate_node.bifrost.errors import AppendFailed
from restate_node.types.offsets import Lsn

BATCH_RECORDS = 256
RECORD_BYTES = 128
IN_FLIGHT = 32
WITHIN_S = 60.0
LOOK_AFTER_S = 1.0
ENOUGH_SHARE = 0.9
BLOCK_BYTES = 512


async def measure_trim(world: ClusterWorld, records: int) -> TrimFigures:
    """Fill the benchmark's log, trim all of it, watch the disk. Raises WorldFailed."""
    bifrost = world.node.bifrost
    assert bifrost is not None, "the node is ready"
    before = await asyncio.to_thread(_disk_bytes, world.directory)
    await _append(world, records)
    full = await asyncio.to_thread(_disk_bytes, world.directory)
    tail = await bifrost.find_tail(BENCHMARK_LOG)
    started = perf_counter()
    await bifrost.trim(BENCHMARK_LOG, Lsn(tail.tail.lsn - 1))
    trim_s = perf_counter() - started
    reached: float | None = None
    while perf_counter() - started < WITHIN_S:
        await asyncio.sleep(LOOK_AFTER_S)
        after = await asyncio.to_thread(_disk_bytes, world.directory)
        if reached is None and full - after >= ENOUGH_SHARE * (full - before):
            reached = perf_counter() - started
    after = await asyncio.to_thread(_disk_bytes, world.directory)
    return TrimFigures(records, before, full, after, trim_s, reached)


async def _append(world: ClusterWorld, records: int) -> None:
    """So many records, some batches at a time."""
    batches = make_batches(BATCH_RECORDS, RECORD_BYTES)
    slots = asyncio.Semaphore(IN_FLIGHT)
    failures: list[AppendFailed] = []

    def answered(result: Lsn | AppendFailed) -> None:
        slots.release()
        if isinstance(result, AppendFailed):
            failures.append(result)

    for number in range(-(-records // BATCH_RECORDS)):
        await slots.acquire()
        world.submit(batches[number % len(batches)], answered)
    for _ in range(IN_FLIGHT):
        await slots.acquire()
    if failures:
        raise WorldFailed(f"{len(failures)} appends failed: {failures[0]}")


def _disk_bytes(directory: Path) -> int:
    """What the log stores occupy; files come and go meanwhile."""
    total = 0
    for store in sorted(directory.glob("node-*/log-store")):
        for above, _, names in os.walk(store):
            for name in names:
                with suppress(FileNotFoundError):
                    total += Path(above, name).stat().st_blocks * BLOCK_BYTES
    return total
