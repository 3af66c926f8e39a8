"""`metadata.json` and `latest.json` of a snapshot repository, as text.

Operators read these files, and Restate's own servers wrote them first: names, order and layout of
the fields are theirs, pretty printed. Two things are ours. Each file of a manifest has a `sha256`,
which other readers ignore. The description of RocksDB's key ranges stays empty, because whoever
restores opens the files together and asks RocksDB.

    latest.json     V2; V1 lacks `log_id` and `retained_snapshots`
    metadata.json   V1

Invariant: whatever the bytes, decoding returns a value or raises CodecError; unknown fields are
ignored, unknown versions are not.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from restate_node.types.ids import LogId, PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import KeyRange
from restate_node.types.snapshots import (
    LatestSnapshot,
    RetainedSnapshot,
    SnapshotFile,
    SnapshotId,
    SnapshotMetadata,
    SnapshotOwner,
)
from restate_node.wire.storage_codec import U16, U32, U63, CodecError, built, u64

MANIFEST_BYTES_MAX: Final = 16 * 1024 * 1024
"""Size of either file."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Shape = TypeVar("Shape")


class _KeyRange(msgspec.Struct):
    start: int
    end: int


class _File(msgspec.Struct, kw_only=True):
    column_family_name: str = ""
    name: str
    directory: str = ""
    size: U63
    level: int = 0
    start_key: str = ""
    end_key: str = ""
    smallest_seqno: int = 0
    largest_seqno: int = 0
    num_entries: int = 0
    num_deletions: int = 0
    sha256: str | UnsetType = UNSET


class _Metadata(msgspec.Struct, kw_only=True):
    version: Literal["V1"] = "V1"
    cluster_name: str
    cluster_fingerprint: int | None = None
    partition_id: U16
    node_name: str
    created_at: str
    snapshot_id: str
    key_range: _KeyRange
    log_id: U32
    min_applied_lsn: U63
    db_comparator_name: str = "leveldb.BytewiseComparator"
    files: list[_File]


class _Retained(msgspec.Struct):
    snapshot_id: str
    min_applied_lsn: U63
    created_at: str
    path: str


class _Latest(msgspec.Struct, kw_only=True):
    version: Literal["V1", "V2"] = "V2"
    partition_id: U16
    log_id: U32 | None = None
    cluster_name: str
    cluster_fingerprint: int | None = None
    node_name: str
    created_at: str
    snapshot_id: str
    min_applied_lsn: U63
    path: str
    retained_snapshots: list[_Retained] = []


def decode_metadata(text: bytes) -> SnapshotMetadata:
    """The manifest of a snapshot; CodecError if it is not one."""
    return built(_shape(text, _Metadata, "metadata.json"), _build_metadata)


def encode_metadata(metadata: SnapshotMetadata) -> bytes:
    """`metadata.json`."""
    owner, snapshot, keys = metadata.owner, metadata.snapshot, metadata.key_range
    return _pretty(
        _Metadata(
            cluster_name=owner.cluster_name,
            cluster_fingerprint=owner.cluster_fingerprint,
            partition_id=owner.partition_id,
            node_name=metadata.node_name,
            created_at=_time_text(snapshot.created_at_ms),
            snapshot_id=str(snapshot.snapshot_id),
            key_range=_KeyRange(keys.start, keys.end),
            log_id=owner.log_id,
            min_applied_lsn=snapshot.min_applied_lsn,
            files=[_file_shape(file) for file in metadata.files],
        )
    )


def decode_latest(text: bytes) -> LatestSnapshot:
    """What is known of a partition's snapshots; CodecError if it is not that."""
    return built(_shape(text, _Latest, "latest.json"), _build_latest)


def encode_latest(latest: LatestSnapshot) -> bytes:
    """`latest.json`."""
    owner, newest = latest.owner, _retained_shape(latest.newest)
    return _pretty(
        _Latest(
            partition_id=owner.partition_id,
            log_id=owner.log_id,
            cluster_name=owner.cluster_name,
            cluster_fingerprint=owner.cluster_fingerprint,
            node_name=latest.node_name,
            created_at=newest.created_at,
            snapshot_id=newest.snapshot_id,
            min_applied_lsn=newest.min_applied_lsn,
            path=newest.path,
            retained_snapshots=[_retained_shape(known) for known in latest.retained],
        )
    )


def _shape(text: bytes, shape: type[Shape], what: str) -> Shape:
    if len(text) > MANIFEST_BYTES_MAX:
        raise CodecError(f"{what} has {len(text)} bytes; the limit is {MANIFEST_BYTES_MAX}")
    try:
        return msgspec.json.decode(text, type=shape)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise CodecError(f"{what} cannot be decoded: {error}") from error


def _pretty(shape: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(shape), indent=2)


def _build_metadata(shape: _Metadata) -> SnapshotMetadata:
    return SnapshotMetadata(
        owner=_build_owner(shape, shape.log_id),
        node_name=shape.node_name,
        snapshot=RetainedSnapshot(
            SnapshotId.parse(shape.snapshot_id),
            Lsn(shape.min_applied_lsn),
            _parse_time(shape.created_at),
        ),
        key_range=KeyRange(shape.key_range.start, shape.key_range.end),
        files=tuple(_build_file(file) for file in shape.files),
    )


def _build_owner(shape: _Metadata | _Latest, log: int) -> SnapshotOwner:
    fingerprint = shape.cluster_fingerprint
    return SnapshotOwner(
        cluster_name=shape.cluster_name,
        cluster_fingerprint=None if fingerprint is None else u64(fingerprint),
        partition_id=PartitionId(shape.partition_id),
        log_id=LogId(log),
    )


def _build_file(shape: _File) -> SnapshotFile:
    digest = None if shape.sha256 is UNSET else shape.sha256
    return SnapshotFile(shape.name.removeprefix("/"), shape.size, digest)


def _file_shape(file: SnapshotFile) -> _File:
    digest = UNSET if file.sha256 is None else file.sha256
    return _File(name="/" + file.name, size=file.size_bytes, sha256=digest)


def _build_latest(shape: _Latest) -> LatestSnapshot:
    newest = _build_retained(shape)
    retained = tuple(_build_retained(known) for known in shape.retained_snapshots)
    if retained and retained[0] != newest:
        raise CodecError(f"latest.json: {newest.path} is not the first of the retained snapshots")
    # A log has the number of its partition; only the first version did not say so.
    log = shape.partition_id if shape.log_id is None else shape.log_id
    return LatestSnapshot(
        owner=_build_owner(shape, log),
        node_name=shape.node_name,
        retained=retained or (newest,),
    )


def _build_retained(shape: _Retained | _Latest) -> RetainedSnapshot:
    known = RetainedSnapshot(
        SnapshotId.parse(shape.snapshot_id),
        Lsn(shape.min_applied_lsn),
        _parse_time(shape.created_at),
    )
    if shape.path != known.path:
        raise CodecError(f"latest.json: path {shape.path[:80]!r} must be {known.path!r}")
    return known


def _retained_shape(known: RetainedSnapshot) -> _Retained:
    return _Retained(
        snapshot_id=str(known.snapshot_id),
        min_applied_lsn=known.min_applied_lsn,
        created_at=_time_text(known.created_at_ms),
        path=known.path,
    )


def _time_text(unix_ms: int) -> str:
    """RFC 3339 in UTC; the fraction as short as it can be."""
    seconds, milliseconds = divmod(unix_ms, 1000)
    moment = _EPOCH + timedelta(seconds=seconds)
    fraction = f".{milliseconds:03}".rstrip("0") if milliseconds else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def _parse_time(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text[:40]!r} is not a time with a zone, such as 2026-11-23T06:32:34Z")
    return (moment - _EPOCH) // timedelta(milliseconds=1)
