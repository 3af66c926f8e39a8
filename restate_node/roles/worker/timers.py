"""Fires the timers of a partition, at its leader.

    first rows of the timer table ─▶ due? ─▶ propose FireTimer, once ─▶ applied: the row is gone
                                 └─▶ sleep until the first is due, or an earlier one is set

The table is the only truth: what was proposed and is not applied yet is kept in mind, so that it is
not proposed twice, and that is all. A timer never fires early by this clock; after a change of
leader by more than two clocks differ.
"""

from __future__ import annotations

import asyncio
from typing import Final

from restate_node.protocol.partition.timer_table import first_timers
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.roles.worker.term import Term
from restate_node.runtime.ports import Clock
from restate_node.types.invocations import partition_key_of_id
from restate_node.types.wal import FireTimer

ROWS_MAX: Final = 512
SLEEP_MAX_S: Final = 60.0
"""Wall clocks jump: look again now and then."""
FULL_PAUSE_S: Final = 0.05
"""Until there may be room in the log again."""


class Timers:
    """One term's watch over the timers."""

    def __init__(self, store: PartitionStore, term: Term, clock: Clock) -> None:
        self._store = store
        self._term = term
        self._clock = clock
        self._proposed: set[bytes] = set()
        self._look = asyncio.Event()
        self._next_ms: int | None = None
        self._is_late = False

    @property
    def is_late(self) -> bool:
        """Whether a timer was due at the last look: it is in the table until that is applied."""
        return self._is_late

    @property
    def next_ms(self) -> int | None:
        """When the first timer is due that was not at the last look; None when there is none."""
        return self._next_ms

    def set(self, at_ms: int) -> None:
        """A timer was set."""
        if self._next_ms is None or at_ms < self._next_ms:
            self._look.set()

    def applied(self) -> None:
        """Records were applied; timers among them are gone."""
        if self._proposed:
            self._look.set()

    async def run(self) -> None:
        """Until cancelled. Cancellation-safe: what was not proposed stays in the table."""
        while True:
            self._look.clear()
            pause_s = self._propose_due()
            try:
                async with asyncio.timeout(pause_s):
                    await self._look.wait()
            except TimeoutError:
                pass

    def _propose_due(self) -> float | None:
        """Propose what is due; how long to wait, None when nothing is to be waited for."""
        now_ms = self._clock.unix_ms()
        timers = first_timers(self._store, ROWS_MAX)
        self._proposed &= {timer.key for timer in timers}
        self._next_ms = None
        self._is_late = bool(timers) and timers[0].at_ms <= now_ms
        for timer in timers:
            if timer.at_ms > now_ms:
                self._next_ms = timer.at_ms
                return min(SLEEP_MAX_S, (timer.at_ms - now_ms) / 1000 + 0.001)
            if self._term.is_full:
                return FULL_PAUSE_S
            if timer.key not in self._proposed:
                self._proposed.add(timer.key)
                self._term.propose(partition_key_of_id(timer.invocation), FireTimer(timer.key))
        return SLEEP_MAX_S if self._proposed else None
