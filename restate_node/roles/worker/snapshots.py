"""Takes snapshots of one partition, and knows which ones there are.

    operator, or policy ─▶ applied LSN ─▶ flush ─▶ checkpoint db-snapshots/<p>/<id>
                                              ─▶ repository.publish ─▶ directory removed

The position is read before the export: the files hold at least the records up to it. Applying goes
on meanwhile; the checkpoint consists of links and is made in milliseconds. At most
`export-concurrency-limit` partitions of a node are exported at a time, and each once at a time.

A follower takes none, but asks the repository now and then what is there: an operator sees how far
the partition is archived wherever it runs, and a new leader starts from knowledge.

Drives `protocol.snapshot_policy`; `run` is a task of one life of a processor and survives whatever
the repository does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from restate_node.protocol.snapshot_policy import NewestSnapshot, SnapshotPolicy, is_due
from restate_node.roles.worker.context import WorkerContext
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.roles.worker.snapshot_errors import SnapshotError
from restate_node.roles.worker.snapshot_repository import SnapshotRepository, SnapshotStatus
from restate_node.roles.worker.snapshot_transfer import Fill, SourceFile
from restate_node.runtime.ports import Disk, ObjectStoreError, Pieces, StoreError
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import Partition
from restate_node.types.snapshots import RetainedSnapshot, SnapshotId

logger = structlog.get_logger(__name__)

EXPORTS: Final = "db-snapshots"
DOWNLOADS: Final = "pp-snapshots"
CHECK_INTERVAL_S: Final = 1.0
REFRESH_INTERVAL_S: Final = 30.0
_RANDOM_BITS: Final = 80

SNAPSHOT_FAILURES: Final = (SnapshotError, ObjectStoreError, StoreError)
"""What may go wrong with a snapshot; the processor is well all the same."""


class TargetNotReached(SnapshotError):
    """The partition has not applied what the snapshot shall hold."""


class DiskDirectory:
    """A directory of the disk, as source and target of a transfer."""

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self.path = path

    def files(self) -> Sequence[SourceFile]:
        """By name."""
        return [SourceFile(file.name, file.size_bytes) for file in self._disk.list_files(self.path)]

    def read(self, name: str) -> Pieces:
        """One file."""
        return self._disk.read_pieces(f"{self.path}/{name}")

    async def write(self, name: str, fill: Fill) -> None:
        """One file, whole or not at all."""
        await self._disk.write_pieces(f"{self.path}/{name}", fill)

    async def clear(self) -> None:
        """Remove the directory."""
        await self._disk.discard(self.path)


def remove_leftovers(disk: Disk) -> None:
    """Remove what a former process exported or downloaded. Raises StoreError."""
    disk.remove_tree(EXPORTS)
    disk.remove_tree(DOWNLOADS)


class PartitionSnapshots:
    """One life of a processor, as far as snapshots are concerned."""

    def __init__(
        self,
        partition: Partition,
        store: PartitionStore,
        context: WorkerContext,
        repository: SnapshotRepository,
    ) -> None:
        options = context.options.snapshots
        self._partition = partition
        self._store = store
        self._context = context
        self._repository = repository
        self._policy = SnapshotPolicy(
            options.snapshot_interval_ms, options.snapshot_interval_num_records
        )
        self._jitter = context.rng.random()
        self._creating = asyncio.Lock()
        self._status: SnapshotStatus | None = None
        self._is_known = False

    @property
    def archived(self) -> Lsn | None:
        """Every retained snapshot holds the records up to here; None when that is not known."""
        return None if self._status is None else self._status.archived_lsn

    async def create(self, at_least: Lsn | None) -> RetainedSnapshot:
        """A snapshot of what is applied now, or one that is as good: as new, or reaching
        `at_least`. Raises SNAPSHOT_FAILURES. Cancellation-safe.
        """
        async with self._creating:
            applied = self._store.applied
            status = await self._refresh()
            wanted = applied if at_least is None else at_least
            if status is not None and status.latest.min_applied_lsn >= wanted:
                return status.latest
            if at_least is not None and applied < at_least:
                text = f"Applied LSN below the target LSN: {applied} < {at_least}"
                raise TargetNotReached(f"{text} for partition {self._partition.id}")
            async with self._context.exporting:
                return await self._publish()

    async def run(self, may_export: Callable[[], bool]) -> None:
        """Until cancelled: look into the repository, and take snapshots as the policy wants while
        `may_export` says so.
        """
        refresh_at = 0.0
        while True:
            now = self._context.clock.monotonic()
            if now >= refresh_at:
                refresh_at = now + REFRESH_INTERVAL_S
                await self._attempt("repository cannot be read", self._refresh)
            if self._is_known and may_export() and self._is_due():
                # After a failure, not before the next look into the repository.
                self._is_known = await self._attempt("snapshot failed", lambda: self.create(None))
            await asyncio.sleep(CHECK_INTERVAL_S * self._context.rng.uniform(0.7, 1.3))

    # ------------------------------------------------------------ inside

    def _is_due(self) -> bool:
        newest = None
        if self._status is not None:
            latest = self._status.latest
            newest = NewestSnapshot(latest.min_applied_lsn, latest.created_at_ms)
        now_ms = self._context.clock.unix_ms()
        applied = self._store.applied
        return is_due(self._policy, applied, newest, now_ms=now_ms, jitter=self._jitter)

    async def _attempt(self, trouble: str, work: Callable[[], Awaitable[object]]) -> bool:
        try:
            await work()
        except SNAPSHOT_FAILURES as error:
            logger.warning(trouble, partition=self._partition.id, reason=str(error))
            return False
        return True

    async def _refresh(self) -> SnapshotStatus | None:
        self._status = await self._repository.status(self._partition.id)
        self._is_known = True
        return self._status

    async def _publish(self) -> RetainedSnapshot:
        disk, number = self._context.disk, self._partition.id
        export = SnapshotId.create(
            self._context.clock.unix_ms(), self._context.rng.getrandbits(_RANDOM_BITS)
        )
        directory = DiskDirectory(disk, f"{EXPORTS}/{number}/{export}")
        try:
            applied = await self._store.export(directory.path)
            published = await self._repository.publish(
                number,
                directory,
                min_applied_lsn=applied,
                key_range=self._partition.key_range,
                log_id=self._partition.log_id,
            )
        finally:
            with suppress(StoreError):  # The next start removes what stays.
                await directory.clear()
        self._status = published.status
        self._jitter = self._context.rng.random()
        logger.info(
            "snapshot published" if published.is_new else "a newer snapshot was there already",
            partition=number,
            snapshot=str(published.snapshot.snapshot_id),
            min_applied_lsn=published.snapshot.min_applied_lsn,
            uploaded_bytes=published.uploaded_bytes,
        )
        return published.snapshot
