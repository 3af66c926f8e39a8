"""P2: an epoch belongs to one leader, and later records of the log never return to an older one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import EpochBegan, History, Leading


def find(history: History) -> Iterator[str]:
    yield from _two_leaders(history)
    yield from _returns(history)


def _two_leaders(history: History) -> Iterator[str]:
    leaders: dict[tuple[int, int], Leading] = {}
    for seen in history.of(Leading):
        first = leaders.setdefault((seen.partition, seen.epoch), seen)
        if first.node != seen.node:
            yield (
                f"partition {seen.partition}, epoch {seen.epoch}: led by {first.node} (at "
                f"{first.at:.3f}s) and by {seen.node} (at {seen.at:.3f}s)"
            )


def _returns(history: History) -> Iterator[str]:
    """What began where, whoever read it: by LSN, the epochs must rise."""
    began = {(seen.partition, seen.lsn, seen.epoch): seen for seen in history.of(EpochBegan)}
    for former, latter in pairwise(began[place] for place in sorted(began)):
        if former.partition == latter.partition and latter.epoch <= former.epoch:
            yield (
                f"partition {latter.partition}: epoch {latter.epoch} of {latter.leader} began at "
                f"LSN {latter.lsn} (read by {latter.node} at {latter.at:.3f}s), after epoch "
                f"{former.epoch} of {former.leader} at LSN {former.lsn}"
            )


CHECKER = Checker(
    "P2", "a partition has at most one effective leader per epoch, and epochs only rise", find
)
