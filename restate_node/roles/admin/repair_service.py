"""Repairs of this node's log server, as operators ask for them: `StartRepair`, `GetRepair`.

One repair at a time; who starts a second one of the same kind watches the first. It goes on when
nobody watches, ends with the node, and what is known of it is forgotten with the node: then the
operator starts it again, and what was copied is found in its place.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from restate_node.bifrost.repair_progress import PlannedCopy, RepairProgress
from restate_node.bifrost.server_repair import ServerRepair
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.wire.pb import operator_pb2 as messages

logger = structlog.get_logger(__name__)


class RepairService:
    """The handlers, one method each; errors are GrpcErrors."""

    def __init__(
        self, metadata: MetadataCache, tasks: TaskCenter, make: Callable[[bool], ServerRepair]
    ) -> None:
        """`make`: a new repair; its argument says whether it is a dry run."""
        self._metadata = metadata
        self._tasks = tasks
        self._make = make
        self._repair: ServerRepair | None = None

    async def start_repair(self, request: messages.StartRepairRequest) -> messages.RepairProgress:
        self._check_node(request.node)
        repair = self._repair
        if repair is None or repair.progress.phase.is_over:
            repair = self._repair = self._make(request.dry_run)
            self._tasks.spawn(TaskKind.ADMIN, "repair of the log server", _guarded(repair))
        elif repair.progress.dry_run is not request.dry_run:
            kind = "dry run" if repair.progress.dry_run else "repair"
            text = f"a {kind} of this log server is under way: wait until it has ended"
            raise GrpcError(StatusCode.FAILED_PRECONDITION, text)
        return self._message(repair.progress)

    async def get_repair(self, request: messages.GetRepairRequest) -> messages.RepairProgress:
        self._check_node(request.node)
        if self._repair is None:
            text = "the node has restarted, and the repair ended with it: start it again"
            raise GrpcError(StatusCode.FAILED_PRECONDITION, text)
        return self._message(self._repair.progress)

    def _check_node(self, number: int) -> None:
        me = self._metadata.me
        if me is None or me.id != number:
            text = f"this is {me}: N{number} itself must be asked to repair its log server"
            raise GrpcError(StatusCode.INVALID_ARGUMENT, text)

    def _message(self, progress: RepairProgress) -> messages.RepairProgress:
        me = self._metadata.me
        assert me is not None, "checked before"
        return messages.RepairProgress(
            dry_run=progress.dry_run,
            phase=progress.phase.value,
            storage_state_before=progress.before.value,
            storage_state=self._metadata.nodes.value.storage_state(me.id).value,
            loglets_total=progress.loglets_total,
            loglets_done=progress.loglets_done,
            records_total=progress.records_total,
            records_checked=progress.records_checked,
            records_copied=progress.records_copied,
            bytes_copied=progress.bytes_copied,
            logs_closed=progress.closed,
            problems=progress.problems,
            missing=[_missing(copy) for copy in progress.planned],
        )


def _missing(copy: PlannedCopy) -> messages.MissingRecords:
    return messages.MissingRecords(
        log_id=copy.log,
        loglet_id=copy.loglet,
        from_offset=copy.step.first,
        to_offset=copy.step.tail - 1,
        sources=copy.step.sources,
    )


async def _guarded(repair: ServerRepair) -> None:
    """A repair that fails unexpectedly is told as one, and leaves the node alone."""
    try:
        await repair.run()
    except Exception:
        logger.exception("repair of the log server failed")
