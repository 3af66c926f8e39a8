"""A reader's place in a log: which loglet to ask for what, and what may be delivered.

A log is a chain of loglets. The cursor walks it by LSN, record after record, and never passes what
is known to be committed:

    chain      | segment 0, sealed | segment 1, sealed     | segment 2, open ...
    LSN        1                   40                      90
               trimmed ─── 25       ^ position                    ^ global tail
    delivers   Gap(1..25)  Run(26) Run(33) | Run(40) ...

 - Below the head of the chain, or below a loglet's trim point, there is nothing any more: one `Gap`
   says so, and the consumer decides whether it can go on (from a snapshot) or not.
 - In the open segment the bound is the global tail: highest heard of, from any answer.
 - In a sealed segment the bound is the base of the next one, which the chain has fixed. All below
   is replicated, though log servers may not have heard so: such reads pass their global tail.
 - A log server may lack records that others have. Then the reader asks the next one.

Invariants: deliveries are contiguous, gaps included; each LSN comes once; nothing at or above the
bound is delivered, whatever an answer contains.

Driven by the reader of `bifrost`, which sends GetRecords and WaitForTail and watches the chain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from restate_node.protocol.loglet_runs import Span, part, span
from restate_node.types.log_messages import Records, StoredRun
from restate_node.types.logs import Chain, InMemorySegment, ReplicatedSegment, SealMarker, Segment
from restate_node.types.offsets import OLDEST_OFFSET, LogletOffset, Lsn, to_lsn, to_offset
from restate_node.types.records import RecordBatch

LogletSegment: TypeAlias = ReplicatedSegment | InMemorySegment


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """Ask a source of the segment's loglet for `[first, tail)`."""

    segment: LogletSegment
    first: LogletOffset
    tail: LogletOffset
    beyond_global_tail: bool


@dataclass(frozen=True, slots=True)
class AwaitTail:
    """All that is known to be committed was read: wait for the loglet to pass `offset`."""

    segment: LogletSegment
    offset: LogletOffset


@dataclass(frozen=True, slots=True)
class AwaitChain:
    """The log is sealed here: wait for the next segment."""


@dataclass(frozen=True, slots=True)
class Finished:
    """The reader's end is reached."""


@dataclass(frozen=True, slots=True)
class Gap:
    """LSNs `[first, last]`, inclusive, are trimmed."""

    first: Lsn
    last: Lsn


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive records from `first`."""

    first: Lsn
    batch: RecordBatch


@dataclass(frozen=True, slots=True)
class Received:
    """What an answer was worth."""

    delivered: tuple[Gap | Run, ...]
    lacks_next: bool
    """The source does not have the record at the new position: ask another one."""


ReadStep: TypeAlias = ReadFrom | AwaitTail | AwaitChain | Finished | Gap


class ReadCursor:
    """One reader's place; moved by what it delivers."""

    __slots__ = ("_chain", "_global_tail", "_segment", "position", "to_lsn")

    def __init__(self, chain: Chain, position: Lsn, last: Lsn | None = None) -> None:
        """Read from `position`, up to and including `last` if there is one."""
        self._chain = chain
        self._segment: Segment | None = None
        self._global_tail = OLDEST_OFFSET
        self.position = position
        self.to_lsn = last

    def chain_changed(self, chain: Chain) -> None:
        """A newer version of the chain; what was learnt of an open segment stays."""
        self._chain = chain

    def tail_moved(self, segment: Segment, known_global_tail: LogletOffset) -> None:
        """Everything below is committed in that segment; ignored for any but the one being read."""
        current = self._enter()
        if current is None or current.index != segment.index:
            return
        self._global_tail = max(self._global_tail, known_global_tail)

    def next_step(self) -> ReadStep:
        """What to do now; a Gap is delivered by being returned."""
        if self.to_lsn is not None and self.position > self.to_lsn:
            return Finished()
        segment = self._enter()
        if segment is None:
            return self._skip(self._chain.head.base_lsn)
        if isinstance(segment, SealMarker):
            return AwaitChain()
        first, tail, is_sealed = self._window(segment)
        if first >= tail:
            return AwaitTail(segment, LogletOffset(first + 1))
        return ReadFrom(segment, first, tail, is_sealed)

    def received(self, asked: ReadFrom, answer: Records) -> Received:
        """Take what continues at the position; the rest of the answer is left."""
        self.tail_moved(asked.segment, answer.header.known_global_tail)
        segment = self._enter()
        if segment is None or isinstance(segment, SealMarker):
            return Received((), False)
        if segment.index != asked.segment.index:
            return Received((), False)  # a late answer for a segment that is done
        delivered: list[Gap | Run] = []
        first, tail, _ = self._window(segment)
        trimmed = LogletOffset(min(answer.trim_point + 1, tail))
        if trimmed > first:
            delivered.append(self._skip(to_lsn(segment.base_lsn, trimmed)))
            first = trimmed
        delivered += self._take(segment, answer.runs, Span(first, tail))
        reached = to_offset(segment.base_lsn, self.position)
        return Received(tuple(delivered), reached < min(answer.next_offset, tail))

    def _take(self, segment: LogletSegment, runs: Sequence[StoredRun], window: Span) -> list[Run]:
        """The runs that continue without a hole, cut to the window."""
        taken: list[Run] = []
        position = window.first
        for run in runs:
            ends = span(run).tail
            if ends <= position:
                continue
            if run.first_offset > position or position >= window.tail:
                break
            piece = part(run, Span(position, window.tail))
            first = to_lsn(segment.base_lsn, position)
            taken.append(Run(first, RecordBatch(piece.count, piece.body)))
            position = LogletOffset(position + piece.count)
        self.position = to_lsn(segment.base_lsn, position)
        return taken

    def _enter(self) -> Segment | None:
        """The segment of the position; what is known of a tail belongs to one segment only."""
        segment = self._chain.segment_for(self.position)
        if segment is None or self._segment is None or segment.index != self._segment.index:
            self._global_tail = OLDEST_OFFSET
        self._segment = segment
        return segment

    def _window(self, segment: LogletSegment) -> tuple[LogletOffset, LogletOffset, bool]:
        """`[first, tail)` that may be read, and whether the tail is the chain's."""
        first = to_offset(segment.base_lsn, self.position)
        end = self._chain.end_of(segment)
        tail = self._global_tail if end is None else to_offset(segment.base_lsn, end)
        if self.to_lsn is not None:
            tail = min(tail, to_offset(segment.base_lsn, Lsn(self.to_lsn + 1)))
        return first, LogletOffset(tail), end is not None

    def _skip(self, to: Lsn) -> Gap:
        """Nothing is left below `to`; the gap ends no later than the reader."""
        stop = to if self.to_lsn is None else min(to, Lsn(self.to_lsn + 1))
        gap = Gap(self.position, Lsn(stop - 1))
        self.position = Lsn(stop)
        return gap
