"""M2: log matching."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History, RaftEntry


def find(history: History) -> Iterator[str]:
    entries: dict[tuple[int, int], RaftEntry] = {}
    for seen in history.of(RaftEntry):
        first = entries.setdefault((seen.index, seen.term), seen)
        if first.digest != seen.digest:
            yield (
                f"entry {seen.index} of term {seen.term} is {first.digest} on {first.node} "
                f"and {seen.digest} on {seen.node}"
            )


CHECKER = Checker(
    "M2", "two entries of the Raft logs with the same index and term are the same command", find
)
