"""Changing what operators want of partitions: policies and replica sets in their epoch metadata.

    for each partition: read, change, write      (compare-and-swap)
    then once: SyncEpochMetadata                 the controller looks at once, not within seconds

A controller that cannot be told finds out by itself: that is no failure of the command.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from restate_node.ctl.command import Session
from restate_node.ctl.errors import CtlError, UsageError
from restate_node.ctl.id_ranges import parse_ids, unknown_text
from restate_node.ctl.metadata_store import edit, epoch_metadata
from restate_node.ctl.methods import SYNC_EPOCH_METADATA
from restate_node.ctl.render import Json, Report
from restate_node.types.ids import PartitionId
from restate_node.types.nodes import Role
from restate_node.types.partitions import EpochMetadata
from restate_node.wire.pb.cluster_ctrl_pb2 import SyncEpochMetadataRequest

NOT_TOLD = "The controller could not be told; it looks by itself within seconds."

EpochChange = Callable[[EpochMetadata], EpochMetadata]


async def chosen_partitions(session: Session, ranges: Sequence[str] | None) -> list[PartitionId]:
    """The partitions of the command line, or all; errors name those that do not exist."""
    try:
        wanted = parse_ids(ranges or ())
    except ValueError as error:
        raise UsageError(str(error)) from None
    table = await session.cluster.partition_table()
    problem = unknown_text("partition", wanted, table.partitions)
    if problem:
        raise CtlError(problem)
    return [PartitionId(number) for number in wanted] or sorted(table.partitions)


async def change_epochs(
    session: Session, partitions: Sequence[PartitionId], change: EpochChange, done: str
) -> Report:
    """`done` is printed for each, with `{}` for the partition."""

    async def one(partition: PartitionId) -> bool:
        changed = False

        def checked(present: EpochMetadata | None) -> EpochMetadata | None:
            nonlocal changed
            if present is None:
                raise CtlError(f"partition {partition} has not been created yet: start a worker")
            result = change(present)
            changed = result.version != present.version
            return result if changed else None

        await edit(session.cluster, epoch_metadata(partition), checked)
        return changed

    answers = await session.cluster.each(partitions, one)
    lines: list[str] = []
    documents: list[Json] = []
    problems: list[str] = []
    for partition, answer in zip(partitions, answers, strict=True):
        error = str(answer) if isinstance(answer, CtlError) else None
        documents.append({"partition": partition, "changed": answer is True, "error": error})
        if error is not None:
            problems.append(f"partition {partition}: {error}")
        else:
            unchanged = "" if answer else " It was so already."
            lines.append(f"{done.format(partition)}.{unchanged}")
    lines += await tell_controller(session, partitions)
    return Report({"partitions": documents}, tuple(lines), tuple(problems))


async def tell_controller(session: Session, partitions: Sequence[PartitionId]) -> list[str]:
    """A line if it could not be told."""
    request = SyncEpochMetadataRequest(partition_ids=partitions)
    try:
        await session.cluster.try_each(SYNC_EPOCH_METADATA, request, Role.ADMIN)
    except CtlError:
        return [NOT_TOLD]
    return []
