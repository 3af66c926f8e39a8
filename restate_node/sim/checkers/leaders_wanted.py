"""C5: when the cluster has come to rest, whoever leads was told to lead, and nobody else was.

A leader that is told to follow goes on until another one comes; operators see it on its way out,
and nobody appoints it again when it stumbles.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import Healed, History
from restate_node.sim.history_cluster import ClusterSeen


def find(history: History) -> Iterator[str]:
    healed, seen = history.last(Healed), history.last(ClusterSeen)
    if healed is None or seen is None or seen.at < healed.at:
        return
    for partition in seen.partitions:
        if partition.leader not in partition.wanted and partition.leader is not None:
            yield (
                f"N{partition.leader} leads partition {partition.partition} at {seen.at:.3f}s, and "
                "was told to follow"
            )
        for node in partition.wanted:
            if node != partition.leader:
                yield (
                    f"N{node} was told to lead partition {partition.partition}, and does not at "
                    f"{seen.at:.3f}s"
                )


CHECKER = Checker("C5", "who leads was told to lead, and nobody else was, at rest", find)
