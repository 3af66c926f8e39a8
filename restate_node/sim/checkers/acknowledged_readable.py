"""L1: what was acknowledged stays, until somebody trims it."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import (
    Acknowledged,
    GapRead,
    History,
    ReadEnded,
    ReadStarted,
    RecordRead,
    Trimming,
)

Reader = tuple[int, int]
NOTHING = b"nothing"
"""No record of a run is this."""


def find(history: History) -> Iterator[str]:
    yield from _lost(history)
    yield from _holes(history)


def _lost(history: History) -> Iterator[str]:
    """Every reader that passed an acknowledged LSN must have been given the record, or a gap."""
    read: dict[Reader, dict[int, bytes | None]] = {}
    for event in history.events:
        match event:
            case RecordRead():
                read.setdefault((event.reader, event.log), {})[event.lsn] = event.payload
            case GapRead():
                gap = dict.fromkeys(range(event.lsn, event.end))
                read.setdefault((event.reader, event.log), {}).update(gap)
            case _:
                pass
    starts = {(event.reader, event.log): event for event in history.of(ReadStarted)}
    for end in history.of(ReadEnded):
        reader = (end.reader, end.log)
        given = read.get(reader, {})
        for ack in history.of(Acknowledged):
            owed = ack.log == end.log and _is_owed(ack, starts[reader], end)
            if owed and given.get(ack.lsn, NOTHING) not in (None, ack.payload):
                yield (
                    f"log {ack.log}: {ack.payload!r} was acknowledged at LSN {ack.lsn} to "
                    f"{ack.node} at {ack.at:.3f}s, but reader {end.reader} on {end.node}, which "
                    f"read up to LSN {end.lsn}, was given {given.get(ack.lsn, NOTHING)!r} there"
                )


def _is_owed(ack: Acknowledged, start: ReadStarted, end: ReadEnded) -> bool:
    if ack.lsn < start.lsn:
        return False
    return ack.lsn < end.lsn or (end.complete and ack.at <= end.at)


def _holes(history: History) -> Iterator[str]:
    """A gap that nobody made by trimming is a loss under another name."""
    trimmed: dict[int, int] = {}
    for event in history.events:
        match event:
            case Trimming():
                trimmed[event.log] = max(event.lsn, trimmed.get(event.log, 0))
            case GapRead() if event.end - 1 > trimmed.get(event.log, 0):
                yield (
                    f"log {event.log}: reader {event.reader} on {event.node} was told at "
                    f"{event.at:.3f}s that LSN {event.lsn} to {event.end - 1} are trimmed; "
                    f"nobody trimmed above {trimmed.get(event.log, 0)}"
                )
            case _:
                pass


CHECKER = Checker(
    "L1", "an acknowledged record is readable at its LSN for ever, unless it was trimmed", find
)
