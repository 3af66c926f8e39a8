"""Carries the messages of a partition to the logs of others, at its leader.

    outbox rows ─▶ log of the other partition, numbered ─▶ committed ─▶ propose TruncateOutbox

Messages go in their order, each with its number, so the other partition drops what comes twice:
after a change of leader all that is still in the outbox is sent again. The rows are removed through
the own log, once all up to a number are in the logs they are for.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from restate_node.bifrost.errors import AppendFailed, LogError
from restate_node.protocol.partition.outbox_table import OutboxMessage, messages_from
from restate_node.roles.worker.log import Log, LogAppender
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.roles.worker.term import Term
from restate_node.runtime.watch import Watch
from restate_node.types.ids import LogId
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import Partition, PartitionTable
from restate_node.types.records import pack
from restate_node.types.wal import Envelope, PartitionProducer, TruncateOutbox
from restate_node.wire.wal import encode_record

logger = structlog.get_logger(__name__)

MESSAGES_MAX: Final = 128
"""Under way at once."""
RETRY_PAUSE_S: Final = 0.2


class Outbox:
    """One term's delivery."""

    def __init__(
        self,
        partition: Partition,
        store: PartitionStore,
        term: Term,
        log: Log,
        table: Watch[PartitionTable],
    ) -> None:
        self._partition = partition
        self._store = store
        self._term = term
        self._log = log
        self._table = table
        self._appenders: dict[LogId, LogAppender] = {}
        self._look = asyncio.Event()
        self._next = 1
        """Number of the first message that was not sent in this term."""
        self._under_way: dict[int, bool] = {}
        """By number, in order: is it committed?"""
        self._look.set()

    def sent(self) -> None:
        """There is a message."""
        self._look.set()

    async def run(self) -> None:
        """Until cancelled, or a log refuses for good; the rest is in the outbox."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._look.wait()
                    self._look.clear()
                    await self._send(group)
        finally:
            self._appenders.clear()

    async def _send(self, group: asyncio.TaskGroup) -> None:
        room = MESSAGES_MAX - len(self._under_way)
        if room <= 0:
            return
        for number, message in messages_from(self._store, self._next, room):
            appender = await self._appender(group, message.partition_key)
            envelope = self._envelope(number, message)
            self._under_way[number] = False
            self._next = number + 1
            appender.submit(
                pack([encode_record(envelope)]),
                lambda result, number=number: self._committed(number, result),
            )
        if messages_from(self._store, self._next, 1):
            self._look.set()

    def _envelope(self, number: int, message: OutboxMessage) -> Envelope:
        producer = PartitionProducer(self._partition.id, number)
        return Envelope(producer, message.partition_key, message.command, message.at_ms)

    async def _appender(self, group: asyncio.TaskGroup, partition_key: int) -> LogAppender:
        """To the log of the partition of that key; it exists, or is made now."""
        table = await self._table.until(lambda table: table.partition_of(partition_key) is not None)
        target = table.partition_of(partition_key)
        assert target is not None, "waited for"
        appender = self._appenders.get(target.log_id)
        while appender is None:
            try:
                await self._log.ensure_log(target.log_id)
            except LogError as error:
                logger.info("message waits", to_partition=target.id, reason=str(error))
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            appender = self._appenders[target.log_id] = self._log.appender(target.log_id)
            group.create_task(appender.run())
        return appender

    def _committed(self, number: int, result: Lsn | AppendFailed) -> None:
        """A message that failed for good ends the term: the next leader sends it again."""
        if isinstance(result, AppendFailed):
            self._term.over.set()
            return
        self._under_way[number] = True
        arrived: int | None = None
        for first in list(self._under_way):
            if not self._under_way[first]:
                break
            arrived = first
            del self._under_way[first]
        if arrived is not None and not self._term.over.is_set():
            self._term.propose(self._partition.key_range.start, TruncateOutbox(arrived))
            self._look.set()
