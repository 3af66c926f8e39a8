"""`snapshot` and `bootstrap`: the files of a partition to an object store and back.

    speed     plain copy ─ copy with SHA-256 ─ snapshot ─ plain copy ─ …   each for some seconds
    appends   alone ─ during plain copies ─ during snapshots               each for some seconds

The same for replicas that start from the snapshot. The same node appends, exports and uploads, as a
leader does. Appends stop while speeds are measured, and rates are compared with rates of the same
moment.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from time import perf_counter

from benchmarks.bucket_service import bucket_service
from benchmarks.cluster import ClusterWorld
from benchmarks.filled_partition import PARTITION, FilledPartition, repository_of
from benchmarks.load import ClosedLoop, make_batches
from benchmarks.operations_figures import TransferFigures, TransferRound
from benchmarks.plain_copy import PlainCopy, plain_copy
from benchmarks.strain import Strain, straining
from benchmarks.world import WorldFailed
from restate_node.roles.worker.snapshot_repository import SnapshotRepository
from restate_node.runtime.real.objects import open_objects
from restate_node.types.options import SnapshotOptions

EXPORT = "plain-export"
IN_FLIGHT = 64
RECORD_BYTES = 128
APPEND_S_MAX = 3600.0
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """What shall be measured."""

    stores: tuple[str, ...]
    size_bytes: int
    rounds: int
    window_s: float
    """How long each side of a comparison is measured, at least."""


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
                found += await _Transfers(world, partition, place, plan, progress).run()
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


@dataclass(slots=True)
class _Speeds:
    """Seconds that each transfer took, and what it was to this process."""

    plain: list[float] = field(default_factory=list[float])
    hashed: list[float] = field(default_factory=list[float])
    ours: list[float] = field(default_factory=list[float])
    idle: list[Strain] = field(default_factory=list[Strain])
    strains: list[Strain] = field(default_factory=list[Strain])


@dataclass(frozen=True, slots=True)
class _Appends:
    """Their rate, and the transfers meanwhile."""

    per_s: float
    transfers: list[float]


class _Transfers:
    """The rounds at one object store."""

    def __init__(
        self,
        world: ClusterWorld,
        partition: FilledPartition,
        place: _Place,
        plan: TransferPlan,
        progress: Progress,
    ) -> None:
        self._world = world
        self._partition = partition
        self._place = place
        self._plan = plan
        self._progress = progress
        self._newest = ""
        self._batches = make_batches(1, RECORD_BYTES)

    async def run(self) -> list[TransferFigures]:
        sent: list[TransferRound] = []
        fetched: list[TransferRound] = []
        rounds = self._plan.rounds
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
        self, plain: Callable[[], PlainCopy], ours: Callable[[], Awaitable[float]]
    ) -> TransferRound:
        speeds = await self._speeds(plain, ours)
        alone = await self._beside_appends(self._nothing)
        beside_plain = await self._beside_appends(lambda: self._plain_window(plain()))
        beside_ours = await self._beside_appends(lambda: self._window(ours))
        return TransferRound(
            seconds=tuple(speeds.ours),
            plain_seconds=tuple(speeds.plain),
            hashed_seconds=tuple(speeds.hashed),
            memory_mb=max(strain.memory_mb for strain in speeds.strains),
            late_ms=max(strain.late_ms for strain in speeds.strains),
            busy_ms=max(strain.busy_ms for strain in speeds.strains),
            late_beside_plain_ms=max(strain.late_ms for strain in speeds.idle),
            appends_alone_per_s=alone.per_s,
            appends_per_s=beside_ours.per_s,
            appends_beside_plain_per_s=beside_plain.per_s,
            seconds_beside_appends=tuple(beside_ours.transfers),
            plain_seconds_beside_appends=tuple(beside_plain.transfers),
        )

    async def _speeds(
        self, plain: Callable[[], PlainCopy], ours: Callable[[], Awaitable[float]]
    ) -> _Speeds:
        """By turns, so that what others do to the machine meets all of them."""
        found = _Speeds()
        while min(sum(found.plain), sum(found.ours)) < self._plan.window_s:
            copy = plain()
            with straining() as idle:
                found.plain += await plain_copy(copy)
            found.idle.append(idle)
            if copy.service is None:
                found.hashed += await plain_copy(replace(copy, what="hashed"))
            with straining() as strain:
                found.ours.append(await ours())
            found.strains.append(strain)
        return found

    async def _nothing(self) -> list[float]:
        await asyncio.sleep(self._plan.window_s)
        return []

    async def _plain_window(self, copy: PlainCopy) -> list[float]:
        return await plain_copy(copy, self._plan.window_s)

    async def _window(self, ours: Callable[[], Awaitable[float]]) -> list[float]:
        end = perf_counter() + self._plan.window_s
        found = [await ours()]
        while perf_counter() < end:
            found.append(await ours())
        return found

    async def _beside_appends(self, meanwhile: Callable[[], Awaitable[list[float]]]) -> _Appends:
        load = ClosedLoop(self._world.submit, IN_FLIGHT, self._batches)
        running = asyncio.create_task(load.run(APPEND_S_MAX))
        transfers: list[float] = []
        try:
            transfers = await meanwhile()
        finally:
            load.stop()
            result = await running
        return _Appends(result.batches / result.seconds, transfers)

    # ------------------------------------------------------------ the four transfers

    def _plain_send(self) -> PlainCopy:
        service, source = self._place.service, str(self._export)
        what = "copy" if service is None else "upload"
        return PlainCopy(what, source, self._place.scratch, service)

    def _plain_fetch(self) -> PlainCopy:
        service, source = self._place.service, f"{self._place.snapshots}/{self._newest}"
        what = "copy" if service is None else "download"
        return PlainCopy(what, source, self._place.scratch, service)

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
