"""`restatectl snapshots`: copies of partitions in the snapshot repository.

The leader of a partition writes its snapshot; one that is there already and reaches far enough is
as good as a new one, so asking twice does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.epoch_edits import chosen_partitions
from restate_node.ctl.errors import CtlError
from restate_node.ctl.methods import CREATE_SNAPSHOT
from restate_node.ctl.render import Json, Report
from restate_node.types.ids import PartitionId
from restate_node.types.nodes import Role
from restate_node.wire.pb.cluster_ctrl_pb2 import (
    CreatePartitionSnapshotRequest,
    CreatePartitionSnapshotResponse,
)

LSN_MAX = (1 << 63) - 1
Answer = CreatePartitionSnapshotResponse | CtlError

app = noun("Snapshots of partitions.")


@command(app, "create-snapshot")
async def create_snapshot(
    session: Session,
    ranges: Annotated[
        list[str] | None, typer.Argument(metavar="[RANGES]", help="0, 1-4 or 0-3,7; else all.")
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

    A large partition takes long: see --request-timeout. The upload goes on after a timeout.

    \b
    Examples:
      restatectl snapshots create-snapshot 0-3
      restatectl snapshots create --trim-log

    \b
    JSON:
      {"snapshots": [{"partition", "snapshot_id", "log", "min_applied_lsn", "error"}]}
    """
    partitions = await chosen_partitions(session, [*(ranges or ()), *(partition_id or ())])

    async def one(partition: PartitionId) -> CreatePartitionSnapshotResponse:
        request = CreatePartitionSnapshotRequest(
            partition_id=partition, min_target_lsn=min_lsn, trim_log=trim_log
        )
        return await session.cluster.try_each(CREATE_SNAPSHOT, request, Role.ADMIN)

    return snapshots_report(partitions, await session.cluster.each(partitions, one))


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
