"""What an operation costs the process that does it: memory, and time in which the loop stood.

    loop     tick ──5 ms── tick ──5 ms──────── blocked ─────── tick: late, and so much was computed
    thread   memory ──20 ms── memory ──20 ms── …

Two figures for a block, since only one is the program's doing when others use the processors too:
how late the tick came, and how much processor time the loop's thread used in between.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, thread_time

from benchmarks.measurement import MEGABYTE
from benchmarks.processes import resident_bytes

TICK_S = 0.005
LOOK_S = 0.02


@dataclass(slots=True)
class Strain:
    """Filled in when the operation is over."""

    memory_mb: float = 0.0
    """Highest resident memory, above what it was before."""
    late_ms: float = 0.0
    """Longest time that the loop did not come round, whoever's fault it was."""
    busy_ms: float = 0.0
    """Most processor time that the loop's thread used between two ticks."""


@contextmanager
def straining() -> Iterator[Strain]:
    """Watch this process and the running loop for as long as the context lasts."""
    strain, ticker, memory = Strain(), _Ticker(), _Memory()
    ticker.start()
    memory.start()
    try:
        yield strain
    finally:
        ticker.stop()
        strain.memory_mb = memory.stop() / MEGABYTE
        strain.late_ms = ticker.late_s * 1000
        strain.busy_ms = ticker.busy_s * 1000


class _Ticker:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._used = 0.0
        self.late_s = self.busy_s = 0.0

    def start(self) -> None:
        self._used = thread_time()
        self._due = perf_counter() + TICK_S
        self._timer = self._loop.call_later(TICK_S, self._tick)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self.late_s = max(self.late_s, perf_counter() - self._due)
        self.busy_s = max(self.busy_s, thread_time() - self._used)
        self.start()


class _Memory:
    def __init__(self) -> None:
        self._before = self._highest = resident_bytes(os.getpid())
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> int:
        self._stopped.set()
        self._thread.join()
        return self._highest - self._before

    def _look(self) -> None:
        while not self._stopped.wait(LOOK_S):
            self._highest = max(self._highest, resident_bytes(os.getpid()))
