"""L1: what was acknowledged stays."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import Acknowledged, GapRead, History, ReadEnded, ReadStarted
from restate_node.sim.history import RecordRead as Read

Reader = tuple[int, int]


def find(history: History) -> Iterator[str]:
    """Every reader that passed an acknowledged LSN must have been given something there."""
    read: dict[Reader, set[int]] = {}
    for event in history.of(Read):
        read.setdefault((event.reader, event.log), set()).add(event.lsn)
    trimmed: dict[Reader, list[GapRead]] = {}
    for gap in history.of(GapRead):
        trimmed.setdefault((gap.reader, gap.log), []).append(gap)
    starts = {(event.reader, event.log): event for event in history.of(ReadStarted)}
    for end in history.of(ReadEnded):
        reader = (end.reader, end.log)
        for ack in history.of(Acknowledged):
            if ack.log != end.log or not _owed(ack, starts[reader], end):
                continue
            gaps = trimmed.get(reader, [])
            if ack.lsn in read.get(reader, ()) or any(g.lsn <= ack.lsn < g.end for g in gaps):
                continue
            yield (
                f"log {ack.log}: {ack.payload!r} was acknowledged at LSN {ack.lsn} to {ack.node} "
                f"at {ack.at:.3f}s, but reader {end.reader} on {end.node}, which read up to LSN "
                f"{end.lsn}, was not given that LSN"
            )


def _owed(ack: Acknowledged, start: ReadStarted, end: ReadEnded) -> bool:
    if ack.lsn < start.lsn:
        return False
    return ack.lsn < end.lsn or (end.complete and ack.at <= end.at)


CHECKER = Checker(
    "L1", "an acknowledged record is readable at its LSN for ever, unless it was trimmed", find
)
