"""Verifying snapshots one after the other, with progress."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from restate_node.ctl.command import Session
from restate_node.ctl.connection import CallsFailed
from restate_node.ctl.errors import CtlError
from restate_node.ctl.methods import VERIFY_SNAPSHOT
from restate_node.ctl.progress import Progress
from restate_node.ctl.snapshot_rows import Listing, Verdict, VerificationResult
from restate_node.types.ids import PartitionId
from restate_node.types.nodes import Role
from restate_node.wire.pb.operator_pb2 import (
    RetainedSnapshot,
    VerifySnapshotRequest,
    VerifySnapshotResponse,
)


async def verify_all(
    session: Session, listings: Sequence[Listing], only: Collection[str]
) -> list[Verdict]:
    """One snapshot at a time: a worker reads several files of it at once already."""
    chosen = [
        (listing.partition, snapshot)
        for listing in listings
        for snapshot in listing.snapshots
        if not only or snapshot.snapshot_id in only
    ]
    verdicts: list[Verdict] = []
    for number, (partition, snapshot) in enumerate(chosen, start=1):
        label = f"[{number}/{len(chosen)}] partition {partition}, {snapshot.snapshot_id}"
        progress = Progress(label)
        verdict = await _verify(session, partition, snapshot, progress)
        progress.end(verdict.result.value)
        verdicts.append(verdict)
    return verdicts


async def _verify(
    session: Session, partition: PartitionId, listed: RetainedSnapshot, progress: Progress
) -> Verdict:
    found: list[RetainedSnapshot] = []
    total = listed.size_bytes if listed.HasField("size_bytes") else None

    def take(response: VerifySnapshotResponse) -> None:
        if response.HasField("verdict"):
            found.append(response.verdict)
        else:
            progress.show(response.read_bytes, total)

    request = VerifySnapshotRequest(partition_id=partition, snapshot_id=listed.snapshot_id)
    try:
        await session.cluster.follow_any(VERIFY_SNAPSHOT, request, Role.WORKER, take)
    except CallsFailed as failed:
        gone = failed.last_is("NOT_FOUND")
        result = VerificationResult.GONE if gone else VerificationResult.UNKNOWN
        return Verdict(partition, listed, result, None if gone else str(failed))
    except CtlError as error:
        return Verdict(partition, listed, VerificationResult.UNKNOWN, str(error))
    if not found:
        return Verdict(partition, listed, VerificationResult.UNKNOWN, "no verdict came")
    if found[-1].HasField("problem"):
        return Verdict(partition, found[-1], VerificationResult.BAD, found[-1].problem)
    return Verdict(partition, found[-1], VerificationResult.OK, None)
