"""Snapshots of partitions, as the repository knows them.

    <prefix>/<partition>/latest.json                               LatestSnapshot
    <prefix>/<partition>/lsn_<20 digits>-snap_1…/metadata.json     SnapshotMetadata
    <prefix>/<partition>/lsn_<20 digits>-snap_1…/000024.sst        its files

A snapshot holds the consequences of all records up to `min_applied_lsn`, and perhaps of a few
more: the position is read before the files are exported. It is complete when its manifest,
`metadata.json`, exists, and known when `latest.json` names it; so `latest.json` is written last.

Invariants: the path of a snapshot follows from its position and id; names of files are plain, so
that nothing read from a repository leads out of a directory; retained snapshots are ordered newest
first and there is at least one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

from restate_node.types.ids import LogId, PartitionId
from restate_node.types.offsets import INVALID_LSN, Lsn
from restate_node.types.partitions import KeyRange
from restate_node.types.textual_ids import IdKind, id_text, parse_id, ulid

SNAPSHOT_FILES_MAX: Final = 100_000
RETAINED_SNAPSHOTS_MAX: Final = 1_000
LATEST_FILE: Final = "latest.json"
METADATA_FILE: Final = "metadata.json"

_LSN_DIGITS = 20
_ULID_TIME_SHIFT = 80
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class SnapshotId:
    """A 128-bit id that sorts by the time of its making."""

    value: int

    def __str__(self) -> str:
        return id_text(IdKind.SNAPSHOT, self.value)

    @staticmethod
    def create(unix_ms: int, randomness: int) -> SnapshotId:
        """A new id from the time and 80 random bits."""
        return SnapshotId(ulid(unix_ms, randomness))

    @staticmethod
    def parse(text: str) -> SnapshotId:
        """`snap_1…`; ValueError says what was expected."""
        return SnapshotId(parse_id(IdKind.SNAPSHOT, text))

    @property
    def created_at_ms(self) -> int:
        """When the id was made, in milliseconds since 1970."""
        return self.value >> _ULID_TIME_SHIFT


def snapshot_path(min_applied_lsn: Lsn, snapshot: SnapshotId) -> str:
    """Directory of a snapshot below that of its partition."""
    return f"lsn_{min_applied_lsn:0{_LSN_DIGITS}}-{snapshot}"


def parse_snapshot_path(path: str) -> tuple[Lsn, SnapshotId]:
    """The position and id that a directory's name tells; ValueError says what was expected."""
    position, separator, snapshot = path.removeprefix("lsn_").partition("-")
    digits = position.isascii() and position.isdecimal() and len(position) == _LSN_DIGITS
    if not path.startswith("lsn_") or not separator or not digits:
        raise ValueError(f"{path[:80]!r} is not a snapshot: lsn_<20 digits>-snap_1…")
    return Lsn(int(position)), SnapshotId.parse(snapshot)


@dataclass(frozen=True, slots=True)
class SnapshotFile:
    """One file of a snapshot. Without a digest it was not written by this software."""

    name: str
    size_bytes: int
    sha256: str | None

    def __post_init__(self) -> None:
        if not _FILE_NAME.fullmatch(self.name) or self.name == METADATA_FILE:
            raise ValueError(f"{self.name[:80]!r} is not the plain name of a snapshot's file")
        if self.size_bytes < 0:
            raise ValueError(f"{self.name}: {self.size_bytes} is not a size")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"{self.name}: {self.sha256[:80]!r} is not a SHA-256 in hexadecimal")


@dataclass(frozen=True, slots=True)
class RetainedSnapshot:
    """What `latest.json` tells of one snapshot."""

    snapshot_id: SnapshotId
    min_applied_lsn: Lsn
    created_at_ms: int

    @property
    def path(self) -> str:
        """Its directory, below that of the partition."""
        return snapshot_path(self.min_applied_lsn, self.snapshot_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOwner:
    """Whose snapshots these are. An old file may not know the fingerprint of its cluster."""

    cluster_name: str
    cluster_fingerprint: int | None
    partition_id: PartitionId
    log_id: LogId


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotMetadata:
    """The manifest of one snapshot."""

    owner: SnapshotOwner
    node_name: str
    snapshot: RetainedSnapshot
    key_range: KeyRange
    files: tuple[SnapshotFile, ...]

    def __post_init__(self) -> None:
        names = {file.name for file in self.files}
        if len(names) != len(self.files):
            raise ValueError("two files of the snapshot have one name")
        if len(names) > SNAPSHOT_FILES_MAX:
            raise ValueError(f"{len(names)} files; a snapshot has at most {SNAPSHOT_FILES_MAX}")

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestSnapshot:
    """What is known of the snapshots of one partition."""

    owner: SnapshotOwner
    node_name: str
    """Who published the newest."""
    retained: tuple[RetainedSnapshot, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.retained) <= RETAINED_SNAPSHOTS_MAX:
            raise ValueError(f"{len(self.retained)} retained snapshots; 1 to 1000 are possible")
        for newer, older in pairwise(self.retained):
            if newer.min_applied_lsn < older.min_applied_lsn:
                raise ValueError(f"{older.path} is newer than {newer.path}, which precedes it")

    @property
    def newest(self) -> RetainedSnapshot:
        return self.retained[0]

    @property
    def archived_lsn(self) -> Lsn:
        """Records up to here are in every retained snapshot: none needs them from the log."""
        return min((known.min_applied_lsn for known in self.retained), default=INVALID_LSN)


@dataclass(frozen=True, slots=True)
class BucketDestination:
    """`s3://bucket/prefix`."""

    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class DirectoryDestination:
    """`file:///directory`."""

    directory: str


SnapshotDestination: TypeAlias = BucketDestination | DirectoryDestination


def parse_destination(text: str) -> SnapshotDestination:
    """Where a repository is; ValueError says what was expected."""
    bucket, _, prefix = text.removeprefix("s3://").partition("/")
    if text.startswith("s3://") and bucket:
        return BucketDestination(bucket, prefix.strip("/"))
    directory = text.removeprefix("file://")
    if text.startswith("file:///") and directory.strip("/"):
        return DirectoryDestination(directory)
    raise ValueError(
        f"worker.snapshots.destination = {text!r}: write s3://bucket/prefix or file:///directory"
    )
