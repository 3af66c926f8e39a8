"""What a worker tells operators about the snapshot repository: a part of
`restate_node.operator.OperatorSvc`.

Any worker can answer for any partition: the repository is the same for all, and the bytes that are
verified here are those that a new replica would get.

A verification takes as long as a download. It reads in a task of the node and reports from the
call, every second, so that the operator sees progress and notices a node that died; whoever hangs
up ends it.

Statuses: what is wrong on every node is FAILED_PRECONDITION, what only this node may lack (its
way to the store, its credentials) INTERNAL, at which an operator's tool asks the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import Final

from restate_node.roles.worker.snapshot_errors import SnapshotError
from restate_node.roles.worker.snapshot_repository import ListedSnapshot, SnapshotRepository
from restate_node.roles.worker.snapshot_transfer import Nowhere
from restate_node.runtime.ports import ObjectStoreError
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import PartitionId
from restate_node.types.snapshots import SnapshotId
from restate_node.wire.pb import operator_pb2 as messages

REPORT_INTERVAL_S: Final = 1.0
NO_REPOSITORY: Final = "no snapshot repository is configured: set worker.snapshots.destination"


class SnapshotsSvc:
    """The handlers, one method each; errors are GrpcErrors."""

    def __init__(self, repository: SnapshotRepository | None, tasks: TaskCenter) -> None:
        self._repository = repository
        self._tasks = tasks

    async def list_snapshots(
        self, request: messages.ListSnapshotsRequest
    ) -> messages.ListSnapshotsResponse:
        repository = self._present()
        with _repository_errors():
            listed = await repository.list_snapshots(PartitionId(request.partition_id))
        return messages.ListSnapshotsResponse(snapshots=[_message(row) for row in listed])

    async def verify_snapshot(
        self, request: messages.VerifySnapshotRequest
    ) -> AsyncIterator[messages.VerifySnapshotResponse]:
        """Bytes read so far, again and again; then the verdict."""
        repository, partition = self._present(), PartitionId(request.partition_id)
        snapshot = _snapshot_id(request.snapshot_id)
        target = Nowhere()

        async def verify() -> ListedSnapshot | GrpcError | None:
            try:
                with _repository_errors():
                    return await repository.verify(partition, snapshot, target)
            except GrpcError as error:
                return error

        task = self._tasks.spawn(TaskKind.REQUEST, f"verify {snapshot}", verify())
        try:
            while not task.done():
                yield messages.VerifySnapshotResponse(read_bytes=target.read_bytes)
                await asyncio.wait((task,), timeout=REPORT_INTERVAL_S)
            yield messages.VerifySnapshotResponse(verdict=_verdict(task, partition, snapshot))
        finally:
            task.cancel()

    def _present(self) -> SnapshotRepository:
        if self._repository is None:
            raise GrpcError(StatusCode.FAILED_PRECONDITION, NO_REPOSITORY)
        return self._repository


def _verdict(
    task: asyncio.Task[ListedSnapshot | GrpcError | None],
    partition: PartitionId,
    snapshot: SnapshotId,
) -> messages.RetainedSnapshot:
    if task.cancelled():
        raise GrpcError(StatusCode.UNAVAILABLE, "the node is stopping")
    outcome = task.result()
    if isinstance(outcome, GrpcError):
        raise outcome
    if outcome is None:
        text = f"partition {partition} has no snapshot {snapshot}, or has it no longer"
        raise GrpcError(StatusCode.NOT_FOUND, text)
    return _message(outcome)


@contextmanager
def _repository_errors() -> Generator[None]:
    try:
        yield
    except SnapshotError as error:
        raise GrpcError(StatusCode.FAILED_PRECONDITION, str(error)) from None
    except ObjectStoreError as error:
        raise GrpcError(StatusCode.INTERNAL, str(error)) from None


def _snapshot_id(text: str) -> SnapshotId:
    try:
        return SnapshotId.parse(text)
    except ValueError as error:
        raise GrpcError(StatusCode.INVALID_ARGUMENT, str(error)) from None


def _message(row: ListedSnapshot) -> messages.RetainedSnapshot:
    metadata = row.metadata
    return messages.RetainedSnapshot(
        snapshot_id=str(row.snapshot.snapshot_id),
        min_applied_lsn=row.snapshot.min_applied_lsn,
        created_at_ms=row.snapshot.created_at_ms,
        log_id=None if metadata is None else metadata.owner.log_id,
        node_name=None if metadata is None else metadata.node_name,
        files=None if metadata is None else len(metadata.files),
        size_bytes=None if metadata is None else metadata.size_bytes,
        problem=row.problem,
    )
