"""The newest records of the loglets that this node sequences, kept for the reader next door.

The leader of a partition usually writes and reads its own log. What it reads was in its hands a
millisecond ago; asking a log server for it again would double the traffic of the append path.
Bounded in bytes over all loglets; the oldest runs of all go first. A hit is only ever a stored
group, so the reader needs no other rule than "below the global tail".
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from restate_node.types.ids import LogletId
from restate_node.types.log_messages import StoredRun
from restate_node.types.offsets import LogletOffset

RUN_OVERHEAD_BYTES: Final = 200
"""What a run costs besides its body; without it a million tiny runs would count as nothing."""
COMPACT_ABOVE: Final = 64


@dataclass(slots=True)
class _Runs:
    """Runs of one loglet; those before `head` are gone, and cut off now and then.

    Taking the first off a list costs its length each time, and a deque cannot be bisected.
    """

    runs: list[StoredRun | None] = field(default_factory=list[StoredRun | None])
    offsets: list[int] = field(default_factory=list[int])
    head: int = 0

    def add(self, run: StoredRun) -> None:
        self.runs.append(run)
        self.offsets.append(run.first_offset)

    def drop_first(self) -> int:
        """Returns the bytes that are free again."""
        run = self.runs[self.head]
        assert run is not None, "a dropped run was dropped again"
        self.runs[self.head] = None
        self.head += 1
        if self.head > COMPACT_ABOVE and self.head * 2 > len(self.runs):
            del self.runs[: self.head], self.offsets[: self.head]
            self.head = 0
        return cost(run)

    def find(self, offset: LogletOffset) -> int | None:
        """Index of the run that holds the offset."""
        index = bisect_right(self.offsets, offset, lo=self.head) - 1
        if index < self.head:
            return None
        run = self.runs[index]
        assert run is not None, "a dropped run was found"
        return index if offset < run.first_offset + run.count else None


class RecordCache:
    """Runs by loglet, in offset order, first in first out."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._loglets: dict[LogletId, _Runs] = {}
        self._order: deque[_Runs] = deque()

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def add(self, loglet: LogletId, run: StoredRun) -> None:
        """Keep a run. Runs of a loglet MUST come in the order of their offsets."""
        if cost(run) > self._bytes_max // 4:
            self.forget(loglet)
            return
        runs = self._loglets.get(loglet)
        if runs is None:
            runs = self._loglets[loglet] = _Runs()
        runs.add(run)
        self._order.append(runs)
        self._bytes += cost(run)
        while self._bytes > self._bytes_max:
            self._drop_oldest()

    def read(
        self, loglet: LogletId, first: LogletOffset, tail: LogletOffset, bytes_max: int
    ) -> list[StoredRun]:
        """Cached runs from `first` on, without gap, below `tail`; empty when `first` is not here.

        The first run may begin before `first`, the last may end behind `tail`.
        """
        runs = self._loglets.get(loglet)
        index = runs.find(first) if runs is not None else None
        if runs is None or index is None:
            return []
        found: list[StoredRun] = []
        for position in range(index, len(runs.runs)):
            run = runs.runs[position]
            if run is None or run.first_offset >= tail or (found and bytes_max < len(run.body)):
                break
            bytes_max -= len(run.body)
            found.append(run)
        return found

    def forget(self, loglet: LogletId) -> None:
        """Drop all runs of a loglet: it is sealed, or has a gap."""
        runs = self._loglets.pop(loglet, None)
        if runs is None:
            return
        self._bytes -= sum(cost(run) for run in runs.runs if run is not None)
        self._order = deque(other for other in self._order if other is not runs)

    def _drop_oldest(self) -> None:
        self._bytes -= self._order.popleft().drop_first()


def cost(run: StoredRun) -> int:
    """Bytes that a run counts for."""
    return len(run.body) + RUN_OVERHEAD_BYTES
