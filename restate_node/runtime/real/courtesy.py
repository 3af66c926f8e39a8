"""Transfers of large files make room for a node that has work.

A snapshot is no hurry, an append is. Both want processors, disk and the interpreter's lock, and a
copy takes all that it gets. So the threads that move pieces come here after each. The node has work
while its loop computes for more than `BUSY_SHARE` of the time, or somebody waits for more than
`BUSY_SYNCS_PER_S` syncs of its logs: those are slow, not many, when a disk is the bottleneck. Then
all transfers together move `BUSY_BYTES_PER_S_MAX`, one piece at a time; else as much as they can.

    piece ─▶ since the last look, did the node ─┬─ little ─▶ go on
                                                └─ much   ─▶ take turns, and rest after each

Rejected: a lower priority of these threads. One that holds the interpreter's lock, or is about to
be given it, and gets no processor, keeps the loop waiting with all its priority.

`observe` is called on the loop, `wait` and `synced` on threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Courtesy"]

BUSY_SHARE: Final = 0.25
"""An idle loop is at 0.02; one that competes for a processor gets less of it than it wants."""
BUSY_SYNCS_PER_S: Final = 20.0
BUSY_BYTES_PER_S_MAX: Final = 64 * 1024 * 1024
LOOK_SECONDS_MIN: Final = 0.1
"""Shorter spans say nothing: an idle node works in bursts too."""


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
        self._syncs = self._last_syncs = 0
        self._is_busy = False

    def observe(self, computed: Callable[[], float] | None = None) -> None:
        """Before the first piece of a file; costs next to nothing. `computed` says for how long
        the loop has computed; without it, the thread that calls is the loop's.
        """
        if self._computed is None:
            self._computed = computed or _clock_of_this_thread()
        self._node_is_busy(self._computed)

    def wait(self, size_bytes: int) -> None:
        """After a piece of that size was moved. Blocks, if the node has work."""
        assert self._computed is not None, "observe first"
        if self._node_is_busy(self._computed):
            with self._turns:
                self._rest(size_bytes / BUSY_BYTES_PER_S_MAX)

    def synced(self) -> None:
        """A log was synced. Threads that come here at the same moment may count as one."""
        self._syncs += 1

    def _node_is_busy(self, computed: Callable[[], float]) -> bool:
        with self._state:
            now = self._monotonic()
            span = now - self._last_look
            if span >= LOOK_SECONDS_MIN:
                total, syncs = computed(), self._syncs
                share = (total - self._last_computed) / span
                rate = (syncs - self._last_syncs) / span
                self._is_busy = share > BUSY_SHARE or rate > BUSY_SYNCS_PER_S
                self._last_look, self._last_computed, self._last_syncs = now, total, syncs
            return self._is_busy


def _clock_of_this_thread() -> Callable[[], float]:
    clock = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(clock)
