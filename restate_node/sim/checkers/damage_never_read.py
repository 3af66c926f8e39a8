"""L7: what rots on a disk is never handed out: each record that is read was written by somebody, as
it is; with a copy left, it is also still there (L1).
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import Appending, CopyDamaged, History, RecordApplied, RecordRead


def find(history: History) -> Iterator[str]:
    damaged = list(history.of(CopyDamaged))
    if not damaged:
        return
    written = {(event.log, event.payload) for event in history.of(Appending)}
    for read in history.of(RecordRead):
        if read.at >= damaged[0].at and (read.log, read.payload) not in written:
            yield (
                f"log {read.log}: reader {read.reader} on {read.node} was given {read.payload!r} "
                f"at LSN {read.lsn} at {read.at:.3f}s; nobody ever wrote that (damaged: "
                f"{damaged[0].what} on {damaged[0].host})"
            )
    yield from _changed_commands(history)


def _changed_commands(history: History) -> Iterator[str]:
    """A record of a partition must be the same for every replica that applies it."""
    first: dict[tuple[int, int], RecordApplied] = {}
    for record in history.of(RecordApplied):
        known = first.setdefault((record.partition, record.lsn), record)
        if _content(known) != _content(record):
            yield (
                f"partition {record.partition}, LSN {record.lsn}: {known.node} applied "
                f"{_content(known)}, {record.node} applied {_content(record)}"
            )


def _content(record: RecordApplied) -> tuple[object, ...]:
    return record.writer, record.number, record.key, record.value


CHECKER = Checker("L7", "damage of up to f copies neither loses nor changes a record", find)
