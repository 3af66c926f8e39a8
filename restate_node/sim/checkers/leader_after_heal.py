"""V1: when all faults are over, every partition is led again soon."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import Healed, History, Observed, Progress

LEADER_SECONDS_MAX = 10.0


def find(history: History) -> Iterator[str]:
    """From the deadline on, some replica of every partition known must say that it leads."""
    healed, observed = history.last(Healed), history.last(Observed)
    if healed is None or observed is None or observed.at < healed.at + LEADER_SECONDS_MAX:
        return
    deadline = healed.at + LEADER_SECONDS_MAX
    partitions = {progress.partition for progress in history.of(Progress)}
    led = {
        progress.partition
        for progress in history.of(Progress)
        if progress.is_leader and healed.at <= progress.at <= deadline
    }
    for partition in sorted(partitions - led):
        yield (
            f"partition {partition}: no leader between the healing at {healed.at:.3f}s "
            f"and {deadline:.3f}s"
        )


CHECKER = Checker(
    "V1", f"after healing, every partition has a leader within {LEADER_SECONDS_MAX:.0f} s", find
)
