"""Transfers of large files make room for a loop that has work.

A snapshot is no hurry, an append is. Both want processors, disk and the interpreter's lock, and a
copy takes all that it gets. So the threads that move pieces come here after each: while the loop's
own thread computes for more than `BUSY_SHARE` of the time, all transfers of the node together move
`BUSY_BYTES_PER_S_MAX`, one piece at a time; while it does not, as much as the disk can.

    piece ─▶ loop's processor time since the last look ─┬─ little ─▶ go on
                                                        └─ much   ─▶ take turns, and rest after each

Rejected: a lower priority of these threads. One that holds the interpreter's lock, or is about to
be given it, and gets no processor, keeps the loop waiting with all its priority.

`observe` is called on the loop, `wait` on threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Courtesy"]

BUSY_SHARE: Final = 0.15
"""An idle loop is at 0.02; one that competes for a processor gets less of it than it wants."""
BUSY_BYTES_PER_S_MAX: Final = 64 * 1024 * 1024
LOOK_SECONDS_MIN: Final = 0.02
"""Shorter spans say nothing: a single turn of the loop may take that long."""


class Courtesy:
    """Of all transfers of one disk."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._monotonic = monotonic
        self._rest = rest
        self._computed: Callable[[], float] | None = None
        self._state = threading.Lock()
        self._turns = threading.Lock()
        self._last_look = self._last_computed = 0.0
        self._is_busy = False

    def observe(self, computed: Callable[[], float] | None = None) -> None:
        """Before the first piece of a file; costs next to nothing. `computed` says for how long
        the loop has computed; without it, the thread that calls is the loop's.
        """
        if self._computed is None:
            self._computed = computed or _clock_of_this_thread()
        self._loop_is_busy(self._computed)

    def wait(self, size_bytes: int) -> None:
        """After a piece of that size was moved. Blocks, if the loop has work."""
        assert self._computed is not None, "observe first"
        if self._loop_is_busy(self._computed):
            with self._turns:
                self._rest(size_bytes / BUSY_BYTES_PER_S_MAX)

    def _loop_is_busy(self, computed: Callable[[], float]) -> bool:
        with self._state:
            now = self._monotonic()
            if now - self._last_look >= LOOK_SECONDS_MIN:
                total = computed()
                share = (total - self._last_computed) / (now - self._last_look)
                self._is_busy = share > BUSY_SHARE
                self._last_look, self._last_computed = now, total
            return self._is_busy


def _clock_of_this_thread() -> Callable[[], float]:
    clock = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(clock)
