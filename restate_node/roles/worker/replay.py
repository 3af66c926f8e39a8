"""Applies the log of a partition to its store, from where the store stands, for ever.

    reader ─▶ run of records ─▶ slices ─▶ Transaction ─▶ store ─▶ effects
                                  └─ the loop gets a turn after each

    find_target    where the log ended when this began: behind it the replica is catching up
    keep_flushed   makes the store durable, by time and by bytes

The three are tasks of one life of a processor. A slice is bounded in records and bytes, so no
amount of replay keeps the loop from its heartbeats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, assert_never

import structlog

from restate_node.bifrost.errors import LogUnavailable, UnknownLog
from restate_node.protocol.partition.apply import apply
from restate_node.protocol.partition.effects import Effect
from restate_node.protocol.partition.transaction import Transaction
from restate_node.protocol.read_cursor import Gap, Run
from restate_node.roles.worker.context import WorkerContext
from restate_node.roles.worker.errors import StoreAheadOfLog, TrimGapEncountered, UnreadableRecord
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.runtime.ports import StoreBusy
from restate_node.runtime.watch import Watch
from restate_node.types import records
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import Partition
from restate_node.types.processor_messages import ReplayStatus
from restate_node.types.wal import Unreadable
from restate_node.wire import journal_codec
from restate_node.wire.wal import decode_record

logger = structlog.get_logger(__name__)

READ_BYTES_MAX: Final = 1024 * 1024
FLUSH_INTERVAL_S: Final = 15.0
FLUSH_BYTES: Final = 16 * 1024 * 1024
BUSY_PAUSE_S: Final = 0.05
FIND_TAIL_PAUSE_S: Final = 0.5

Slice = list[memoryview]


class Replay:
    """One life of a processor, as far as the log is concerned."""

    def __init__(
        self,
        partition: Partition,
        store: PartitionStore,
        context: WorkerContext,
        on_effects: Callable[[list[Effect]], None],
    ) -> None:
        """`on_effects` is called after each transaction that had any."""
        self._partition = partition
        self._store = store
        self._context = context
        self._on_effects = on_effects
        self._began_at = store.applied
        self._reader = context.log.reader(partition.log_id, Lsn(store.applied + 1))
        self._flush_early = asyncio.Event()
        self.target_tail: Watch[Lsn | None] = Watch(None)
        """The tail of the log soon after the start; None until it was found."""
        self.applied_at_ms: int | None = None

    @property
    def status(self) -> ReplayStatus:
        """How far it got."""
        target = self.target_tail.value
        if target is None:
            return ReplayStatus.STARTING
        caught_up = self._store.applied + 1 >= target
        return ReplayStatus.ACTIVE if caught_up else ReplayStatus.CATCHING_UP

    @property
    def known_tail(self) -> Lsn | None:
        """The highest tail that is known; None as long as the target is not."""
        target = self.target_tail.value
        return None if target is None else max(target, self._reader.tail)

    # ------------------------------------------------------------ applying

    async def run(self) -> None:
        """Until cancelled, between two transactions; raises CannotProceed, StoreError."""
        while True:
            for delivery in await self._reader.next(READ_BYTES_MAX):
                match delivery:
                    case Gap(_, last):
                        raise TrimGapEncountered(last)
                    case Run():
                        await self._apply_run(delivery)
                    case _:
                        assert_never(delivery)

    async def _apply_run(self, run: Run) -> None:
        expected = self._store.applied + 1
        assert run.first == expected, f"the log delivered LSN {run.first} instead of {expected}"
        for part in self._slices(run):
            transaction = self._store.begin()
            effects = self._apply_slice(part, transaction)
            await self._commit(transaction)
            if effects:
                self._on_effects(effects)
            await asyncio.sleep(0)

    def _slices(self, run: Run) -> Iterator[Slice]:
        options = self._context.options
        part: Slice = []
        size = 0
        for record in records.iterate(run.batch.body):
            part.append(record)
            size += len(record)
            full = len(part) >= options.command_batch_records_max
            if full or size >= options.command_batch_bytes_max:
                yield part
                part, size = [], 0
        if part:
            yield part

    def _apply_slice(self, part: Slice, transaction: Transaction) -> list[Effect]:
        effects: list[Effect] = []
        for lsn, record in enumerate(part, self._store.applied + 1):
            envelope = decode_record(record)
            if isinstance(envelope, Unreadable):
                raise UnreadableRecord(Lsn(lsn), envelope.reason)
            effects += apply(self._partition, journal_codec, Lsn(lsn), envelope, transaction)
        return effects

    async def _commit(self, transaction: Transaction) -> None:
        """Cancellation while the store is busy drops the transaction: the log has its records."""
        while True:
            try:
                self._store.commit(transaction)
                break
            except StoreBusy:
                await asyncio.sleep(BUSY_PAUSE_S * self._context.rng.uniform(0.7, 1.3))
        self.applied_at_ms = self._context.clock.unix_ms()
        if self._store.unflushed_bytes >= FLUSH_BYTES:
            self._flush_early.set()

    # ------------------------------------------------------------ beside

    async def find_target(self) -> None:
        """Find the tail once, however long it takes; raises StoreAheadOfLog."""
        while self.target_tail.value is None:
            try:
                found = await self._context.log.find_tail(self._partition.log_id)
            except (UnknownLog, LogUnavailable) as error:
                logger.debug("tail not found yet", partition=self._partition.id, reason=str(error))
                await asyncio.sleep(FIND_TAIL_PAUSE_S * self._context.rng.uniform(0.7, 1.3))
                continue
            if self._began_at >= found.tail.lsn:
                raise StoreAheadOfLog(self._began_at, found.tail.lsn)
            self.target_tail.set(found.tail.lsn)

    async def keep_flushed(self) -> None:
        """Until cancelled; raises StoreError."""
        while True:
            try:
                async with asyncio.timeout(FLUSH_INTERVAL_S):
                    await self._flush_early.wait()
            except TimeoutError:
                pass
            self._flush_early.clear()
            await self._store.flush()
