"""The one place that orders a loglet: offsets in, acknowledgements out, both in order.

A loglet has exactly one sequencer, in one life of one node. It gives every batch its offsets as it
arrives, joins what is waiting into groups, and lets each group be stored on its own; groups may
become committed in any order. Callers are answered in offset order only:

    submit          next_group        (append_wave, many servers)     committed        callers

    batch ──> [ waiting ] ──> group 1 ──────────────────────────────> ✓ ── released ──> OK, offset
    batch ──> [  ....   ] ──> group 2 ──── slow ────>                 ·
    batch ──> [  ....   ] ──> group 3 ──────────────────────────────> ✓    held back by group 2
                                                                      |
                                                     known_global_tail ┘

Why in order: whoever is told "committed at 9" may rely on 1 to 8 being there for ever, and the
global tail is one number that says the same to everybody: readers deliver up to it, and a log
server that missed records jumps to it. Moved over a group that is not committed, it would make
servers skip records that nobody may have.

The first group goes out alone; while groups are under way the waiting batches grow into the next
one. So the group size follows the load, without a timer.

Invariants: offsets are given once and never again, also when an append fails; `known_global_tail`
only rises; after `seal` nothing is acknowledged, whatever log servers still answer. A group that
fails for good MUST be followed by `seal`, because nothing behind it can ever be released.

Driven by the local sequencer of `bifrost`: one owner; tokens are its futures.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from restate_node.types.log_messages import AppendStatus
from restate_node.types.offsets import OFFSET_MAX, OLDEST_OFFSET, LogletOffset
from restate_node.types.records import RecordBatch, join

Token = TypeVar("Token")


@dataclass(frozen=True, slots=True)
class SequencerOptions:
    """Limits of one sequencer."""

    window_records_max: int = 65_536
    """Records waiting or under way."""
    window_bytes_max: int = 32 * 1024 * 1024
    """Bytes waiting or under way; a larger batch is taken when nothing else is in the window."""
    group_bytes_max: int = 1024 * 1024
    """Bytes of one group; a larger batch is a group of its own."""
    groups_in_flight_max: int = 4
    """Groups being stored at the same time."""

    def validate(self) -> None:
        """ValueError says which limit to change."""
        for name in ("window_records_max", "window_bytes_max", "group_bytes_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if self.groups_in_flight_max < 1:
            raise ValueError("groups_in_flight_max must be at least 1")
        if self.group_bytes_max > self.window_bytes_max:
            raise ValueError("group_bytes_max must not exceed window_bytes_max")


class SequencerPhase(Enum):
    """What a sequencer still does."""

    OPEN = "open"
    DRAINING = "draining"
    """Takes no more appends, finishes those it has."""
    SEALED = "sealed"
    """Acknowledges nothing any more."""


class Placed(NamedTuple, Generic[Token]):
    """The append behind `token` starts at `first_offset`."""

    token: Token
    first_offset: LogletOffset


@dataclass(frozen=True, slots=True)
class Refused:
    """The batch got no offset: certainly not written."""

    status: AppendStatus


@dataclass(frozen=True, slots=True)
class StoreGroup(Generic[Token]):
    """Batches that are stored as one."""

    first_offset: LogletOffset
    batch: RecordBatch
    appends: tuple[Placed[Token], ...]

    @property
    def tail(self) -> LogletOffset:
        """The offset behind the last record."""
        return LogletOffset(self.first_offset + self.batch.count)


@dataclass(frozen=True, slots=True)
class Released(Generic[Token]):
    """Answer these with OK, in this order, and tell others the global tail. Empty: held back."""

    appends: tuple[Placed[Token], ...]
    known_global_tail: LogletOffset


@dataclass(frozen=True, slots=True)
class Unresolved(Generic[Token]):
    """What a seal leaves behind."""

    sent: tuple[Token, ...]
    """May have been written, now or later: the caller must not just write them again."""
    unsent: tuple[Token, ...]
    """Certainly not written."""


class _Waiting(NamedTuple, Generic[Token]):
    batch: RecordBatch
    placed: Placed[Token]


class Sequencer(Generic[Token]):
    """Order, window and release of one loglet."""

    __slots__ = (
        "_committed",
        "_groups",
        "_next_offset",
        "_options",
        "_waiting",
        "_window_bytes",
        "known_global_tail",
        "phase",
    )

    def __init__(self, options: SequencerOptions, tail: LogletOffset = OLDEST_OFFSET) -> None:
        """A sequencer of a new loglet; `tail` other than 1 is for tests near the last offset."""
        options.validate()
        self._options = options
        self._next_offset = tail
        self._waiting: deque[_Waiting[Token]] = deque()
        self._groups: deque[StoreGroup[Token]] = deque()
        self._committed: set[LogletOffset] = set()
        self._window_bytes = 0
        self.known_global_tail = tail
        self.phase = SequencerPhase.OPEN

    @property
    def window_records(self) -> int:
        """Records with an offset that are not released yet."""
        return self._next_offset - self.known_global_tail

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nothing is under way: a drain is done."""
        return not self._groups and not self._waiting

    def submit(self, batch: RecordBatch, token: Token) -> Refused | None:
        """Give the batch its offsets and let it wait for a group; None when it was taken."""
        status = self._refusal(batch)
        if status is not None:
            return Refused(status)
        placed = Placed(token, self._next_offset)
        self._waiting.append(_Waiting(batch, placed))
        self._next_offset = LogletOffset(self._next_offset + batch.count)
        self._window_bytes += len(batch.body)
        return None

    def next_group(self) -> StoreGroup[Token] | None:
        """What to store next; None when nothing waits or enough is under way."""
        if not self._waiting or len(self._groups) >= self._options.groups_in_flight_max:
            return None
        members = self._take_group()
        group = StoreGroup(
            members[0].placed.first_offset,
            join([member.batch for member in members]),
            tuple([member.placed for member in members]),
        )
        self._groups.append(group)
        return group

    def committed(self, group: StoreGroup[Token]) -> Released[Token]:
        """A write quorum has the group. Repeating it, or saying it after a seal, does nothing."""
        if self.phase is not SequencerPhase.SEALED and group.first_offset >= self.known_global_tail:
            self._committed.add(group.first_offset)
        released: list[Placed[Token]] = []
        while self._groups and self._groups[0].first_offset in self._committed:
            released += self._release()
        return Released(tuple(released), self.known_global_tail)

    def drain(self) -> None:
        """Take no more appends, finish those that are here."""
        if self.phase is SequencerPhase.OPEN:
            self.phase = SequencerPhase.DRAINING

    def seal(self) -> Unresolved[Token]:
        """Stop for good, and hand back who waits for an answer. Repeating it returns nobody."""
        sent = tuple(placed.token for group in self._groups for placed in group.appends)
        unsent = tuple(waiting.placed.token for waiting in self._waiting)
        self.phase = SequencerPhase.SEALED
        self._groups.clear()
        self._waiting.clear()
        self._committed.clear()
        self._window_bytes = 0
        return Unresolved(sent, unsent)

    def _refusal(self, batch: RecordBatch) -> AppendStatus | None:
        if batch.count < 1:
            return AppendStatus.MALFORMED
        if self.phase is not SequencerPhase.OPEN:
            return AppendStatus.SEALED
        if self._next_offset + batch.count - 1 > OFFSET_MAX:
            return AppendStatus.RECONFIGURE
        if not self.is_idle and self._overflows(batch):
            return AppendStatus.OVERLOADED
        return None

    def _overflows(self, batch: RecordBatch) -> bool:
        return (
            self.window_records + batch.count > self._options.window_records_max
            or self._window_bytes + len(batch.body) > self._options.window_bytes_max
        )

    def _take_group(self) -> list[_Waiting[Token]]:
        """The waiting batches that fit into a group, at least one."""
        waiting = self._waiting
        members = [waiting.popleft()]
        room = self._options.group_bytes_max - len(members[0].batch.body)
        while waiting and len(waiting[0].batch.body) <= room:
            room -= len(waiting[0].batch.body)
            members.append(waiting.popleft())
        return members

    def _release(self) -> tuple[Placed[Token], ...]:
        """Move the global tail over the oldest group."""
        group = self._groups.popleft()
        assert group.first_offset == self.known_global_tail, "the released groups have a gap"
        self._committed.discard(group.first_offset)
        self.known_global_tail = group.tail
        self._window_bytes -= len(group.batch.body)
        return group.appends
