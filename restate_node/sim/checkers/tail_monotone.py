"""L3: the tail of a segment only moves forward; once sealed, it does not move at all.

Per segment, because a node whose chain is out of date may speak of an old segment, and rightly so.
And an old sequencer that has not heard of its seal may still name the tail that it knows, below
the one that was found when it was sealed: late, not wrong. So a sealed tail is a bound for other
sealed ones only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History, SegmentAcknowledged, TailFound

Segment = tuple[int, int]
"""Log and index."""


@dataclass(frozen=True, slots=True)
class Known:
    """From `at` on, the tail of the segment is not below `lsn`."""

    at: float
    lsn: int
    source: str


def find(history: History) -> Iterator[str]:
    facts: dict[Segment, list[Known]] = {}
    for event in history.events:
        if isinstance(event, TailFound | SegmentAcknowledged):
            facts.setdefault((event.log, event.segment), []).extend(_known(event))
    for segment, known in facts.items():
        tails = [t for t in history.of(TailFound) if (t.log, t.segment) == segment]
        yield from _falls(known, tails)
        yield from _sealed_moves(tails)


def _known(event: TailFound | SegmentAcknowledged) -> list[Known]:
    if isinstance(event, SegmentAcknowledged):
        end = event.lsn + event.count
        return [Known(event.at, end, f"LSN {end - 1} was acknowledged to {event.node}")]
    if event.sealed:
        return []
    return [Known(event.at, event.lsn, f"tail {event.lsn} was found by {event.node}")]


def _falls(known: list[Known], tails: list[TailFound]) -> Iterator[str]:
    """An answer counts against every question that was asked after it was given."""
    position, best = 0, Known(0.0, 0, "nothing")
    for tail in sorted(tails, key=lambda tail: tail.called_at):
        while position < len(known) and known[position].at < tail.called_at:
            best = max(best, known[position], key=lambda fact: fact.lsn)
            position += 1
        if tail.lsn < best.lsn:
            yield (
                f"log {tail.log}, segment {tail.segment}: {tail.node} asked at "
                f"{tail.called_at:.3f}s and was told tail {tail.lsn}, although {best.source} "
                f"at {best.at:.3f}s"
            )


def _sealed_moves(tails: list[TailFound]) -> Iterator[str]:
    sealed = [tail for tail in tails if tail.sealed]
    for tail in sealed[1:]:
        first = sealed[0]
        if first.lsn != tail.lsn:
            yield (
                f"log {tail.log}, segment {tail.segment}: sealed at {first.lsn} according to "
                f"{first.node} at {first.at:.3f}s, at {tail.lsn} according to {tail.node} "
                f"at {tail.at:.3f}s"
            )


CHECKER = Checker("L3", "the global tail only moves forward, and a sealed tail is final", find)
