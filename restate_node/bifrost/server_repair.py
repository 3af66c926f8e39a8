"""Makes the log server of this very node whole again; `protocol.server_repair` says why that works.

    chains ─▶ close what is open and names us ─▶ tell the server which logs have ended
           ─▶ restore each loglet (`replicated.loglet_restoration`)
           ─▶ chains again, until nothing is new ─▶ back to read-write

It runs on the node that is repaired: records travel once, and the repair ends with the node. It can
be interrupted anywhere and begun anew. A problem ends one loglet, not the others: as much as
possible is saved before the whole is refused.

Bounds: `LOGLETS_AT_ONCE_MAX` loglets, each with one read under way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from random import Random
from typing import Final, Protocol

import structlog

from restate_node.bifrost.errors import CannotReconfigure, LogUnavailable, UnknownLog
from restate_node.bifrost.log import Bifrost, SegmentRequest
from restate_node.bifrost.repair_progress import Phase, Refused, RepairProgress
from restate_node.bifrost.replicated.loglet import IsAlive
from restate_node.bifrost.replicated.loglet_restoration import (
    ATTEMPTS_MAX,
    PAUSE_S,
    LogletRestoration,
    TargetFailed,
)
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.protocol.quorum import NodesetChecker
from restate_node.protocol.server_repair import (
    LogletWork,
    ended_loglets,
    ended_logs,
    open_segments,
    unrepairable,
)
from restate_node.types.ids import GenerationalNodeId, LogId, LogletId, SegmentIndex
from restate_node.types.log_messages import TrimLoglet
from restate_node.types.logs import Logs, ReplicatedSegment
from restate_node.types.nodes import StorageState
from restate_node.types.offsets import OLDEST_OFFSET, LogletOffset

logger = structlog.get_logger(__name__)

ROUNDS_MAX: Final = 16
"""The chains are read again so often, because others may still believe that the node is well."""
LOGLETS_AT_ONCE_MAX: Final = 4


class OwnLogServer(Protocol):
    """What a repair needs of this node's log server besides storing; texts say why not."""

    async def refresh(self) -> str | None: ...

    async def close_logs(self, through: Mapping[LogId, SegmentIndex]) -> str | None: ...

    async def trim(self, request: TrimLoglet) -> str | None: ...

    async def return_to_service(self, judged: StorageState) -> str | None: ...


class ServerRepair:
    """One repair; `run` it once, look at `progress` meanwhile."""

    def __init__(
        self,
        metadata: MetadataCache,
        bifrost: Bifrost,
        fabric: Fabric,
        server: OwnLogServer,
        is_alive: IsAlive,
        rng: Random,
        *,
        dry_run: bool,
    ) -> None:
        me = metadata.me
        assert me is not None, "a node that repairs itself has joined"
        self._me = me
        self._metadata = metadata
        self._bifrost = bifrost
        self._fabric = fabric
        self._server = server
        self._is_alive = is_alive
        self._rng = rng
        self._halted = False
        self.progress = RepairProgress(dry_run, metadata.nodes.value.storage_state(me.id))

    async def run(self) -> None:
        """To its end, which `progress` tells. Cancellation is safe: another one goes on from there.

        Errors that nobody expects leave this method, and the progress is refused all the same.
        """
        progress = self.progress
        try:
            await self._run()
        except Refused as refused:
            progress.refuse(str(refused))
        except LogUnavailable as error:
            progress.refuse(f"{error}; repeat the repair")
        except Exception as error:
            progress.refuse(f"{type(error).__name__}: {error}; see the log of N{self._me.id}")
            progress.phase = Phase.REFUSED
            raise
        progress.phase = Phase.REFUSED if progress.problems else Phase.DONE
        logger.info(
            "repair of the log server ended",
            outcome=progress.phase.value,
            copied=progress.records_copied,
            problems=progress.problems,
        )

    async def _run(self) -> None:
        _check(await self._server.refresh())
        node = self._metadata.nodes.value.find(self._me)
        if node is not None:
            self.progress.before = node.storage_state
        if node is None:
            raise Refused(f"{self._me} is no member of the cluster any more: restart the node")
        reason = unrepairable(node)
        if reason is not None:
            raise Refused(reason)
        if self.progress.dry_run:
            await self._try(await self._bifrost.chains())
        elif node.storage_state is not StorageState.READ_WRITE:
            with self._bifrost.repairing_own_server():
                await self._repair()

    async def _try(self, logs: Logs) -> None:
        """What a repair would do; of open loglets, as far as they are committed now."""
        work = list(ended_loglets(logs, self._me.id))
        for log, segment in open_segments(logs, self._me.id).items():
            self.progress.closed.append(log)
            tail = LogletWork(log, segment.base_lsn, segment.params, OLDEST_OFFSET)
            work.append(await self._restoration(tail).to_known_tail())
        await self._restore(work)

    async def _repair(self) -> None:
        finished: set[LogletId] = set()
        for _ in range(ROUNDS_MAX):
            logs = await self._bifrost.chains()
            if await self._close_open(logs):
                continue
            _check(await self._server.close_logs(ended_logs(logs)))
            every = ended_loglets(logs, self._me.id)
            work = [one for one in every if one.params.loglet_id not in finished]
            if not work:
                break
            await self._restore(work)
            if self.progress.problems:
                return
            finished.update(one.params.loglet_id for one in work)
        else:
            raise Refused("the chains keep changing: repeat the repair")
        self.progress.phase = Phase.RETURNING
        _check(await self._server.return_to_service(self.progress.before))

    # ------------------------------------------------------------ closing

    async def _close_open(self, logs: Logs) -> bool:
        """True when there was something to close, so that the chains have changed."""
        still_open = open_segments(logs, self._me.id)
        for log, segment in still_open.items():
            await self._close(log, segment)
            self.progress.closed.append(log)
        return bool(still_open)

    async def _close(self, log: LogId, segment: ReplicatedSegment) -> None:
        """Move the log to a nodeset without this node; end it if it takes no appends anyway."""
        reason = ""
        for _ in range(ATTEMPTS_MAX):
            request = SegmentRequest(sequencer=self._living(segment.params.sequencer))
            try:
                await self._bifrost.reconfigure(log, segment.index, request)
                return
            except LogUnavailable as error:
                reason = str(error)
            except (CannotReconfigure, UnknownLog) as error:
                raise Refused(f"log {log} cannot be moved off N{self._me.id}: {error}") from None
            if not self._takes_appends(segment) and await self._end(log, segment):
                return
            await asyncio.sleep(PAUSE_S)
        raise Refused(
            f"log {log} cannot be moved off N{self._me.id}: {reason}; add a log server or lower "
            "the log replication, then repeat the repair"
        )

    async def _end(self, log: LogId, segment: ReplicatedSegment) -> bool:
        """With a marker: whoever appends once the node is back extends the chain."""
        try:
            await self._bifrost.seal(log, segment.index, {"reason": f"repair of N{self._me.id}"})
        except (LogUnavailable, CannotReconfigure):
            return False
        return True

    def _living(self, sequencer: GenerationalNodeId) -> GenerationalNodeId | None:
        return sequencer if self._is_alive(sequencer) else None

    def _takes_appends(self, segment: ReplicatedSegment) -> bool:
        params = segment.params
        nodes = self._metadata.nodes.value
        checker = NodesetChecker(params.nodeset, nodes, params.replication)
        return checker.write_quorum(checker.writable)

    # ------------------------------------------------------------ restoring

    async def _restore(self, work: list[LogletWork]) -> None:
        progress = self.progress
        progress.phase = Phase.COPYING
        progress.loglets_total += len(work)
        progress.records_total += sum(one.end - OLDEST_OFFSET for one in work)
        queue = iter(work)
        async with asyncio.TaskGroup() as group:
            for _ in range(LOGLETS_AT_ONCE_MAX):
                group.create_task(self._take_from(queue))

    async def _take_from(self, queue: Iterator[LogletWork]) -> None:
        """Until nothing is left, or the server takes nothing more."""
        for work in queue:
            if self._halted:
                return
            try:
                trim_point = await self._restoration(work).run()
                if trim_point > 0 and not self.progress.dry_run:
                    point = LogletOffset(min(trim_point, work.end - 1))
                    trim = TrimLoglet(work.params.loglet_id, point, work.end)
                    _check(await self._server.trim(trim))
            except TargetFailed as failed:
                self._halted = True
                self.progress.refuse(str(failed))
            except Refused as refused:
                self.progress.refuse(str(refused))
            self.progress.loglets_done += 1

    def _restoration(self, work: LogletWork) -> LogletRestoration:
        nodes, progress = self._metadata.nodes.value, self.progress
        return LogletRestoration(work, self._me.id, nodes, self._fabric, self._rng, progress)


def _check(error: str | None) -> None:
    if error is not None:
        raise Refused(error)
