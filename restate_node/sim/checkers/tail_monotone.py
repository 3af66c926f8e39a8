"""L3: a tail is never below what was acknowledged before it was asked for.

Per segment, because a node whose chain is out of date may speak of an old segment, and rightly so.

Two answers may differ, and neither is wrong. A sequencer names what it knows to be committed; a
search of the log servers may have found more, whose acknowledgements are still on their way to the
sequencer. And two searches of a sealed segment may propose different tails, both above all
acknowledgements, of which the chain takes one: that it is one and stays is L5. So answers are held
against acknowledgements, not against each other.
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
    for ack in history.of(SegmentAcknowledged):
        facts.setdefault((ack.log, ack.segment), []).append(_known(ack))
    for segment, known in facts.items():
        tails = [t for t in history.of(TailFound) if (t.log, t.segment) == segment]
        yield from _falls(known, tails)


def _known(ack: SegmentAcknowledged) -> Known:
    end = ack.lsn + ack.count
    return Known(ack.at, end, f"LSN {end - 1} was acknowledged to {ack.node}")


def _falls(known: list[Known], tails: list[TailFound]) -> Iterator[str]:
    """An acknowledgement counts for every question that was asked after it was given."""
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


CHECKER = Checker("L3", "the global tail never falls below anything that was acknowledged", find)
