"""Tables and documents of snapshots."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from restate_node.ctl.render import Cell, CellLike, Json, Report, Style, Table, size_text
from restate_node.ctl.times import TimeStyle
from restate_node.types.ids import PartitionId
from restate_node.wire.pb.operator_pb2 import RetainedSnapshot

ABSENT = "-"
LIST_COLUMNS = ("P-ID", "SNAPSHOT", "LOG", "MIN-LSN", "CREATED", "SIZE", "FILES", "NODE", "STATUS")
VERIFY_COLUMNS = ("P-ID", "SNAPSHOT", "MIN-LSN", "SIZE", "FILES", "RESULT")


@dataclass(frozen=True, slots=True)
class Listing:
    """What the repository holds of a partition, newest first; or why nobody knows."""

    partition: PartitionId
    snapshots: tuple[RetainedSnapshot, ...]
    error: str | None = None


class VerificationResult(Enum):
    """How the reading of a snapshot ended."""

    OK = "ok"
    BAD = "bad"
    GONE = "gone"
    """Replaced by a newer one before it was read: nothing is wrong."""
    UNKNOWN = "unknown"
    """It could not be read."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one snapshot; the error says what is wrong."""

    partition: PartitionId
    snapshot: RetainedSnapshot
    result: VerificationResult
    error: str | None


_STYLES = {
    VerificationResult.OK: Style.GOOD,
    VerificationResult.BAD: Style.BAD,
    VerificationResult.GONE: Style.PLAIN,
    VerificationResult.UNKNOWN: Style.WARNING,
}


def list_report(listings: Sequence[Listing], times: TimeStyle) -> Report:
    """A row per snapshot, a line for partitions without one, a problem for each bad one."""
    rows: list[tuple[CellLike, ...]] = []
    documents: list[Json] = []
    empty: list[str] = []
    for listing in listings:
        if not listing.snapshots and listing.error is None:
            empty.append(str(listing.partition))
        for snapshot in listing.snapshots:
            rows.append(_row(listing.partition, snapshot, times))
            documents.append(_document(listing.partition, snapshot))
    lines = (f"No snapshot yet of partition(s) {', '.join(empty)}.",) if empty else ()
    tables = (Table(LIST_COLUMNS, tuple(rows)),) if rows else ()
    bad = [
        f"{snapshot.snapshot_id} of partition {listing.partition}: {snapshot.problem}"
        for listing in listings
        for snapshot in listing.snapshots
        if snapshot.HasField("problem")
    ]
    problems = (*_unlisted(listings), *bad)
    return Report({"snapshots": documents}, (*tables, *lines), problems)


def verify_report(
    listings: Sequence[Listing], verdicts: Sequence[Verdict], wanted: Collection[str]
) -> Report:
    """A row per snapshot that was read, a problem for each that is not good."""
    rows = tuple(_verdict_row(verdict) for verdict in verdicts)
    documents: list[Json] = [_verdict_document(verdict) for verdict in verdicts]
    listed = {snapshot.snapshot_id for listing in listings for snapshot in listing.snapshots}
    problems = [
        *_unlisted(listings),
        *(f"{text} is not in the repository" for text in sorted(wanted) if text not in listed),
        *(
            f"{verdict.snapshot.snapshot_id} of partition {verdict.partition}: {verdict.error}"
            for verdict in verdicts
            if verdict.error is not None
        ),
    ]
    good = sum(verdict.result is VerificationResult.OK for verdict in verdicts)
    summary = f"{good} of {len(verdicts)} snapshots are good"
    blocks = (Table(VERIFY_COLUMNS, rows), summary) if rows else (summary,)
    return Report({"snapshots": documents}, blocks, tuple(problems))


def _unlisted(listings: Sequence[Listing]) -> list[str]:
    return [
        f"cannot list the snapshots of partition {listing.partition}: {listing.error}"
        for listing in listings
        if listing.error is not None
    ]


def _row(
    partition: PartitionId, snapshot: RetainedSnapshot, times: TimeStyle
) -> tuple[CellLike, ...]:
    bad = snapshot.HasField("problem")
    return (
        partition,
        snapshot.snapshot_id,
        snapshot.log_id if snapshot.HasField("log_id") else ABSENT,
        snapshot.min_applied_lsn,
        times.moment(snapshot.created_at_ms),
        _size(snapshot),
        snapshot.files if snapshot.HasField("files") else ABSENT,
        snapshot.node_name if snapshot.HasField("node_name") else ABSENT,
        Cell("BAD", Style.BAD) if bad else Cell("COMPLETE", Style.GOOD),
    )


def _document(partition: PartitionId, snapshot: RetainedSnapshot) -> Json:
    return {
        "partition": partition,
        "snapshot_id": snapshot.snapshot_id,
        "log": snapshot.log_id if snapshot.HasField("log_id") else None,
        "min_applied_lsn": snapshot.min_applied_lsn,
        "created_at_ms": snapshot.created_at_ms,
        "size_bytes": snapshot.size_bytes if snapshot.HasField("size_bytes") else None,
        "files": snapshot.files if snapshot.HasField("files") else None,
        "node": snapshot.node_name if snapshot.HasField("node_name") else None,
        "error": snapshot.problem if snapshot.HasField("problem") else None,
    }


def _verdict_row(verdict: Verdict) -> tuple[CellLike, ...]:
    snapshot = verdict.snapshot
    return (
        verdict.partition,
        snapshot.snapshot_id,
        snapshot.min_applied_lsn,
        _size(snapshot),
        snapshot.files if snapshot.HasField("files") else ABSENT,
        Cell(verdict.result.value.upper(), _STYLES[verdict.result]),
    )


def _verdict_document(verdict: Verdict) -> Json:
    snapshot = verdict.snapshot
    return {
        "partition": verdict.partition,
        "snapshot_id": snapshot.snapshot_id,
        "min_applied_lsn": snapshot.min_applied_lsn,
        "size_bytes": snapshot.size_bytes if snapshot.HasField("size_bytes") else None,
        "files": snapshot.files if snapshot.HasField("files") else None,
        "result": verdict.result.value,
        "error": verdict.error,
    }


def _size(snapshot: RetainedSnapshot) -> str:
    return size_text(snapshot.size_bytes) if snapshot.HasField("size_bytes") else ABSENT
