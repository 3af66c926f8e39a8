"""Time that passes when nothing else is left to do: a sleep of thirty days takes milliseconds.

    idle? ──no──▶ go on, a look every 50 ms of virtual time
      └──yes──▶ the first thing that is due ─▶ leap there ─▶ whoever waits for it is woken,
                     │                          and who is due soon after, at that moment
                     └ nothing, and the test waits: Stuck

A leap is what a suspended laptop sees when its lid opens: the wall clocks of all machines have
moved, the monotonic ones have not. So nothing that nodes do every 100 ms is done 26 million times,
no connection times out, and what is due is due: timers of handlers, delayed calls, retries, and
timers (`asyncio.sleep`, `asyncio.timeout`) in the test and in its services. All come due in the
order of their moments, to the millisecond; what a node does then takes it some milliseconds more.

*Idle* means: for a while no replica has applied a record, no byte went to or came from a service,
every partition has a leader, nobody looks for one, the network is whole, nothing is late. Without
that, a sleep could end before a step that is under way.

Invariants: wall time never goes back; nothing that is due earlier is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextvars import Context
from datetime import UTC, datetime, timedelta
from typing import Final

from restate_node.sim.hosts import Incarnation, SimClock
from restate_node.sim.loop import SimLoop
from restate_node.testing.waits import Waits

LOOK_S: Final = 0.05
MARGIN_S: Final = 0.001
"""Wall clocks have whole milliseconds."""
IDLE_LOOKS: Final = 5
STUCK_LOOKS: Final = 60
LEAP_MS_MIN: Final = 100
"""Shorter times are waited for."""

Activity = Callable[[], object]
OnStuck = Callable[[], None]


class VirtualTime:
    """The clock on the wall, and who moves it."""

    def __init__(
        self,
        loop: SimLoop,
        clock: SimClock,
        waits: Waits,
        users: Collection[Incarnation],
        is_at_rest: Callable[[], bool],
        activity: Activity,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._waits = waits
        self._users = users
        """Lives of the test and its services; the collection may grow."""
        self._is_at_rest = is_at_rest
        self._activity = activity
        self._seen: object = None
        self._idle_looks = 0
        self._advancing = 0
        self._alarm: asyncio.TimerHandle | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self.leaps = 0

    # ------------------------------------------------------------ for tests

    def unix_ms(self) -> int:
        """Milliseconds since 1970, as nodes and handlers see it."""
        return self._clock.unix_ms()

    def now(self) -> datetime:
        """The same, as a moment."""
        return datetime.fromtimestamp(self.unix_ms() / 1000, UTC)

    async def advance(self, duration: timedelta | float) -> None:
        """Let so much time pass (seconds, or a timedelta); what comes due is done on the way."""
        seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
        target_ms = self.unix_ms() + int(seconds * 1000)
        self._advancing += 1
        try:
            await self.idle()
            while self.unix_ms() < target_ms:
                due_ms = self._due_ms()
                self._leap(target_ms if due_ms is None else min(due_ms, target_ms))
                await self.idle()
        finally:
            self._advancing -= 1

    async def idle(self) -> None:
        """Wait until nothing happens any more without time passing."""
        self._idle_looks = 0
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        await waiter

    # ------------------------------------------------------------ for the cluster

    async def run(self, on_stuck: OnStuck) -> None:
        """Leap whenever there is nothing else to do. As the world, until cancelled."""
        while True:
            self._ring()
            await asyncio.sleep(LOOK_S)
            self._look()
            if self._idle_looks < IDLE_LOOKS:
                continue
            if self._waiters:
                # Whoever waits for this acts before time leaps.
                self._wake()
                self._idle_looks = 0
                continue
            if self._advancing:
                continue
            due_ms = self._due_ms()
            if due_ms is not None:
                self._leap(due_ms)
            elif self._idle_looks >= STUCK_LOOKS:
                self._idle_looks = 0
                on_stuck()

    def _look(self) -> None:
        seen = self._activity()
        is_late = self._waits.are_late(self.unix_ms())
        quiet = seen == self._seen and not is_late and self._is_at_rest()
        self._idle_looks = self._idle_looks + 1 if quiet else 0
        self._seen = seen

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _due_ms(self) -> int | None:
        now_ms = self.unix_ms()
        due = [self._waits.earliest_ms(now_ms)]
        timer = self._loop.first_timer_of(self._users)
        if timer is not None:
            due.append(now_ms + int((timer - self._loop.time()) * 1000))
        return min((at for at in due if at is not None), default=None)

    def _leap(self, to_ms: int) -> None:
        distance_ms = to_ms - self.unix_ms()
        if distance_ms < LEAP_MS_MIN:
            return
        self.leaps += 1
        self._loop.trace(f"leap {distance_ms}ms")
        self._clock.offset_ms += distance_ms
        self._loop.hasten(self._users, distance_ms / 1000)
        self._ring()
        self._idle_looks = 0

    def _ring(self) -> None:
        """Wake who is due, and whoever is due before the next look when that moment comes."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now_ms = self.unix_ms()
        self._waits.nudge(now_ms)
        due_ms = self._waits.earliest_ms(now_ms)
        if due_ms is None or due_ms > now_ms + LOOK_S * 1000:
            return
        # Of the world: an alarm must not pass for a timer of the test that calls `advance`.
        delay_s = (due_ms - now_ms) / 1000 + MARGIN_S
        self._alarm = self._loop.call_later(delay_s, self._ring, context=Context())
