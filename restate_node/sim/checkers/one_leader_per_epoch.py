"""P2: an epoch belongs to one leader."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History, Leading


def find(history: History) -> Iterator[str]:
    leaders: dict[tuple[int, int], Leading] = {}
    for seen in history.of(Leading):
        first = leaders.setdefault((seen.partition, seen.epoch), seen)
        if first.node != seen.node:
            yield (
                f"partition {seen.partition}, epoch {seen.epoch}: led by {first.node} (at "
                f"{first.at:.3f}s) and by {seen.node} (at {seen.at:.3f}s)"
            )


CHECKER = Checker("P2", "a partition has at most one effective leader per epoch", find)
