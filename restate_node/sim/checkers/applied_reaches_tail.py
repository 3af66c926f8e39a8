"""V2: when all faults are over, every replica catches up. A leader that is active and applies
nothing looks healthy to everybody but this checker.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import Healed, History, Observed, Progress

CAUGHT_UP_SECONDS_MAX = 20.0


def find(history: History) -> Iterator[str]:
    """Each replica alive after the healing must once have applied all that was in its log."""
    healed, observed = history.last(Healed), history.last(Observed)
    if healed is None or observed is None or observed.at < healed.at + CAUGHT_UP_SECONDS_MAX:
        return
    deadline = healed.at + CAUGHT_UP_SECONDS_MAX
    newest: dict[tuple[int, str], Progress] = {}
    reached: set[tuple[int, str]] = set()
    for progress in history.of(Progress):
        if not healed.at <= progress.at <= deadline:
            continue
        replica = (progress.partition, progress.node)
        newest[replica] = progress
        if progress.applied + 1 >= progress.tail > 0:
            reached.add(replica)
    for replica in sorted(newest.keys() - reached):
        last = newest[replica]
        yield (
            f"partition {last.partition} on {last.node}: applied LSN {last.applied} at "
            f"{last.at:.3f}s, the tail is {last.tail}; healed at {healed.at:.3f}s"
        )


CHECKER = Checker(
    "V2", f"after healing, every replica applies all within {CAUGHT_UP_SECONDS_MAX:.0f} s", find
)
