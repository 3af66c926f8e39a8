"""The newest records of the loglets that this node sequences, kept for the reader next door.

The leader of a partition usually writes and reads its own log. What it reads was in its hands a
millisecond ago; asking a log server for it again would double the traffic of the append path.
Bounded in bytes over all loglets; the oldest runs of all go first. A hit is only ever a stored
group, so the reader needs no other rule than "below the global tail".
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque

from restate_node.types.ids import LogletId
from restate_node.types.log_messages import StoredRun
from restate_node.types.offsets import LogletOffset


class RecordCache:
    """Runs by loglet, in offset order, first in first out."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._runs: dict[LogletId, list[StoredRun]] = {}
        self._order: deque[LogletId] = deque()

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def add(self, loglet: LogletId, run: StoredRun) -> None:
        """Keep a run. Runs of a loglet MUST come in the order of their offsets."""
        if len(run.body) > self._bytes_max // 4:
            self.forget(loglet)
            return
        self._runs.setdefault(loglet, []).append(run)
        self._order.append(loglet)
        self._bytes += len(run.body)
        while self._bytes > self._bytes_max:
            self._drop_oldest()

    def read(
        self, loglet: LogletId, first: LogletOffset, tail: LogletOffset, bytes_max: int
    ) -> list[StoredRun]:
        """Cached runs from `first` on, without gap, below `tail`; empty when `first` is not here.

        The first run may begin before `first`, the last may end behind `tail`.
        """
        runs = self._runs.get(loglet)
        if not runs:
            return []
        index = bisect_right(runs, first, key=_first_offset) - 1
        if index < 0 or first >= runs[index].first_offset + runs[index].count:
            return []
        found: list[StoredRun] = []
        for run in runs[index:]:
            if run.first_offset >= tail or (found and bytes_max < len(run.body)):
                break
            bytes_max -= len(run.body)
            found.append(run)
        return found

    def forget(self, loglet: LogletId) -> None:
        """Drop all runs of a loglet: it is sealed, or has a gap."""
        for run in self._runs.pop(loglet, []):
            self._bytes -= len(run.body)

    def _drop_oldest(self) -> None:
        loglet = self._order.popleft()
        runs = self._runs.get(loglet)
        if runs:
            self._bytes -= len(runs.pop(0).body)


def _first_offset(run: StoredRun) -> int:
    return run.first_offset
