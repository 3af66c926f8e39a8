"""M4: state machine safety."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History, RaftApplied


def find(history: History) -> Iterator[str]:
    applied: dict[int, RaftApplied] = {}
    newest: dict[str, int] = {}
    for seen in history.of(RaftApplied):
        first = applied.setdefault(seen.index, seen)
        if (first.term, first.digest) != (seen.term, seen.digest):
            yield (
                f"entry {seen.index}: {first.node} applied {first.digest} of term {first.term}, "
                f"{seen.node} applied {seen.digest} of term {seen.term}"
            )
        if seen.index <= newest.get(seen.node, -1):
            yield f"{seen.node} applied entry {seen.index} after entry {newest[seen.node]}"
        newest[seen.node] = seen.index


CHECKER = Checker("M4", "all metadata servers apply the same command at each index, once", find)
