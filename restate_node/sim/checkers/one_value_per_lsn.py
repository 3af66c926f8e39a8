"""L2: nobody ever sees another record at an LSN, and a reader sees each LSN once, in order."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import Acknowledged, History, ReadStarted, RecordRead
from restate_node.sim.history import GapRead as Gap


def find(history: History) -> Iterator[str]:
    yield from _different_values(history)
    yield from _disorder(history)


def _different_values(history: History) -> Iterator[str]:
    first: dict[tuple[int, int], tuple[bytes, str]] = {}
    for event in history.events:
        match event:
            case Acknowledged():
                seen = f"acknowledged to {event.node} at {event.at:.3f}s"
            case RecordRead():
                seen = f"read by {event.node} at {event.at:.3f}s"
            case _:
                continue
        payload, before = first.setdefault((event.log, event.lsn), (event.payload, seen))
        if payload != event.payload:
            yield (
                f"log {event.log}, LSN {event.lsn}: {payload!r} was {before}, "
                f"but {event.payload!r} was {seen}"
            )


def _disorder(history: History) -> Iterator[str]:
    position: dict[tuple[int, int], int] = {}
    for event in history.events:
        if isinstance(event, ReadStarted):
            position[event.reader, event.log] = event.lsn
        elif isinstance(event, RecordRead | Gap):
            expected = position[event.reader, event.log]
            end = event.lsn + 1 if isinstance(event, RecordRead) else event.end
            if event.lsn != expected:
                yield (
                    f"log {event.log}: reader {event.reader} on {event.node} was given LSN "
                    f"{event.lsn} at {event.at:.3f}s, expected {expected}"
                )
            position[event.reader, event.log] = end


CHECKER = Checker("L2", "every LSN has one value, and readers see each LSN once, in order", find)
