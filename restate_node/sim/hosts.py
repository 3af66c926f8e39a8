"""Processes on simulated machines: how code is stopped and killed without its consent.

Many nodes share one event loop, yet each must be able to freeze (SIGSTOP, a long garbage
collection) or to vanish (kill -9, power cut) while its neighbours go on. Cancelling its tasks
would be wrong: `finally` blocks would run, and no process runs those on kill -9. Instead every
callback knows whose it is:

    current_incarnation (a ContextVar) -> Handle.incarnation -> the loop runs, holds or drops it

Tasks, timers and done-callbacks inherit the context they were created in, so whatever a node
starts carries the node's incarnation without knowing it. The loop looks at `life` before it runs
a callback:

    RUNNING  run it    PAUSED  keep it in `held`, in order, until resumed    DEAD  never run it

Invariants: an incarnation dies once and never returns, a restart is a new one; nothing of a dead
one runs, not even `finally`; ports must refuse a dead incarnation themselves, because the
callback that was running when it died runs to its end. The loop drives this; the world decides
when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar
from enum import Enum


class Life(Enum):
    """What the loop does with callbacks of an incarnation."""

    RUNNING = "running"
    PAUSED = "paused"
    DEAD = "dead"


class Death(Enum):
    """How it ended; only the outside can tell the difference."""

    KILLED = "killed"
    """The process alone: the kernel lives on and hangs up its connections."""
    POWER_LOST = "power-lost"
    """The machine: peers hear nothing, and what was not on the disk is gone."""


DeathListener = Callable[[Death], None]


class Incarnation:
    """One process of a host, from its start to its death."""

    __slots__ = ("_listeners", "context", "held", "host", "life", "number")

    def __init__(self, host: str, number: int) -> None:
        self.host = host
        self.number = number
        self.life = Life.RUNNING
        self.held: list[asyncio.Handle] = []
        self._listeners: list[DeathListener] = []
        # A fresh context: a new process inherits nothing from whoever started it.
        self.context = Context()
        self.context.run(current_incarnation.set, self)

    def __repr__(self) -> str:
        return f"{self.host}#{self.number}"

    @property
    def alive(self) -> bool:
        return self.life is not Life.DEAD

    def at_death(self, listener: DeathListener) -> None:
        """Call `listener` outside of the incarnation when it dies; ports drop what it held."""
        self._listeners.append(listener)

    def pause(self) -> None:
        """Hold back everything it would do; time goes on without it. Nothing to do when dead."""
        if self.alive:
            self.life = Life.PAUSED

    def resume(self) -> list[asyncio.Handle]:
        """Let it go on; returns what was held, for the loop to run."""
        if self.life is not Life.PAUSED:
            return []
        self.life = Life.RUNNING
        held, self.held = self.held, []
        return held

    def die(self, death: Death) -> list[asyncio.Handle]:
        """End it for ever; returns what was held, for the loop to drop. Idempotent."""
        if not self.alive:
            return []
        self.life = Life.DEAD
        held, self.held = self.held, []
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(death)
        return held


current_incarnation: ContextVar[Incarnation | None] = ContextVar(
    "current_incarnation", default=None
)
"""Whose code is running; None for the world itself: network, nemesis, workloads, checkers."""


class SimClock:
    """Clock of one host: virtual time plus an offset that a nemesis may move.

    Only wall time is skewed. Timers of all hosts run at the same rate, since a drift of some
    parts per million is drowned by the pauses that the nemesis injects anyway.
    """

    __slots__ = ("_loop", "_start_unix_ms", "offset_ms")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        offset_ms: int = 0,
        start_unix_ms: int = 1_750_000_000_000,
    ) -> None:
        self._loop = loop
        self._start_unix_ms = start_unix_ms
        self.offset_ms = offset_ms

    def unix_ms(self) -> int:
        return self._start_unix_ms + int(self._loop.time() * 1000) + self.offset_ms

    def monotonic(self) -> float:
        return self._loop.time()
