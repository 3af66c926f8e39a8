"""`snapshot` and `bootstrap`: the files of a partition to an object store and back.

    round     plain copy of the same files ─ snapshot ─ plain copy back ─ replica started from it
    appends   alone ─ during a plain copy ─ during a snapshot ─ …

The same node appends, exports and uploads, as a leader does. Appends stop while speeds are
measured, and rates are compared with rates of the same moment.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import perf_counter

from benchmarks.bucket_service import bucket_service
from benchmarks.cluster import ClusterWorld
from benchmarks.filled_partition import PARTITION, FilledPartition, repository_of
from benchmarks.load import ClosedLoop, make_batches
from benchmarks.operations_figures import TransferFigures, TransferRound
from benchmarks.plain_copy import plain_copy
from benchmarks.strain import straining
from benchmarks.world import WorldFailed
from restate_node.roles.worker.snapshot_repository import SnapshotRepository
from restate_node.runtime.real.objects import open_objects
from restate_node.types.options import SnapshotOptions

EXPORT = "plain-export"
IN_FLIGHT = 64
RECORD_BYTES = 128
ALONE_S = 3.0
APPEND_S_MAX = 3600.0
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """What shall be measured."""

    stores: tuple[str, ...]
    size_bytes: int
    rounds: int


async def measure_transfers(
    world: ClusterWorld, plan: TransferPlan, progress: Progress
) -> list[TransferFigures]:
    """Two results per object store: snapshots, and replicas started from them."""
    progress("filling a partition")
    partition = await FilledPartition.open(world.node, SnapshotOptions())
    try:
        await partition.fill(plan.size_bytes)
        await partition.export(EXPORT)
        found: list[TransferFigures] = []
        for store in plan.stores:
            async with AsyncExitStack() as resources:
                place = await _place(world, store, resources)
                found += await _Transfers(world, partition, place, progress).run(plan.rounds)
        return found
    finally:
        await partition.close()


@dataclass(frozen=True, slots=True)
class _Place:
    """One object store: ours of it, and the way that plain copies take."""

    name: str
    repository: SnapshotRepository
    service: SnapshotOptions | None
    """None: a directory."""
    snapshots: str
    """Directory, or prefix of keys, below which the partition's snapshots are."""
    scratch: Path


async def _place(world: ClusterWorld, store: str, resources: AsyncExitStack) -> _Place:
    scratch = world.directory / "plain-copy"
    if store == "s3":
        service = await resources.enter_async_context(bucket_service(world.directory))
        below = f"repository/{PARTITION.id}"
        options = service
    else:
        directory = world.directory / "repository"
        directory.mkdir()
        options, service = SnapshotOptions(destination=f"file://{directory}"), None
        below = f"{directory}/{PARTITION.id}"
    opened = open_objects(options, Random(1))
    assert opened is not None, "there is a destination"
    objects, prefix = opened
    resources.push_async_callback(objects.close)
    repository = repository_of(world.node, objects, prefix)
    # The library behind S3 takes its time and its memory with the first request, once.
    await repository.status(PARTITION.id)
    return _Place(store, repository, service, below, scratch)


class _Transfers:
    """The rounds at one object store."""

    def __init__(
        self, world: ClusterWorld, partition: FilledPartition, place: _Place, progress: Progress
    ) -> None:
        self._world = world
        self._partition = partition
        self._place = place
        self._progress = progress
        self._newest = ""
        self._batches = make_batches(1, RECORD_BYTES)

    async def run(self, rounds: int) -> list[TransferFigures]:
        sent: list[TransferRound] = []
        fetched: list[TransferRound] = []
        for number in range(1, rounds + 1):
            self._progress(f"{self._place.name}: snapshot {number} of {rounds}")
            sent.append(await self._round(self._plain_send, self._snapshot))
            self._progress(f"{self._place.name}: bootstrap {number} of {rounds}")
            fetched.append(await self._round(self._plain_fetch, self._bootstrap))
        size = self._partition.size_bytes
        return [
            TransferFigures(f"snapshot, {self._place.name}", size, tuple(sent)),
            TransferFigures(
                f"bootstrap, {self._place.name}", size, tuple(fetched), is_snapshot=False
            ),
        ]

    async def _round(
        self, plain: Callable[[], Awaitable[float]], ours: Callable[[], Awaitable[float]]
    ) -> TransferRound:
        with straining() as idle:
            plain_s = await plain()
        with straining() as strain:
            ours_s = await ours()
        alone = await self._appends_per_s(_sleep_alone)
        during_plain = await self._appends_per_s(plain)
        during_ours = await self._appends_per_s(ours)
        return TransferRound(
            seconds=ours_s,
            plain_seconds=plain_s,
            memory_mb=strain.memory_mb,
            late_ms=strain.late_ms,
            busy_ms=strain.busy_ms,
            late_beside_plain_ms=idle.late_ms,
            appends_alone_per_s=alone,
            appends_per_s=during_ours,
            appends_beside_plain_per_s=during_plain,
        )

    async def _appends_per_s(self, meanwhile: Callable[[], Awaitable[float]]) -> float:
        load = ClosedLoop(self._world.submit, IN_FLIGHT, self._batches)
        running = asyncio.create_task(load.run(APPEND_S_MAX))
        try:
            await meanwhile()
        finally:
            load.stop()
            result = await running
        return result.batches / result.seconds

    # ------------------------------------------------------------ the four transfers

    async def _plain_send(self) -> float:
        source = str(self._export)
        what = "copy" if self._place.service is None else "upload"
        return await plain_copy(what, source, self._place.scratch, self._place.service)

    async def _plain_fetch(self) -> float:
        what = "copy" if self._place.service is None else "download"
        source = f"{self._place.snapshots}/{self._newest}"
        return await plain_copy(what, source, self._place.scratch, self._place.service)

    async def _snapshot(self) -> float:
        started = perf_counter()
        self._newest = (await self._partition.snapshot(self._place.repository)).path
        return perf_counter() - started

    async def _bootstrap(self) -> float:
        directory = self._world.directory / "replica"
        started = perf_counter()
        applied = await self._partition.bootstrap(self._place.repository, directory)
        took = perf_counter() - started
        if applied < 1:
            raise WorldFailed("the replica began empty: see node-1.log")
        await asyncio.to_thread(shutil.rmtree, directory)
        return took

    @property
    def _export(self) -> Path:
        return self._world.directory / "node-1" / EXPORT


async def _sleep_alone() -> float:
    await asyncio.sleep(ALONE_S)
    return ALONE_S
