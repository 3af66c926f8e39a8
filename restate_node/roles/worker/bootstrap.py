"""Where a processor takes its state from before it opens its store.

    store here, no gap known      open it; the log has the rest
    no store                      the newest snapshot if there is one, else begin empty
    trim gap up to LSN x          a snapshot that reaches x, in place of the store

    repository ─▶ pp-snapshots/<p>, verified ─▶ db/<p> moved aside ─▶ renamed to db/<p> ─▶ opened

A gap is never skipped: without a snapshot that bridges it the processor is parked, says what is
missing in the words of the operations manual, and tries again. The old store goes only when the new
state is here, whole; after a crash in between there is no store, which is the second case.

To begin empty is always right: the log tells everything, or that it was trimmed.

Driven by the processor, before each of its lives.
"""

from __future__ import annotations

import structlog

from restate_node.roles.worker.context import WorkerContext
from restate_node.roles.worker.errors import (
    CannotProceed,
    NoRepository,
    NoSnapshotAvailable,
    SnapshotBeforeTarget,
    TrimGapEncountered,
    UnusableSnapshot,
)
from restate_node.roles.worker.partition_store import PartitionStore, store_path
from restate_node.roles.worker.snapshot_errors import NoSnapshot, SnapshotError, SnapshotTooOld
from restate_node.roles.worker.snapshot_repository import DownloadedSnapshot, SnapshotRepository
from restate_node.roles.worker.snapshots import DOWNLOADS, DiskDirectory
from restate_node.runtime.ports import ObjectStoreError
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import Partition

logger = structlog.get_logger(__name__)


class Bootstrap:
    """Of one processor, over all its lives."""

    def __init__(self, partition: Partition, context: WorkerContext) -> None:
        self._partition = partition
        self._context = context
        self._target: Lsn | None = None
        """The log begins after this record."""

    def explain(self, gap: TrimGapEncountered) -> Exception:
        """Remember the gap; what to tell of it."""
        self._target = gap.last
        return NoRepository() if self._context.snapshots is None else gap

    async def run(self) -> None:
        """Have a store that can go on, or none. Raises CannotProceed, StoreError. When cancelled,
        the store is the old one, the new one, or gone.
        """
        repository = self._context.snapshots
        if self._target is not None:
            if repository is None:
                raise NoRepository
            await self._bridge(repository, self._target)
        elif repository is not None and not self._has_store():
            await self._begin(repository)

    def opened(self, store: PartitionStore) -> None:
        """The gap is behind us when the store has reached its end."""
        if self._target is not None and store.applied >= self._target:
            self._target = None

    # ------------------------------------------------------------ inside

    def _has_store(self) -> bool:
        return self._context.disk.exists(store_path(self._partition.id))

    async def _begin(self, repository: SnapshotRepository) -> None:
        number = self._partition.id
        try:
            await self._fetch(repository, None)
        except NoSnapshot:
            logger.info("no snapshot: begins with an empty store", partition=number)
        except (SnapshotError, ObjectStoreError, UnusableSnapshot) as error:
            logger.warning("begins with an empty store", partition=number, reason=str(error))

    async def _bridge(self, repository: SnapshotRepository, target: Lsn) -> None:
        try:
            await self._fetch(repository, target)
        except NoSnapshot:
            raise NoSnapshotAvailable from None
        except SnapshotTooOld:
            raise SnapshotBeforeTarget from None
        except (SnapshotError, ObjectStoreError) as error:
            raise CannotProceed(f"no snapshot beyond LSN {target}: {error}") from None

    async def _fetch(self, repository: SnapshotRepository, target: Lsn | None) -> None:
        """Download, check, swap. Raises SnapshotError, ObjectStoreError, UnusableSnapshot."""
        directory = DiskDirectory(self._context.disk, f"{DOWNLOADS}/{self._partition.id}")
        async with self._context.downloading:
            await directory.clear()
            logger.info("looks for a snapshot", partition=self._partition.id, target_lsn=target)
            found = await repository.download(self._partition.id, directory, at_least=target)
        self._check(found)
        await self._swap(directory, found)

    def _check(self, found: DownloadedSnapshot) -> None:
        theirs, ours = found.metadata.key_range, self._partition.key_range
        if theirs != ours:
            snapshot = found.metadata.snapshot.snapshot_id
            raise UnusableSnapshot(f"{snapshot} holds keys {theirs}, this partition {ours}")

    async def _swap(self, directory: DiskDirectory, found: DownloadedSnapshot) -> None:
        """In one turn of the loop: the store is closed, and nobody opens it meanwhile. The old one
        is moved aside first, for to remove it takes long.
        """
        disk, place = self._context.disk, store_path(self._partition.id)
        aside = f"{directory.path}-replaced"
        disk.remove_tree(aside)
        if disk.exists(place):
            disk.rename(place, aside)
        disk.rename(directory.path, place)
        await disk.discard(aside)
        logger.info(
            "Downloaded partition snapshot: it replaces the local store",
            partition=self._partition.id,
            snapshot=str(found.metadata.snapshot.snapshot_id),
            min_applied_lsn=found.min_applied_lsn,
            size_bytes=found.metadata.size_bytes,
            passed_over=[str(bad.snapshot.snapshot_id) for bad in found.passed_over],
        )
