"""A closed loop of appends: so many batches are under way at any time, no task per record.

Each slot submits its next batch from within the callback of the one before, as a partition leader
does that proposes what its invocations produce. A task per append would cost 10 µs and measure
asyncio. Batches are made once, before the clock runs: encoding records is their writer's work.
"""

from __future__ import annotations

import asyncio
import os
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TypeAlias

from restate_node.bifrost.appender import OnCommitted
from restate_node.bifrost.errors import AppendFailed
from restate_node.types.offsets import Lsn
from restate_node.types.records import RecordBatch, pack

DIFFERENT_BATCHES = 32
"""Random payloads, so that nothing along the way can compress them."""

Submit: TypeAlias = Callable[[RecordBatch, OnCommitted], None]
"""`Appender.submit`, or whatever looks like it."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was acknowledged while the clock ran."""

    batches: int
    failures: int
    seconds: float
    latencies: array[float]


class ClosedLoop:
    """Keeps `in_flight` batches under way from `run` on until the time is over."""

    def __init__(self, submit: Submit, in_flight: int, batches: list[RecordBatch]) -> None:
        self._submit = submit
        self._slots = [_Slot(self, batches[n % len(batches)]) for n in range(in_flight)]
        self._latencies = array("d")
        self._failures = 0
        self._end = 0.0
        self._running = 0
        self._drained: asyncio.Future[None] | None = None

    async def run(self, seconds: float) -> Load:
        """Append for so long, then wait for what is still under way. Call once."""
        started = perf_counter()
        self._end = started + seconds
        self._drained = asyncio.get_running_loop().create_future()
        self._running = len(self._slots)
        for slot in self._slots:
            self.start(slot)
        await self._drained
        elapsed = perf_counter() - started
        return Load(len(self._latencies), self._failures, elapsed, self._latencies)

    def stop(self) -> None:
        """End before the time is over."""
        self._end = 0.0

    def start(self, slot: _Slot) -> None:
        """Submit the slot's batch."""
        slot.started = perf_counter()
        self._submit(slot.batch, slot.on_committed)

    def ended(self, slot: _Slot, result: Lsn | AppendFailed) -> None:
        """The slot's batch has its answer: note the latency and go on."""
        now = perf_counter()
        acknowledged = not isinstance(result, AppendFailed)
        if acknowledged:
            self._latencies.append(now - slot.started)
        else:
            self._failures += 1
        if now >= self._end:
            self._running -= 1
            if self._running == 0 and self._drained is not None:
                self._drained.set_result(None)
        elif acknowledged:
            slot.started = now
            self._submit(slot.batch, slot.on_committed)
        else:
            asyncio.get_running_loop().call_later(0.01, self.start, slot)


class _Slot:
    """One place in the window; its callback is bound once."""

    __slots__ = ("_loop", "batch", "on_committed", "started")

    def __init__(self, loop: ClosedLoop, batch: RecordBatch) -> None:
        self._loop = loop
        self.batch = batch
        self.started = 0.0
        self.on_committed = self._done

    def _done(self, result: Lsn | AppendFailed) -> None:
        self._loop.ended(self, result)


def make_batches(batch_records: int, record_bytes: int) -> list[RecordBatch]:
    """Batches of random records."""
    return [
        pack([os.urandom(record_bytes) for _ in range(batch_records)])
        for _ in range(DIFFERENT_BATCHES)
    ]
