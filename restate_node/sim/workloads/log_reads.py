"""Reads a log from its beginning: one reader per life that follows the tail, and at the end of the
run one per node that must reach it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from restate_node.bifrost.errors import LogError
from restate_node.protocol.read_cursor import Gap, Run
from restate_node.sim.history import GapRead, ReadEnded, ReadStarted, RecordRead
from restate_node.sim.workloads.workload import LOG, Client, Stage
from restate_node.sim.world import NodeLife
from restate_node.types.offsets import OLDEST_LSN, Lsn
from restate_node.types.records import iterate

READ_BYTES_MAX: Final = 2_000
"""Little, so that a reader takes many steps."""
RETRY_SECONDS: Final = 0.2


class ReadingClient:
    """One reader from LSN 1 on."""

    def __init__(self, life: NodeLife) -> None:
        bifrost = life.node.bifrost
        assert bifrost is not None, "a node that is ready has a log"
        self._bifrost = bifrost
        self._life = life
        self._reader = bifrost.reader(LOG, OLDEST_LSN)
        self._number = life.recorder.next_number()
        self.position = OLDEST_LSN
        now = life.recorder.now()
        life.recorder.add(ReadStarted(now, life.name, self._number, LOG, OLDEST_LSN))

    async def step(self) -> None:
        """Take what comes next."""
        for delivery in await self._reader.next(READ_BYTES_MAX):
            match delivery:
                case Run(first, batch):
                    for lsn, record in enumerate(iterate(batch.body), first):
                        self._took(lsn, bytes(record))
                case Gap(first, last):
                    self._skipped(first, Lsn(last + 1))

    async def read_to_tail(self) -> None:
        """Find the tail, read all below it, and say that this is all."""
        while True:
            try:
                tail = (await self._bifrost.find_tail(LOG)).tail.lsn
                break
            except LogError:
                await asyncio.sleep(RETRY_SECONDS)
        while self.position < tail:
            await self.step()
        recorder = self._life.recorder
        end = ReadEnded(recorder.now(), self._life.name, self._number, LOG, tail, True)
        recorder.add(end)

    def _took(self, lsn: int, payload: bytes) -> None:
        recorder = self._life.recorder
        where = (self._life.name, self._number, LOG)
        recorder.add(RecordRead(recorder.now(), *where, lsn, payload))
        self.position = Lsn(lsn + 1)

    def _skipped(self, first: Lsn, end: Lsn) -> None:
        recorder = self._life.recorder
        where = (self._life.name, self._number, LOG)
        recorder.add(GapRead(recorder.now(), *where, first, end))
        self.position = end


async def _run(life: NodeLife, stage: Stage) -> None:
    client = ReadingClient(life)
    while stage.writing:
        await client.step()


async def read_all(life: NodeLife) -> None:
    """The last reader of a node."""
    await ReadingClient(life).read_to_tail()


CLIENT: Final = Client("log reads", _run)
