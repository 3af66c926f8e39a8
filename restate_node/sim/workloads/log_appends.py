"""Appends straight to a log: bursts of small batches, many under way at once.

Every record is different from every other, and says who wrote it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from restate_node.bifrost.appender import Appender, OpenSegment
from restate_node.bifrost.errors import AppendFailed
from restate_node.sim.history import Acknowledged, AppendDropped, Appending
from restate_node.sim.workloads.recording_loglet import recorded
from restate_node.sim.workloads.sealing import seal_soon
from restate_node.sim.workloads.workload import LOG, Client, Stage, pause
from restate_node.sim.world import NodeLife
from restate_node.types.ids import SegmentIndex
from restate_node.types.offsets import Lsn
from restate_node.types.records import pack

UNDER_WAY_MAX: Final = 24
BURST_MAX: Final = 4
BATCH_RECORDS_MAX: Final = 3
PAUSE_SECONDS: Final = 0.08
SEAL_PROBABILITY: Final = 0.04
STREAM_BATCHES: Final = 16
STREAM_PAUSE_SECONDS: Final = 0.0005
RETRY_SECONDS: Final = (0.01, 1.0)


class LogWriter:
    """One life's writer."""

    def __init__(self, life: NodeLife) -> None:
        self._life = life
        self._appender = Appender(LOG, self._reopen, life.rng, RETRY_SECONDS)
        self._under_way = 0
        self._written = 0

    async def run(self, stage: Stage) -> None:
        running = asyncio.ensure_future(self._appender.run())
        while stage.writing:
            if self._life.rng.random() < SEAL_PROBABILITY:
                await asyncio.gather(self._stream(), seal_soon(self._life, LOG))
            else:
                self._burst(self._life.rng.randint(1, BURST_MAX))
            await pause(self._life.rng, PAUSE_SECONDS)
        await running

    async def _stream(self) -> None:
        """A batch every half a millisecond, so that several groups are under way."""
        for _ in range(STREAM_BATCHES):
            self._burst(1)
            await asyncio.sleep(STREAM_PAUSE_SECONDS)

    def _burst(self, batches: int) -> None:
        for _ in range(batches):
            if self._under_way < UNDER_WAY_MAX:
                self._append(self._life.rng.randint(1, BATCH_RECORDS_MAX))

    async def _reopen(self, failed: SegmentIndex | None) -> OpenSegment:
        bifrost = self._life.node.bifrost
        assert bifrost is not None, "a node that is ready has a log"
        return recorded(self._life, LOG, await bifrost.open_segment(LOG, failed))

    def _append(self, count: int) -> None:
        recorder, name = self._life.recorder, self._life.name
        payloads = [f"{name}/{self._written + i}".encode() for i in range(count)]
        self._written += count
        self._under_way += 1
        for payload in payloads:
            recorder.add(Appending(recorder.now(), name, LOG, payload))
        self._appender.submit(pack(payloads), self._ended(payloads))

    def _ended(self, payloads: list[bytes]) -> Callable[[Lsn | AppendFailed], None]:
        recorder, name = self._life.recorder, self._life.name

        def ended(result: Lsn | AppendFailed) -> None:
            self._under_way -= 1
            for index, payload in enumerate(payloads):
                if isinstance(result, AppendFailed):
                    reason = str(result)
                    recorder.add(AppendDropped(recorder.now(), name, LOG, payload, reason))
                else:
                    recorder.add(Acknowledged(recorder.now(), name, LOG, result + index, payload))

        return ended


async def _run(life: NodeLife, stage: Stage) -> None:
    await LogWriter(life).run(stage)


CLIENT: Final = Client("log appends", _run)
