"""L4: where a segment ends, its acknowledgements end."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import ChainSeen, History, SegmentAcknowledged, TailFound

Segment = tuple[int, int]
"""Log and index."""


def find(history: History) -> Iterator[str]:
    """The end of a segment is where the next begins, or what a find-tail said of a sealed one."""
    ends: dict[Segment, tuple[int, str]] = {}
    for chain in history.of(ChainSeen):
        for former, latter in zip(chain.segments, chain.segments[1:], strict=False):
            source = f"chain version {chain.version} on {chain.node}"
            ends.setdefault((chain.log, former.index), (latter.base, source))
    for tail in history.of(TailFound):
        if tail.sealed:
            source = f"find-tail of {tail.node} at {tail.at:.3f}s"
            ends.setdefault((tail.log, tail.segment), (tail.lsn, source))
    for ack in history.of(SegmentAcknowledged):
        end = ends.get((ack.log, ack.segment))
        if end is not None and ack.lsn + ack.count > end[0]:
            yield (
                f"log {ack.log}, segment {ack.segment}: ends at LSN {end[0]} ({end[1]}), but "
                f"{ack.count} records from LSN {ack.lsn} were acknowledged to {ack.node} "
                f"at {ack.at:.3f}s"
            )


CHECKER = Checker("L4", "nothing is acknowledged at or above the tail of a sealed segment", find)
