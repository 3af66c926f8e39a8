"""S1: the repository never goes back to an older snapshot.

Whoever publishes may have been frozen, and deposed, in the middle of it. What it then puts in place
of a newer snapshot would make everybody believe that less is archived than the log was trimmed for.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History, SnapshotsKept


def find(history: History) -> Iterator[str]:
    newest: dict[int, SnapshotsKept] = {}
    for kept in history.of(SnapshotsKept):
        former = newest.get(kept.partition)
        if former is not None and max(kept.lsns) < max(former.lsns):
            yield (
                f"partition {kept.partition}: the newest snapshot reached LSN {max(former.lsns)} "
                f"at {former.at:.3f}s, and only {max(kept.lsns)} at {kept.at:.3f}s"
            )
        newest[kept.partition] = kept


CHECKER = Checker("S1", "the newest snapshot of a partition never becomes older", find)
