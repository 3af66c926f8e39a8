"""M1: election safety."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History, RaftLeader


def find(history: History) -> Iterator[str]:
    leaders: dict[int, RaftLeader] = {}
    for seen in history.of(RaftLeader):
        first = leaders.setdefault(seen.term, seen)
        if first.node != seen.node:
            yield (
                f"term {seen.term} is led by {first.node} (at {first.at:.3f}s) and by "
                f"{seen.node} (at {seen.at:.3f}s)"
            )


CHECKER = Checker("M1", "at most one metadata server leads in a term", find)
