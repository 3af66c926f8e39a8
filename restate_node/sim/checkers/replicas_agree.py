"""P1: replicas that applied the same log have the same state."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History, StateSeen


def find(history: History) -> Iterator[str]:
    states: dict[tuple[int, int], StateSeen] = {}
    for seen in history.of(StateSeen):
        first = states.setdefault((seen.partition, seen.lsn), seen)
        if first.digest != seen.digest:
            yield (
                f"partition {seen.partition} at LSN {seen.lsn}: {first.node} has state "
                f"{first.digest}, {seen.node} has {seen.digest}"
            )


CHECKER = Checker("P1", "all replicas of a partition have the same state at the same LSN", find)
