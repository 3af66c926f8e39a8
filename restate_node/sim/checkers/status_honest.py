"""H1: whoever is told that the cluster is healthy can rely on it.

An answer may be a little old: heartbeats and failure detection take their time. But what was wrong
for the whole of the last `STALE_SECONDS` must not be called healthy: a partition without a leader
(V1), a replica that has still not applied what was acknowledged before (V2). A replica that is
active and frozen, with everybody content, is the failure this is for.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import EpochBegan, History, PatchAcknowledged, Progress
from restate_node.sim.history_cluster import StatusSaid

STALE_SECONDS = 6.0
FRESH_SECONDS = 0.5
SEEN_SECONDS = 2.0
"""Somebody looks at every replica at least this often; who is not seen is gone, or frozen."""


def find(history: History) -> Iterator[str]:
    progress = list(history.of(Progress))
    acknowledged = list(history.of(PatchAcknowledged))
    begun = list(history.of(EpochBegan))
    times = [seen.at for seen in progress]
    for said in history.of(StatusSaid):
        if said.healthy and said.at > STALE_SECONDS:
            first = bisect_left(times, said.at - STALE_SECONDS)
            # What has just begun to be true is known to the asked before it is seen by others.
            last = bisect_right(times, said.at + FRESH_SECONDS)
            recent = progress[first:last]
            yield from _unled(said, progress[:last], recent, begun)
            later = progress[last : bisect_right(times, said.at + SEEN_SECONDS)]
            yield from _behind(said, acknowledged, recent, later)


def _unled(
    said: StatusSaid, all_of_it: list[Progress], recent: list[Progress], begun: list[EpochBegan]
) -> Iterator[str]:
    """A leader may live for less than the pause between two looks: then its epoch tells of it."""
    partitions = {seen.partition for seen in all_of_it}
    led = {seen.partition for seen in recent if seen.is_leader}
    led |= {
        epoch.partition for epoch in begun if -FRESH_SECONDS <= said.at - epoch.at <= STALE_SECONDS
    }
    for partition in sorted(partitions - led):
        yield (
            f"at {said.at:.3f}s status said that all is well; partition {partition} had had no "
            f"leader for {STALE_SECONDS:.0f}s"
        )


def _behind(
    said: StatusSaid,
    acknowledged: list[PatchAcknowledged],
    recent: list[Progress],
    later: list[Progress],
) -> Iterator[str]:
    """Who is not seen `later` was no replica any more: the partition had moved on without it."""
    stayed = {(seen.partition, seen.node) for seen in later}
    owed: dict[int, int] = {}
    for ack in acknowledged:
        if ack.at < said.at - STALE_SECONDS:
            owed[ack.partition] = max(ack.lsn, owed.get(ack.partition, 0))
    best: dict[tuple[int, str], int] = {}
    watched: dict[tuple[int, str], tuple[float, float]] = {}
    for seen in recent:
        replica = (seen.partition, seen.node)
        best[replica] = max(seen.applied, best.get(replica, 0))
        watched[replica] = (watched.get(replica, (seen.at, 0))[0], seen.at)
    for (partition, node), applied in sorted(best.items()):
        first, last = watched[partition, node]
        all_the_time = (
            first < said.at - STALE_SECONDS + SEEN_SECONDS < said.at - SEEN_SECONDS < last
        )
        is_behind = (partition, node) in stayed and applied < owed.get(partition, 0)
        if is_behind and all_the_time:
            yield (
                f"at {said.at:.3f}s status said that all is well; partition {partition} on {node} "
                f"had applied LSN {applied}, and {owed[partition]} was acknowledged more than "
                f"{STALE_SECONDS:.0f}s before"
            )


CHECKER = Checker("H1", "status never says that all is well while V1 or V2 is violated", find)
