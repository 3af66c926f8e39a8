"""P11: only what runs acts. An invocation that was killed, or has ended otherwise, writes nothing
more into its journal or into state of its object; one that is paused or suspended does not before
it runs again, whatever its handler still sends.

Stages are those that replicas wrote, in the order of the log: a replica sees what others see, but
none has to see it all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History
from restate_node.sim.history_invocations import EntryWritten, ObjectWritten, StageReached

RUNS = "INVOKED"

Name = tuple[int, str]
"""Partition and invocation."""


@dataclass(slots=True)
class Stages:
    """The stages of one invocation: what it had become after a record."""

    by_lsn: dict[int, StageReached] = field(default_factory=dict[int, StageReached])
    _lsns: list[int] = field(default_factory=list[int])

    def before(self, lsn: int) -> StageReached | None:
        """Where the record found it."""
        if len(self._lsns) != len(self.by_lsn):
            self._lsns = sorted(self.by_lsn)
        place = bisect_left(self._lsns, lsn)
        return self.by_lsn[self._lsns[place - 1]] if place else None


def find(history: History) -> Iterator[str]:
    stages: dict[Name, Stages] = {}
    for event in history.of(StageReached):
        known = stages.setdefault((event.partition, event.invocation), Stages())
        # Of several by one record the last counts.
        known.by_lsn[event.lsn] = event
    told: set[tuple[int, int]] = set()
    for event in history.events:
        match event:
            case EntryWritten(index=index, is_command=True) if index > 0:
                name, what = event.invocation, f"entry {index} of its journal"
            case ObjectWritten():
                name, what = event.writer, f"state of {event.object}"
            case _:
                continue
        where = stages.get((event.partition, name))
        found = None if where is None else where.before(event.lsn)
        if found is None or found.stage == RUNS or (event.partition, event.lsn) in told:
            continue
        told.add((event.partition, event.lsn))
        yield (
            f"partition {event.partition}: {name} wrote {what} at LSN {event.lsn}, and was "
            f"{found.stage.lower()} since LSN {found.lsn} (on {found.node})"
        )


CHECKER = Checker("P11", "an invocation that has ended, is paused or suspended does nothing", find)
