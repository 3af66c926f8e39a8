"""Runs one partition on this node, whatever happens to it.

    ┌▶ open the store ─▶ replay, find the tail, flush, elections ─▶ failure ─▶ close ─▶ pause ┐
    └──────────────────────────────── a life ◀────────────────────────────────────────────────┘

A life is a group of tasks over one opened store; the first that fails ends it. What failed does not
matter much: the store says where to go on, the log has the rest, and a new life begins after a
pause that grows until a replica catches up again. A processor that waits for somebody (a trim gap,
a lost log, a newer release) is parked the same way, with longer pauses, and reports STARTING.

Cancelling `run` steps down, flushes within `CLOSE_TIMEOUT_S`, and closes.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

import structlog

from restate_node.protocol.durability import TrimQueue
from restate_node.protocol.leadership import RunState
from restate_node.protocol.partition import tables
from restate_node.protocol.partition.effects import DurabilityAdvanced, Effect
from restate_node.roles.worker.bootstrap import Bootstrap
from restate_node.roles.worker.context import WorkerContext
from restate_node.roles.worker.errors import CannotProceed, TrimGapEncountered
from restate_node.roles.worker.leader import LeaderDuty
from restate_node.roles.worker.leader_work import LeaderWork
from restate_node.roles.worker.log_trimmer import LedPartition
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.roles.worker.replay import Replay
from restate_node.roles.worker.snapshots import SNAPSHOT_FAILURES, PartitionSnapshots
from restate_node.runtime.ports import StoreError
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.partitions import Partition
from restate_node.types.processor_messages import (
    CreateSnapshot,
    DetailedRunMode,
    PatchState,
    ProcessorStatus,
    Proposed,
    ReplayStatus,
    RunMode,
    SnapshotCreated,
)

logger = structlog.get_logger(__name__)

OPENING_GAP_S: Final = 0.01
CLOSE_TIMEOUT_S: Final = 5.0
RESTART_PAUSE_S: Final = 0.25
PARKED_PAUSE_S: Final = 2.0
PAUSE_MAX_S: Final = 60.0

DETAILED_MODES: Final = {
    RunState.FOLLOWER: DetailedRunMode.FOLLOWER,
    RunState.CLAIMING: DetailedRunMode.CANDIDATE,
    RunState.CANDIDATE: DetailedRunMode.CANDIDATE,
    RunState.BECOMING_LEADER: DetailedRunMode.BECOMING_LEADER,
    RunState.LEADER: DetailedRunMode.LEADER,
}


class Life:
    """One opened store and what works on it."""

    def __init__(
        self,
        partition: Partition,
        store: PartitionStore,
        context: WorkerContext,
        asked_to_lead: asyncio.Event,
    ) -> None:
        self.store = store
        self.duty = LeaderDuty(partition, store, context, asked_to_lead)
        self.replay = Replay(partition, store, context, self._applied)
        self.trims = TrimQueue()
        recorded = tables.read_durable_point(store, partition.id)
        if recorded is not None:
            self.trims.note(recorded.lsn, recorded.unix_ms)
        repository = context.snapshots
        self.snapshots: PartitionSnapshots | None = None
        if repository is not None:
            self.snapshots = PartitionSnapshots(partition, store, context, repository)

    async def run(self) -> None:
        """Until cancelled or the first failure; raises what failed, in an ExceptionGroup."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.replay.run())
                group.create_task(self.replay.find_target())
                group.create_task(self.replay.keep_flushed())
                group.create_task(self.duty.run(self.replay))
                if self.snapshots is not None:
                    group.create_task(self.snapshots.run(self._is_active_leader))
        finally:
            self.duty.stop()

    def _applied(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, DurabilityAdvanced):
                self.trims.note(effect.point, effect.unix_ms)
        self.duty.applied(effects)

    def _is_active_leader(self) -> bool:
        is_active = self.replay.status is ReplayStatus.ACTIVE
        return is_active and self.duty.leadership.is_leader


class PartitionProcessor:
    """The handle; `run` is one task of kind PARTITION_PROCESSOR."""

    def __init__(self, partition: Partition, context: WorkerContext) -> None:
        self._partition = partition
        self._context = context
        self._asked_to_lead = asyncio.Event()
        self._planned_mode = RunMode.FOLLOWER
        self._life: Life | None = None
        self._failures = 0
        self._bootstrap = Bootstrap(partition, context)

    @property
    def store(self) -> PartitionStore | None:
        """The open store, for reading; None between two lives."""
        return None if self._life is None else self._life.store

    def order(self, mode: RunMode) -> None:
        """What the controller wants. To lead means to campaign unless that is under way, or won; a
        leader that shall follow goes on until its successor has announced itself.
        """
        self._planned_mode = mode
        if mode is RunMode.FOLLOWER:
            self._asked_to_lead.clear()
        elif self._life is None or self._life.duty.leadership.state is RunState.FOLLOWER:
            self._asked_to_lead.set()

    async def patch_state(self, request: PatchState) -> Proposed:
        """Raises RpcFailure."""
        if self._life is None:
            text = f"partition {self._partition.id} does not run here now"
            raise RpcFailure(RpcCode.NOT_READY, text)
        return await self._life.duty.patch_state(request)

    @property
    def work(self) -> LeaderWork:
        """What it does as a leader; raises RpcFailure while it leads nothing."""
        if self._life is None:
            text = f"partition {self._partition.id} does not run here now"
            raise RpcFailure(RpcCode.NOT_READY, text)
        return self._life.duty.work

    def led(self) -> LedPartition | None:
        """What the trimmer of logs needs, if this node leads the partition."""
        life = self._life
        if life is None or not life.duty.leadership.is_leader:
            return None
        recorded = tables.read_durable_point(life.store, self._partition.id)
        return LedPartition(
            self._partition,
            None if life.snapshots is None else life.snapshots.archived,
            life.store.durable,
            None if recorded is None else recorded.lsn,
            life.trims,
            life.duty.propose,
        )

    async def create_snapshot(self, request: CreateSnapshot) -> SnapshotCreated:
        """Raises RpcFailure."""
        life, number = self._life, self._partition.id
        if life is None or not life.duty.leadership.is_leader:
            raise RpcFailure(RpcCode.NOT_READY, f"partition {number} is not led by this node now")
        if life.snapshots is None:
            text = "no snapshot repository is configured: set worker.snapshots.destination"
            raise RpcFailure(RpcCode.FORBIDDEN, text)
        try:
            snapshot = await life.snapshots.create(request.at_least)
        except SNAPSHOT_FAILURES as error:
            raise RpcFailure(RpcCode.FAILED, str(error)) from None
        return SnapshotCreated(
            str(snapshot.snapshot_id), self._partition.log_id, snapshot.min_applied_lsn
        )

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                await self._live()
            except Exception as failure:
                if loop.is_closed():
                    raise  # Not a failure: an abandoned coroutine is unwound without its loop.
                await asyncio.sleep(self._pause_after(_first_cause(failure)))

    async def _live(self) -> None:
        store = await self._open()
        try:
            self._life = Life(self._partition, store, self._context, self._asked_to_lead)
            await self._life.run()
        finally:
            life, self._life = self._life, None
            if life is not None and life.replay.status is ReplayStatus.ACTIVE:
                self._failures = 0
            await self._close(store)

    async def _open(self) -> PartitionStore:
        """One store at a time, with a breath in between: opening one holds the whole process for
        tens of milliseconds, and a node that starts or takes over many would look dead meanwhile.
        """
        await self._bootstrap.run()
        async with self._context.opening:
            await asyncio.sleep(OPENING_GAP_S)
            store = await PartitionStore.open(self._context.disk, self._partition.id)
        self._bootstrap.opened(store)
        return store

    async def _close(self, store: PartitionStore) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await store.flush()
        except (StoreError, TimeoutError) as error:
            logger.warning(
                "store closes without a flush; the log has the rest",
                partition=self._partition.id,
                durable_lsn=store.durable,
                reason=str(error) or "it takes too long",
            )
        await store.close()

    def _pause_after(self, cause: BaseException) -> float:
        if isinstance(cause, TrimGapEncountered):
            cause = self._bootstrap.explain(cause)
        parked = isinstance(cause, CannotProceed)
        first = PARKED_PAUSE_S if parked else RESTART_PAUSE_S
        pause = min(PAUSE_MAX_S, first * 2 ** min(self._failures, 10))
        self._failures += 1
        if parked or isinstance(cause, StoreError | TrimGapEncountered):
            logger.warning(str(cause), partition=self._partition.id, retry_in_s=pause)
        else:
            logger.error(
                "processor failed", partition=self._partition.id, retry_in_s=pause, exc_info=cause
            )
        return pause * self._context.rng.uniform(0.7, 1.3)

    # ------------------------------------------------------------ status

    def status(self) -> ProcessorStatus:
        """As the control plane shows it; without positions between two lives."""
        life = self._life
        state = RunState.FOLLOWER if life is None else life.duty.leadership.state
        observed = None if life is None else life.duty.leadership.observed
        is_leader = state is RunState.LEADER
        return ProcessorStatus(
            partition=self._partition.id,
            planned_mode=self._planned_mode,
            effective_mode=RunMode.LEADER if is_leader else RunMode.FOLLOWER,
            detailed_mode=DETAILED_MODES[state],
            replay_status=ReplayStatus.STARTING if life is None else life.replay.status,
            updated_at_ms=self._context.clock.unix_ms(),
            observed_epoch=None if observed is None else observed.epoch,
            observed_leader=None if observed is None else observed.node,
            applied_lsn=None if life is None else life.store.applied or None,
            applied_at_ms=None if life is None else life.replay.applied_at_ms,
            durable_lsn=None if life is None else life.store.durable or None,
            target_tail_lsn=None if life is None else life.replay.known_tail,
            archived_lsn=None
            if life is None or life.snapshots is None
            else life.snapshots.archived,
        )


def _first_cause(failure: BaseException) -> BaseException:
    """The first failure in a group; those after it are mostly its consequences."""
    while isinstance(failure, BaseExceptionGroup):
        failure = cast("BaseExceptionGroup[BaseException]", failure).exceptions[0]
    return failure
