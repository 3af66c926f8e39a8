"""Running a node on uvloop, and noticing when something holds the loop.

A node that does not run looks dead to its peers, and its peers look dead to it. So the loop is
watched: its lateness goes to whoever asked (the failure detector doubts itself first), and a long
hang is reported with the stack that caused it, which is the only thing that helps the person who
reads the report.

    loop      tick ──50 ms── tick ──50 ms──────── blocked ────────── tick: late by 130 ms → report
    thread      look ───100 ms─── look ───100 ms─── look: no tick for 150 ms → keep the stack

Idle cost: 20 timers and 10 wake-ups a second, below 0.3 % of a core. Exact timing is not needed: a
stall is measured by the tick that comes late, and the thread only adds the stack.

The thread cannot run while C code keeps the interpreter lock; then the stack is that of the moment
after, or missing.

Driven by the loop and one daemon thread. `run` is called once, by the program.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

import uvloop

__all__ = ["LoopStall", "LoopWatchdog", "LoopWatchdogOptions", "run"]

T = TypeVar("T")

SWITCH_INTERVAL_S = 0.001
"""How long a thread that wants the interpreter waits before it asks for it.

The sync thread wants it for microseconds, twice per fsync. Python's default of 5 ms would be added
to every acknowledgement while the loop is busy.
"""
STACK_FRAMES_MAX = 20
COLLECT_AFTER = (10_000, 20, 20)
"""New objects before the youngest are looked at, and how often before the older ones are."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a new uvloop; Ctrl-C cancels it."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _spare_what_was_imported()
    with asyncio.Runner(debug=False, loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _spare_what_was_imported() -> None:
    """Modules and classes live as long as the process: to walk them again for garbage would hold
    the loop for 30 ms each time.
    """
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    gc.enable()


@dataclass(frozen=True, slots=True)
class LoopStall:
    """The loop did not run for a while."""

    late_ms: float
    stack: str
    """Where the loop's thread was, innermost call last; empty if it was too short to look."""


@dataclass(frozen=True, slots=True)
class LoopWatchdogOptions:
    """What counts as a stall, and how closely the loop is watched."""

    tick_ms: int = 50
    late_ms_max: int = 20
    """Reported above this lateness."""
    hang_ms: int = 100
    """The stack is kept when the loop is late by this."""

    def validate(self) -> None:
        """Check how the times relate."""
        assert 0 < self.late_ms_max <= self.hang_ms
        assert self.tick_ms > 0


class LoopWatchdog:
    """Watches the loop that starts it."""

    def __init__(
        self, report: Callable[[LoopStall], None], options: LoopWatchdogOptions | None = None
    ) -> None:
        """`report` is called on the loop, after each stall."""
        self._report = report
        self._options = options or LoopWatchdogOptions()
        self._options.validate()
        self._due = 0.0
        self._stack = ""
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = threading.Event()
        self._watched_thread = 0

    def start(self) -> None:
        """Watch the running loop from now on. Call once."""
        loop = asyncio.get_running_loop()
        self._watched_thread = threading.get_ident()
        self._schedule(loop)
        threading.Thread(target=self._look_now_and_then, name="loop watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching. Idempotent."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        delay = self._options.tick_ms / 1000
        self._due = time.monotonic() + delay
        self._timer = loop.call_later(delay, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        late_ms = (time.monotonic() - self._due) * 1000
        stack, self._stack = self._stack, ""
        self._schedule(loop)
        if late_ms > self._options.late_ms_max:
            self._report(LoopStall(late_ms, stack))

    def _look_now_and_then(self) -> None:
        hang = self._options.hang_ms / 1000
        while not self._stopped.wait(hang):
            if time.monotonic() - self._due > hang and not self._stack:
                frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage]
                self._stack = _stack_of(frames.get(self._watched_thread))


def _stack_of(frame: FrameType | None) -> str:
    if frame is None:
        return ""
    return "".join(traceback.format_stack(frame)[-STACK_FRAMES_MAX:])
