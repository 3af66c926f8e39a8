"""The files of a snapshot repository, against captures and known variants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from restate_node.types.ids import LogId, PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import KeyRange
from restate_node.types.snapshots import (
    BucketDestination,
    DirectoryDestination,
    LatestSnapshot,
    RetainedSnapshot,
    SnapshotDestination,
    SnapshotFile,
    SnapshotId,
    SnapshotMetadata,
    SnapshotOwner,
    parse_destination,
    parse_snapshot_path,
    snapshot_path,
)
from restate_node.wire.snapshots import (
    decode_latest,
    decode_metadata,
    encode_latest,
    encode_metadata,
)
from restate_node.wire.storage_codec import CodecError

BLOBS = Path(__file__).parent / "blobs"
LATEST = (BLOBS / "snapshot.latest.json").read_bytes()
METADATA = (BLOBS / "snapshot.metadata.json").read_bytes()
ID = "snap_17op0PXFljudLYovIZXUzrr"
PATH = f"lsn_00000000000000000002-{ID}"
CREATED_AT_MS = 1_795_415_554_760
NEWEST = RetainedSnapshot(SnapshotId.parse(ID), Lsn(2), CREATED_AT_MS)
OWNER = SnapshotOwner(
    cluster_name="wirecluster",
    cluster_fingerprint=4989210178335055056,
    partition_id=PartitionId(0),
    log_id=LogId(0),
)
ONLY_ROCKSDB_READS = (
    *("directory", "start_key", "end_key", "level"),
    *("smallest_seqno", "largest_seqno", "num_entries", "num_deletions"),
)


def changed(blob: bytes, **fields: Any) -> bytes:
    """The capture with other fields; None removes one."""
    kept = {**json.loads(blob), **fields}
    return json.dumps({key: value for key, value in kept.items() if value is not None}).encode()


def test_captured_latest_both_ways() -> None:
    """Goal: `latest.json` is byte-equal to what others write. How: decode and encode a capture."""
    latest = decode_latest(LATEST)
    assert latest == LatestSnapshot(owner=OWNER, node_name="wire-1", retained=(NEWEST,))
    assert encode_latest(latest) == LATEST
    assert latest.archived_lsn == 2


def test_captured_manifest_both_ways() -> None:
    """Goal: `metadata.json` has all fields, in order. How: a capture, less what RocksDB reads."""
    metadata = decode_metadata(METADATA)
    assert metadata == SnapshotMetadata(
        owner=OWNER,
        node_name="wire-1",
        snapshot=NEWEST,
        key_range=KeyRange(0, 4611686018427387903),
        files=(SnapshotFile("000024.sst", 1609, None),),
    )
    expected, encoded = json.loads(METADATA), json.loads(encode_metadata(metadata))
    assert list(encoded) == list(expected)
    assert list(encoded["files"][0]) == list(expected["files"][0])
    for field in ONLY_ROCKSDB_READS:
        del encoded["files"][0][field], expected["files"][0][field]
    assert encoded == expected


def test_a_manifest_of_ours_carries_digests() -> None:
    """Goal: digests come back, and others' fields are kept. How: encode, decode, compare."""
    metadata = SnapshotMetadata(
        owner=OWNER,
        node_name="n",
        snapshot=NEWEST,
        key_range=KeyRange(0, (1 << 64) - 1),
        files=(SnapshotFile("CURRENT", 16, "a" * 64), SnapshotFile("000001.sst", 0, "b" * 64)),
    )
    assert decode_metadata(encode_metadata(metadata)) == metadata
    assert b'"sha256": "aaaa' in encode_metadata(metadata)
    assert metadata.size_bytes == 16


def test_first_version_of_latest() -> None:
    """Goal: repositories of old servers are read. How: the capture without the newer fields."""
    old = changed(LATEST, version="V1", log_id=None, retained_snapshots=None)
    assert decode_latest(old) == decode_latest(LATEST)
    assert decode_latest(changed(old, cluster_fingerprint=None)).owner.cluster_fingerprint is None


def test_several_retained() -> None:
    """Goal: the archived LSN is that of the oldest. How: three snapshots, encoded and decoded."""
    retained = tuple(
        RetainedSnapshot(SnapshotId.create(second * 1000, second), Lsn(second), second * 1000)
        for second in (30, 20, 10)
    )
    latest = LatestSnapshot(owner=OWNER, node_name="n", retained=retained)
    assert decode_latest(encode_latest(latest)) == latest
    assert (latest.newest.min_applied_lsn, latest.archived_lsn) == (30, 10)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2026-11-23T06:32:34.76Z", 760),
        ("2026-11-23T06:32:34.760999999Z", 760),
        ("2026-11-23T08:32:34.001+02:00", 1),
        ("2026-11-23T06:32:34Z", 0),
    ],
)
def test_times(text: str, milliseconds: int) -> None:
    """Goal: times of other writers are read. How: fractions and zones of several lengths."""
    row = {**json.loads(LATEST)["retained_snapshots"][0], "created_at": text}
    decoded = decode_latest(changed(LATEST, created_at=text, retained_snapshots=[row]))
    assert decoded.newest.created_at_ms == CREATED_AT_MS - 760 + milliseconds


FILE = json.loads(METADATA)["files"][0]
BAD_LATEST: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b"\xff\xfe",
    b"[" * 100_000,
    LATEST[:-2],
    changed(LATEST, version="V3"),
    changed(LATEST, path="../../etc"),
    changed(LATEST, path=f"lsn_00000000000000000003-{ID}"),
    changed(LATEST, snapshot_id="snap_1short"),
    changed(LATEST, min_applied_lsn=-1),
    changed(LATEST, min_applied_lsn="2"),
    changed(LATEST, created_at="yesterday"),
    changed(LATEST, created_at="2026-11-23T06:32:34"),
    changed(LATEST, cluster_fingerprint=1 << 64),
    changed(LATEST, retained_snapshots=[{}]),
    changed(LATEST, partition_id=1 << 16),
]
BAD_METADATA: list[bytes] = [
    b"null",
    changed(METADATA, version="V2"),
    changed(METADATA, key_range={"start": 2, "end": 1}),
    changed(METADATA, files=[FILE, FILE]),
    *(
        changed(METADATA, files=[{**FILE, **wrong}])
        for wrong in (
            {"name": "/../x"},
            {"name": "/a/b"},
            {"name": "/"},
            {"name": "/.hidden"},
            {"name": "/metadata.json"},
            {"name": "//etc"},
            {"size": -1},
            {"sha256": "A" * 64},
            {"sha256": None},
        )
    ),
]


@pytest.mark.parametrize("text", BAD_LATEST)
def test_bad_latest_is_refused(text: bytes) -> None:
    """Goal: nothing but CodecError, and no path leads away. How: cut, wrong and hostile files."""
    with pytest.raises(CodecError):
        decode_latest(text)


@pytest.mark.parametrize("text", BAD_METADATA)
def test_bad_manifests_are_refused(text: bytes) -> None:
    """Goal: nothing but CodecError, and no name leads away. How: wrong and hostile manifests."""
    with pytest.raises(CodecError):
        decode_metadata(text)


def test_every_cut_is_noticed() -> None:
    """Goal: half a file is never a file. How: every prefix of the captures."""
    for length in range(len(LATEST)):
        with pytest.raises(CodecError):
            decode_latest(LATEST[:length])


def test_paths_of_snapshots() -> None:
    """Goal: names of directories sort by position. How: both ways, and what is no such name."""
    assert snapshot_path(Lsn(2), SnapshotId.parse(ID)) == PATH
    assert parse_snapshot_path(PATH) == (2, SnapshotId.parse(ID))
    wrong = ("", "lsn_2-" + ID, PATH[4:], PATH[:-1], PATH.replace("2-", "x-"), f"{PATH}/..")
    for path in wrong:
        with pytest.raises(ValueError):
            parse_snapshot_path(path)


def test_ids_tell_their_time() -> None:
    """Goal: ids sort by time. How: the captured id, and two made a millisecond apart."""
    assert abs(SnapshotId.parse(ID).created_at_ms - CREATED_AT_MS) < 1000
    assert SnapshotId.create(5, (1 << 80) - 1) < SnapshotId.create(6, 0)


@pytest.mark.parametrize(
    ("text", "destination"),
    [
        ("s3://bucket", BucketDestination("bucket", "")),
        ("s3://bucket/a/b/", BucketDestination("bucket", "a/b")),
        ("file:///mnt/snapshots", DirectoryDestination("/mnt/snapshots")),
    ],
)
def test_destinations(text: str, destination: SnapshotDestination) -> None:
    """Goal: both kinds of repository. How: a table."""
    assert parse_destination(text) == destination


@pytest.mark.parametrize("text", ["", "s3://", "s3:///x", "file://x", "file:///", "gs://b", "b"])
def test_bad_destinations(text: str) -> None:
    """Goal: the message names the option. How: what is neither kind."""
    with pytest.raises(ValueError, match=r"worker\.snapshots\.destination"):
        parse_destination(text)
