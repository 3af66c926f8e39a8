"""C3: when the cluster has come to rest, a worker that drains runs nothing and leads nothing."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import Healed, History
from restate_node.sim.history_cluster import ClusterSeen

DRAINED = ("draining", "disabled")


def find(history: History) -> Iterator[str]:
    healed, seen = history.last(Healed), history.last(ClusterSeen)
    if healed is None or seen is None or seen.at < healed.at:
        return
    drained = {node.id: node for node in seen.nodes if node.worker in DRAINED}
    for partition in seen.partitions:
        owners = {*partition.replicas, *([partition.leader] if partition.leader else [])}
        for owner in sorted(owners & drained.keys()):
            yield (
                f"partition {partition.partition}: still on {drained[owner].name}, which is "
                f"{drained[owner].worker}, at {seen.at:.3f}s (replicas "
                f"{list(partition.replicas)}, leader {partition.leader})"
            )


CHECKER = Checker("C3", "a drained node owns nothing once the cluster is at rest", find)
