"""Linearizable reads without a log entry (Raft dissertation, 6.4).

A leader answers a read from its state machine only after a majority confirmed, *after the read
came*, that it still leads. Reads that arrive between two flushes share one numbered round; a round
is asked by heartbeats and confirmed as soon as a majority has answered that round or a later one.
The index to wait for is the commit at the flush; a leader that has not yet committed an entry of
its own term does not know its commit, so reads wait.

    waiting [a, b] -- flush --> asked [(round 7, index 42, [a, b])] -- majority at 7 --> ReadStates
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from restate_node.protocol.raft.ready import ReadState
from restate_node.types.raft import Index


@dataclass(frozen=True, slots=True)
class _Round:
    number: int
    index: Index
    contexts: list[bytes]


class ReadQueue:
    """The reads of one leadership."""

    __slots__ = ("_asked", "_waiting", "count", "number")

    def __init__(self) -> None:
        self.number = 0
        self.count = 0
        self._waiting: list[bytes] = []
        self._asked: deque[_Round] = deque()

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def add(self, context: bytes) -> None:
        """One more read for the next round."""
        self._waiting.append(context)
        self.count += 1

    def ask(self, commit: Index) -> None:
        """Number a round for all that wait; the caller sends heartbeats that carry `number`."""
        self.number += 1
        self._asked.append(_Round(self.number, commit, self._waiting))
        self._waiting = []

    def confirm(self, number: int) -> list[ReadState]:
        """A majority answered this round: the reads of it and of all before."""
        confirmed: list[ReadState] = []
        while self._asked and self._asked[0].number <= number:
            asked = self._asked.popleft()
            confirmed.extend(ReadState(asked.index, context) for context in asked.contexts)
        self.count -= len(confirmed)
        return confirmed
