"""`restatectl snapshots`: copies of partitions in the snapshot repository.

The leader of a partition writes its snapshot; one that is there already and reaches far enough is
as good as a new one, so asking twice does no harm. Workers read the repository for `list` and
`verify`: operators need no way to it, and no credentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.connection import CallsFailed
from restate_node.ctl.epoch_edits import chosen_partitions
from restate_node.ctl.errors import CtlError
from restate_node.ctl.methods import CREATE_SNAPSHOT, LIST_SNAPSHOTS
from restate_node.ctl.render import Json, Report
from restate_node.ctl.snapshot_checks import verify_all
from restate_node.ctl.snapshot_rows import Listing, list_report, verify_report
from restate_node.types.ids import PartitionId
from restate_node.types.nodes import Role
from restate_node.wire.pb.cluster_ctrl_pb2 import (
    CreatePartitionSnapshotRequest,
    CreatePartitionSnapshotResponse,
)
from restate_node.wire.pb.operator_pb2 import ListSnapshotsRequest, ListSnapshotsResponse

LSN_MAX = (1 << 63) - 1
EVERYTHING = "all"
SNAPSHOT_PREFIX = "snap_"
Answer = CreatePartitionSnapshotResponse | CtlError

app = noun("Snapshots of partitions.")


@command(app, "create-snapshot")
async def create_snapshot(
    session: Session,
    ranges: Annotated[
        list[str] | None, typer.Argument(metavar="[RANGES]", help="0, 1-4, 0-3,7 or all.")
    ] = None,
    partition_id: Annotated[
        list[str] | None, typer.Option("--partition-id", metavar="RANGES", help="The same.")
    ] = None,
    min_lsn: Annotated[
        int | None,
        typer.Option("--min-lsn", "-m", min=1, max=LSN_MAX, help="It must reach this LSN."),
    ] = None,
    trim_log: Annotated[
        bool, typer.Option("--trim-log", "-t", help="Then trim the log up to the snapshot.")
    ] = False,
) -> Report:
    """Publish a snapshot of partitions to the repository that their leaders are configured with.

    Waits up to ten minutes, or --request-timeout. When that is over the leaders go on.

    \b
    Examples:
      restatectl snapshots create-snapshot 0-3
      restatectl snapshots create --trim-log

    \b
    JSON:
      {"snapshots": [{"partition", "snapshot_id", "log", "min_applied_lsn", "error"}]}
    """
    partitions = await _chosen(session, [*(ranges or ()), *(partition_id or ())])

    async def one(partition: PartitionId) -> CreatePartitionSnapshotResponse:
        request = CreatePartitionSnapshotRequest(
            partition_id=partition, min_target_lsn=min_lsn, trim_log=trim_log
        )
        timeout_ms = session.settings.long_request_timeout_ms
        try:
            return await session.cluster.try_each(
                CREATE_SNAPSHOT, request, Role.ADMIN, timeout_ms, ends_at_timeout=True
            )
        except CallsFailed as failed:
            raise (
                CtlError(overdue_text(failed, partition, trim_log)) if failed.timed_out else failed
            ) from None

    return snapshots_report(partitions, await session.cluster.each(partitions, one))


@command(app, "list")
async def list_snapshots(
    session: Session,
    ranges: Annotated[
        list[str] | None, typer.Argument(metavar="[RANGES]", help="0, 1-4, 0-3,7 or all.")
    ] = None,
) -> Report:
    """The snapshots that the repository holds, newest first.

    \b
    Example:
      restatectl snapshots list 0-3

    \b
    JSON:
      {"snapshots": [{"partition", "snapshot_id", "log", "min_applied_lsn", "created_at_ms",
       "size_bytes", "files", "node", "error"}]}
    """
    listings = await _listings(session, await _chosen(session, ranges or ()))
    return list_report(listings, session.times)


@command(app, "verify")
async def verify(
    session: Session,
    subjects: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SNAPSHOTS]", help="snap_1…, partitions such as 0-3, or all."),
    ] = None,
) -> Report:
    """Read every byte of snapshots, and compare lengths and SHA-256 with their manifests.

    A worker reads, and keeps nothing. Progress is shown on stderr; Ctrl-C ends the reading too.
    The exit code is 1 if a snapshot is bad.

    \b
    Examples:
      restatectl snapshots verify
      restatectl snapshots verify snap_1aZ0kRXjJTr0A1PZvNbIDPd

    \b
    JSON:
      {"snapshots": [{"partition", "snapshot_id", "min_applied_lsn", "size_bytes", "files",
       "result", "error"}]}; result is ok, bad, gone or unknown
    """
    ids = {text for text in subjects or () if text.startswith(SNAPSHOT_PREFIX)}
    ranges = [text for text in subjects or () if text not in ids]
    listings = await _listings(session, await _chosen(session, ranges))
    return verify_report(listings, await verify_all(session, listings, ids), ids)


async def _chosen(session: Session, ranges: Sequence[str]) -> list[PartitionId]:
    everything = any(text.strip() == EVERYTHING for text in ranges)
    return await chosen_partitions(session, () if everything else ranges)


async def _listings(session: Session, partitions: Sequence[PartitionId]) -> list[Listing]:
    """What any worker says about each partition."""

    async def one(partition: PartitionId) -> ListSnapshotsResponse:
        return await session.cluster.try_each(
            LIST_SNAPSHOTS, ListSnapshotsRequest(partition_id=partition), Role.WORKER
        )

    answers = await session.cluster.each(partitions, one)
    return [
        Listing(partition, (), str(answer))
        if isinstance(answer, CtlError)
        else Listing(partition, tuple(answer.snapshots))
        for partition, answer in zip(partitions, answers, strict=True)
    ]


def overdue_text(failed: CallsFailed, partition: PartitionId, trim_log: bool) -> str:
    """What happens after the wait is over, and what to do."""
    trimming = ", the log is not trimmed then" if trim_log else ""
    return (
        f"{failed.failures[-1]}; the leader goes on with it{trimming}: see `restatectl snapshots "
        f"list {partition}`, or ask again with a longer --request-timeout"
    )


def snapshots_report(partitions: Sequence[PartitionId], answers: Sequence[Answer]) -> Report:
    """A line per snapshot, a problem per failure."""
    lines: list[str] = []
    documents: list[Json] = []
    problems: list[str] = []
    for partition, answer in zip(partitions, answers, strict=True):
        if isinstance(answer, CtlError):
            problems.append(f"cannot create a snapshot of partition {partition}: {answer}")
            documents.append({"partition": partition, "snapshot_id": None, "error": str(answer)})
            continue
        lines.append(
            f"Snapshot created for partition {partition}: {answer.snapshot_id} "
            f"(log {answer.log_id} @ LSN >= {answer.min_applied_lsn})"
        )
        documents.append(
            {
                "partition": partition,
                "snapshot_id": answer.snapshot_id,
                "log": answer.log_id,
                "min_applied_lsn": answer.min_applied_lsn,
                "error": None,
            }
        )
    return Report({"snapshots": documents}, tuple(lines), tuple(problems))
