"""C2: a cluster to which nothing happens leaves everything where it is.

What began before may take its time; after half a minute it has none left. Trimming is no change of
place: chains may lose segments at their heads. Whatever else moves without a cause would move for
ever.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import ChainSeen, EpochBegan, History
from restate_node.sim.history_cluster import ClusterSeen, PartitionSeen, QuietBegan, QuietEnded

SETTLED_SECONDS = 30.0


def find(history: History) -> Iterator[str]:
    began, ended = history.last(QuietBegan), history.last(QuietEnded)
    if began is None or ended is None or ended.at <= began.at + SETTLED_SECONDS:
        return
    settled = began.at + SETTLED_SECONDS
    yield from _new_segments(history, settled)
    yield from _new_epochs(history, settled)
    yield from _moved_replicas(history, settled)


def _new_segments(history: History, settled: float) -> Iterator[str]:
    newest: dict[int, int] = {}
    for seen in history.of(ChainSeen):
        tail = max(segment.index for segment in seen.segments)
        if seen.at > settled and tail > newest.get(seen.log, tail):
            yield (
                f"log {seen.log}: segment {tail} was opened at {seen.at:.3f}s, although nothing "
                f"has happened since {settled - SETTLED_SECONDS:.3f}s"
            )
        newest[seen.log] = max(tail, newest.get(seen.log, tail))


def _new_epochs(history: History, settled: float) -> Iterator[str]:
    highest: dict[int, int] = {}
    for epoch in history.of(EpochBegan):
        known = highest.get(epoch.partition)
        is_quiet = epoch.at > settled
        if is_quiet and known is not None and epoch.epoch > known:
            yield (
                f"partition {epoch.partition}: epoch {epoch.epoch} of {epoch.leader} began at "
                f"{epoch.at:.3f}s, although nothing has "
                f"happened since {settled - SETTLED_SECONDS:.3f}s"
            )
        highest[epoch.partition] = max(epoch.epoch, known or 0)


def _moved_replicas(history: History, settled: float) -> Iterator[str]:
    before: dict[int, PartitionSeen] = {}
    for seen in history.of(ClusterSeen):
        for partition in seen.partitions if seen.at >= settled else ():
            former = before.get(partition.partition)
            if former is not None and former.replicas != partition.replicas:
                yield (
                    f"partition {partition.partition}: moved from nodes {list(former.replicas)} to "
                    f"{list(partition.replicas)} by {seen.at:.3f}s, although nothing has happened "
                    f"since {settled - SETTLED_SECONDS:.3f}s"
                )
            before[partition.partition] = partition


CHECKER = Checker(
    "C2", f"nothing is reconfigured when nothing changed for {SETTLED_SECONDS:.0f} s", find
)
