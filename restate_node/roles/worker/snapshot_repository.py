"""Snapshots of partitions in an object store that all nodes share.

    publish    files ─▶ metadata.json ─▶ latest.json, by conditional put      known from here on
    download   latest.json ─▶ metadata.json ─▶ files, counted and hashed ─▶ a DownloadedSnapshot
    prune      what latest.json names no longer is deleted in the background, as well as it goes

Several nodes may publish for one partition at once: a leader that does not know yet that it was
deposed, an operator's command beside a periodic one. So `latest.json` changes by compare-and-swap
only, and never to an older position. Who loses reads again: if the winner is at least as new, the
loser removes what it uploaded and reports the winner's snapshot.

Invariants
 1. At every moment, whoever crashes where, `latest.json` is absent or names complete snapshots.
 2. The newest position never falls.
 3. `latest.json` of another cluster, or one that cannot be read, is never overwritten.
 4. Files are deleted only when it is known that `latest.json` does not name their snapshot. A put
    without an answer may have happened: then they stay.
 5. Nothing is handed out before all of its bytes were counted and their SHA-256 was compared. A bad
    newest snapshot is passed over for the one before, with a warning and in the result.

Memory: pieces of at most a mebibyte, for up to `TRANSFERS_MAX` files at a time, besides what the
store itself needs for parts. Digests are taken here, beside the bytes' true source and destination,
so that no proxy, disk or library in between is believed.

Drives `runtime.ports.ObjectStore`; driven by the worker's snapshot tasks and by processors that
start. All methods raise ObjectStoreUnavailable (retry) and ObjectStoreDenied (configuration).
"""

from __future__ import annotations

from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from random import Random
from typing import Final

import structlog

from restate_node.roles.worker.snapshot_errors import (
    ForeignSnapshot,
    NoSnapshot,
    SnapshotCorrupt,
    SnapshotError,
    SnapshotTooOld,
)
from restate_node.roles.worker.snapshot_transfer import (
    Nowhere,
    SnapshotSource,
    SnapshotTarget,
    fetch_files,
    send_files,
)
from restate_node.runtime.ports import (
    Clock,
    IfAbsent,
    IfMatches,
    ObjectStore,
    ObjectStoreError,
    ObjectStoreUnavailable,
    PreconditionFailed,
    PutCondition,
    Unconditional,
)
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types.ids import LogId, PartitionId
from restate_node.types.offsets import INVALID_LSN, Lsn
from restate_node.types.partitions import KeyRange
from restate_node.types.snapshots import (
    LATEST_FILE,
    METADATA_FILE,
    RETAINED_SNAPSHOTS_MAX,
    LatestSnapshot,
    RetainedSnapshot,
    SnapshotId,
    SnapshotMetadata,
    SnapshotOwner,
    parse_snapshot_path,
)
from restate_node.types.textual_ids import fingerprint_text
from restate_node.wire.snapshots import (
    decode_latest,
    decode_metadata,
    encode_latest,
    encode_metadata,
)
from restate_node.wire.storage_codec import CodecError

logger = structlog.get_logger(__name__)

PUBLISH_ATTEMPTS_MAX: Final = 16
"""Lost races for `latest.json` before the caller is asked to try later."""
DOWNLOAD_ROUNDS_MAX: Final = 3
"""How often a list is read again because snapshots of it were pruned meanwhile."""
ORPHAN_AGE_MS_MIN: Final = 24 * 3600 * 1000
"""An unknown snapshot that is younger may still be on its way."""
ORPHANS_MAX: Final = 1_000
"""How many unknown snapshots one round of pruning removes."""
_RANDOM_BITS = 80


@dataclass(frozen=True, slots=True)
class RepositoryIdentity:
    """Whose snapshots the repository holds, and who publishes them here."""

    cluster_name: str
    cluster_fingerprint: int
    node_name: str


@dataclass(frozen=True, slots=True)
class RepositoryPlace:
    """Where in the object store, and how many snapshots of a partition stay there."""

    prefix: str = ""
    num_retained: int = 1


@dataclass(frozen=True, slots=True)
class SnapshotStatus:
    """What the repository holds of a partition. Retained: newest first."""

    latest: RetainedSnapshot
    archived_lsn: Lsn
    retained: tuple[RetainedSnapshot, ...]


@dataclass(frozen=True, slots=True)
class PublishedSnapshot:
    """The result of publishing."""

    snapshot: RetainedSnapshot
    """The new one, or the stored one that made it superfluous."""
    is_new: bool
    status: SnapshotStatus
    uploaded_bytes: int


@dataclass(frozen=True, slots=True)
class BadSnapshot:
    """A snapshot that was passed over."""

    snapshot: RetainedSnapshot
    reason: str


@dataclass(frozen=True, slots=True)
class DownloadedSnapshot:
    """A whole, verified snapshot in the target; `passed_over` are newer ones that were not."""

    metadata: SnapshotMetadata
    passed_over: tuple[BadSnapshot, ...]

    @property
    def min_applied_lsn(self) -> Lsn:
        return self.metadata.snapshot.min_applied_lsn


@dataclass(frozen=True, slots=True)
class ListedSnapshot:
    """One retained snapshot; without its manifest, `problem` says why."""

    snapshot: RetainedSnapshot
    metadata: SnapshotMetadata | None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class _Stored:
    """`latest.json` as it was read."""

    latest: LatestSnapshot | None
    condition: PutCondition


class SnapshotRepository:
    """The snapshots of one cluster."""

    def __init__(
        self,
        objects: ObjectStore,
        place: RepositoryPlace,
        identity: RepositoryIdentity,
        *,
        clock: Clock,
        rng: Random,
        tasks: TaskCenter,
    ) -> None:
        assert place.num_retained >= 1, "at least the newest snapshot is retained"
        self._objects = objects
        self._place = place
        self._identity = identity
        self._clock = clock
        self._rng = rng
        self._tasks = tasks

    async def status(self, partition: PartitionId) -> SnapshotStatus | None:
        """What is there; None when nothing is. Raises ForeignSnapshot, SnapshotCorrupt."""
        stored = await self._read_latest(partition)
        return None if stored.latest is None else _status(stored.latest)

    async def publish(
        self,
        partition: PartitionId,
        source: SnapshotSource,
        *,
        min_applied_lsn: Lsn,
        key_range: KeyRange,
        log_id: LogId,
    ) -> PublishedSnapshot:
        """Store a snapshot, unless one that is as new is there. Raises ForeignSnapshot and
        SnapshotCorrupt without writing anything.

        Cancelled or failed: `latest.json` is valid; uploaded files are removed where that is safe.
        """
        stored = await self._read_latest(partition)
        if stored.latest is not None and stored.latest.newest.min_applied_lsn >= min_applied_lsn:
            return _kept(stored.latest, 0)
        now = self._clock.unix_ms()
        snapshot = RetainedSnapshot(
            SnapshotId.create(now, self._rng.getrandbits(_RANDOM_BITS)), min_applied_lsn, now
        )
        owner = SnapshotOwner(
            cluster_name=self._identity.cluster_name,
            cluster_fingerprint=self._identity.cluster_fingerprint,
            partition_id=partition,
            log_id=log_id,
        )
        uploaded = await self._upload(owner, snapshot, key_range, source)
        return await self._announce(owner, snapshot, uploaded)

    async def download(
        self, partition: PartitionId, target: SnapshotTarget, *, at_least: Lsn | None = None
    ) -> DownloadedSnapshot:
        """Fill `target` with the newest good snapshot that reaches `at_least`.

        Raises NoSnapshot, SnapshotTooOld, SnapshotCorrupt, ForeignSnapshot; then the target is
        empty again.
        """
        needed = INVALID_LSN if at_least is None else at_least
        bad: tuple[BadSnapshot, ...] = ()
        for _ in range(DOWNLOAD_ROUNDS_MAX):
            latest = await self._present_latest(partition)
            if latest.newest.min_applied_lsn < needed:
                raise SnapshotTooOld(latest.newest.min_applied_lsn, needed)
            result = await self._download_any(latest, target, needed)
            if isinstance(result, DownloadedSnapshot):
                return result
            bad = result
            if (await self._present_latest(partition)).retained == latest.retained:
                break
            # Snapshots were pruned under our hands: what was missing may just be outdated.
        raise SnapshotCorrupt(partition, tuple(f"{b.snapshot.path}: {b.reason}" for b in bad))

    async def list_snapshots(self, partition: PartitionId) -> tuple[ListedSnapshot, ...]:
        """Every retained snapshot with its manifest, newest first."""
        retained = await self._retained(partition)
        return tuple([await self._listed(partition, known) for known in retained])

    async def verify(
        self, partition: PartitionId, snapshot: SnapshotId, target: Nowhere
    ) -> ListedSnapshot | None:
        """Read every byte of a snapshot; `problem` is None if it is good. None: not retained, or
        not any more: its files may be on their way out.
        """
        for retained in await self._retained(partition):
            if retained.snapshot_id == snapshot:
                row = await self._verified(
                    partition, await self._listed(partition, retained), target
                )
                if row.problem is None or retained in await self._retained(partition):
                    return row
        return None

    # -- publishing

    async def _upload(
        self,
        owner: SnapshotOwner,
        snapshot: RetainedSnapshot,
        key_range: KeyRange,
        source: SnapshotSource,
    ) -> int:
        """The files, then the manifest; returns the bytes of the files. All or nothing, as well as
        it goes.
        """
        directory = self._key(owner.partition_id, snapshot.path)
        try:
            files = await send_files(self._objects, directory, source)
            metadata = SnapshotMetadata(
                owner=owner,
                node_name=self._identity.node_name,
                snapshot=snapshot,
                key_range=key_range,
                files=files,
            )
            content = encode_metadata(metadata)
            await self._objects.put(f"{directory}/{METADATA_FILE}", content, Unconditional())
        except BaseException:
            # Never announced: nobody can need them, whatever happened (invariant 4).
            self._prune_later(owner.partition_id, (snapshot,))
            raise
        return metadata.size_bytes

    async def _announce(
        self, owner: SnapshotOwner, snapshot: RetainedSnapshot, uploaded_bytes: int
    ) -> PublishedSnapshot:
        """Make the snapshot known, unless a rival's is as new."""
        partition, asked = owner.partition_id, False
        try:
            for _ in range(PUBLISH_ATTEMPTS_MAX):
                stored = await self._read_latest(partition)
                done = self._settled(stored.latest, snapshot, partition, uploaded_bytes)
                if done is not None:
                    return done
                latest = self._with(owner, snapshot, stored.latest)
                asked = True
                if await self._swap(partition, latest, stored.condition):
                    self._evict(partition, stored.latest, latest)
                    return PublishedSnapshot(snapshot, True, _status(latest), uploaded_bytes)
        except BaseException:
            if not asked:
                self._prune_later(partition, (snapshot,))
            raise
        raise ObjectStoreUnavailable(
            f"{LATEST_FILE} of partition {partition} could not be changed in {PUBLISH_ATTEMPTS_MAX}"
            " attempts, others change it or nobody answers: try again later"
        )

    def _settled(
        self,
        latest: LatestSnapshot | None,
        snapshot: RetainedSnapshot,
        partition: PartitionId,
        uploaded_bytes: int,
    ) -> PublishedSnapshot | None:
        """The result, if nothing remains to be written."""
        if latest is None:
            return None
        if snapshot in latest.retained:  # a former put happened, only its answer was lost
            return PublishedSnapshot(snapshot, True, _status(latest), uploaded_bytes)
        if latest.newest.min_applied_lsn < snapshot.min_applied_lsn:
            return None
        # What any former put of ours was conditioned on is gone: it cannot happen any more.
        self._prune_later(partition, (snapshot,))
        return _kept(latest, uploaded_bytes)

    def _with(
        self, owner: SnapshotOwner, snapshot: RetainedSnapshot, stored: LatestSnapshot | None
    ) -> LatestSnapshot:
        known = () if stored is None else stored.retained
        return LatestSnapshot(
            owner=owner,
            node_name=self._identity.node_name,
            retained=(snapshot, *known)[: min(self._place.num_retained, RETAINED_SNAPSHOTS_MAX)],
        )

    async def _swap(
        self, partition: PartitionId, latest: LatestSnapshot, condition: PutCondition
    ) -> bool:
        """Whether it was written for certain; if not, read it again."""
        key = self._key(partition, LATEST_FILE)
        try:
            await self._objects.put(key, encode_latest(latest), condition)
        except (PreconditionFailed, ObjectStoreUnavailable) as error:
            logger.info("latest.json not replaced; reading it again", key=key, reason=str(error))
            return False
        return True

    # -- downloading

    async def _download_any(
        self, latest: LatestSnapshot, target: SnapshotTarget, needed: Lsn
    ) -> DownloadedSnapshot | tuple[BadSnapshot, ...]:
        """The newest that is good and new enough, or what is wrong with all of them."""
        bad: list[BadSnapshot] = []
        for snapshot in latest.retained:
            if snapshot.min_applied_lsn < needed:
                bad.append(BadSnapshot(snapshot, f"is older than the LSN {needed} that is needed"))
                continue
            await target.clear()
            try:
                metadata = await self._download(latest.owner.partition_id, snapshot, target)
            except BaseException:
                await target.clear()
                raise
            if isinstance(metadata, SnapshotMetadata):
                return DownloadedSnapshot(metadata, tuple(bad))
            bad.append(BadSnapshot(snapshot, metadata))
            logger.warning(
                "snapshot is bad; trying the one before it",
                partition=latest.owner.partition_id,
                snapshot=str(snapshot.snapshot_id),
                min_applied_lsn=snapshot.min_applied_lsn,
                reason=metadata,
            )
        await target.clear()
        return tuple(bad)

    async def _download(
        self, partition: PartitionId, snapshot: RetainedSnapshot, target: SnapshotTarget
    ) -> SnapshotMetadata | str:
        """The manifest, once all its files are in the target; or what is wrong."""
        metadata = await self._manifest(partition, snapshot)
        if isinstance(metadata, str):
            return metadata
        directory = self._key(partition, snapshot.path)
        problems = await fetch_files(self._objects, directory, metadata.files, target)
        return "; ".join(problems) if problems else metadata

    async def _manifest(
        self, partition: PartitionId, snapshot: RetainedSnapshot
    ) -> SnapshotMetadata | str:
        """The manifest of a snapshot, or what is wrong with it."""
        stored = await self._objects.get(self._key(partition, snapshot.path, METADATA_FILE))
        if stored is None:
            return f"{METADATA_FILE} is missing"
        try:
            metadata = decode_metadata(stored.content)
        except CodecError as error:
            return f"{METADATA_FILE}: {error}"
        if metadata.owner.partition_id != partition or not self._is_ours(metadata.owner):
            return f"{METADATA_FILE} belongs to {_owner_text(metadata.owner)}"
        found = metadata.snapshot
        if found.path != snapshot.path:
            return f"{METADATA_FILE} is that of {found.path}"
        return metadata

    async def _listed(self, partition: PartitionId, snapshot: RetainedSnapshot) -> ListedSnapshot:
        metadata = await self._manifest(partition, snapshot)
        if isinstance(metadata, str):
            return ListedSnapshot(snapshot, None, metadata)
        return ListedSnapshot(snapshot, metadata)

    async def _retained(self, partition: PartitionId) -> tuple[RetainedSnapshot, ...]:
        latest = (await self._read_latest(partition)).latest
        return () if latest is None else latest.retained

    async def _verified(
        self, partition: PartitionId, row: ListedSnapshot, target: Nowhere
    ) -> ListedSnapshot:
        if row.metadata is None:
            return row
        directory = self._key(partition, row.snapshot.path)
        problems = await fetch_files(
            self._objects, directory, row.metadata.files, target, to_the_end=True
        )
        return replace(row, problem="; ".join(problems) or None)

    # -- latest.json

    async def _present_latest(self, partition: PartitionId) -> LatestSnapshot:
        stored = await self._read_latest(partition)
        if stored.latest is None:
            raise NoSnapshot(partition)
        return stored.latest

    async def _read_latest(self, partition: PartitionId) -> _Stored:
        """`latest.json`, checked, and the condition under which it may be replaced."""
        key = self._key(partition, LATEST_FILE)
        stored = await self._objects.get(key)
        if stored is None:
            return _Stored(None, IfAbsent())
        try:
            latest = decode_latest(stored.content)
        except CodecError as error:
            raise SnapshotCorrupt(partition, (f"{key}: {error}",)) from error
        if not self._is_ours(latest.owner):
            ours = f"cluster {self._identity.cluster_name!r}"
            ours += f" ({fingerprint_text(self._identity.cluster_fingerprint)})"
            raise ForeignSnapshot(partition, _owner_text(latest.owner), ours)
        if latest.owner.partition_id != partition:
            raise SnapshotCorrupt(partition, (f"{key}: is of {_owner_text(latest.owner)}",))
        return _Stored(latest, IfMatches(stored.etag))

    def _is_ours(self, owner: SnapshotOwner) -> bool:
        fingerprint = owner.cluster_fingerprint
        return owner.cluster_name == self._identity.cluster_name and (
            fingerprint is None or fingerprint == self._identity.cluster_fingerprint
        )

    # -- pruning

    def _evict(
        self, partition: PartitionId, before: LatestSnapshot | None, after: LatestSnapshot
    ) -> None:
        known = () if before is None else before.retained
        evicted = tuple(old for old in known if old not in after.retained)
        self._prune_later(partition, evicted)
        name = f"sweep snapshots of partition {partition}"
        self._tasks.spawn(TaskKind.BACKGROUND, name, self._sweep(partition))

    def _prune_later(self, partition: PartitionId, snapshots: tuple[RetainedSnapshot, ...]) -> None:
        for snapshot in snapshots:
            name = f"prune {snapshot.snapshot_id} of partition {partition}"
            self._tasks.spawn(TaskKind.BACKGROUND, name, self._prune(partition, snapshot.path))

    async def _prune(self, partition: PartitionId, path: str) -> None:
        """Remove a snapshot, its manifest first: without one nobody takes the rest for whole."""
        directory = self._key(partition, path)
        try:
            await self._objects.delete(f"{directory}/{METADATA_FILE}")
            async with aclosing(self._objects.list_objects(f"{directory}/")) as listed:
                keys = [row.key async for row in listed]
            for key in keys:
                await self._objects.delete(key)
        except ObjectStoreError as error:
            logger.info(
                "snapshot not removed; a later sweep will", path=directory, reason=str(error)
            )

    async def _sweep(self, partition: PartitionId) -> None:
        """Remove what nodes that crashed have left: unknown, and too old to be on its way."""
        oldest_ms = self._clock.unix_ms() - ORPHAN_AGE_MS_MIN
        try:
            paths = await self._paths(partition)
            latest = (await self._read_latest(partition)).latest
        except (ObjectStoreError, SnapshotError) as error:
            logger.info("snapshots not swept", partition=partition, reason=str(error))
            return
        known = () if latest is None else latest.retained
        for path in sorted(paths - {snapshot.path for snapshot in known})[:ORPHANS_MAX]:
            if parse_snapshot_path(path)[1].created_at_ms < oldest_ms:
                await self._prune(partition, path)

    async def _paths(self, partition: PartitionId) -> set[str]:
        """The directories of snapshots that are there, known or not."""
        above = self._key(partition, "")
        paths: set[str] = set()
        async with aclosing(self._objects.list_objects(above)) as listed:
            async for row in listed:
                path = row.key.removeprefix(above).split("/")[0]
                with suppress(ValueError):
                    parse_snapshot_path(path)
                    paths.add(path)
        return paths

    def _key(self, partition: PartitionId, *below: str) -> str:
        prefix = (self._place.prefix,) if self._place.prefix else ()
        return "/".join((*prefix, str(partition), *below))


def _status(latest: LatestSnapshot) -> SnapshotStatus:
    return SnapshotStatus(latest.newest, latest.archived_lsn, latest.retained)


def _kept(latest: LatestSnapshot, uploaded_bytes: int) -> PublishedSnapshot:
    return PublishedSnapshot(latest.newest, False, _status(latest), uploaded_bytes)


def _owner_text(owner: SnapshotOwner) -> str:
    fingerprint = owner.cluster_fingerprint
    mark = "" if fingerprint is None else f" ({fingerprint_text(fingerprint)})"
    return f"partition {owner.partition_id} of cluster {owner.cluster_name!r}{mark}"
