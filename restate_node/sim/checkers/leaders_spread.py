"""C4: when the cluster has come to rest, no node leads many more partitions than others do.

Partitions that an operator has pinned or frozen stay where they were put.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import ceil

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import Healed, History
from restate_node.sim.history_cluster import ClusterSeen


def find(history: History) -> Iterator[str]:
    healed, seen = history.last(Healed), history.last(ClusterSeen)
    if healed is None or seen is None or seen.at < healed.at:
        return
    workers = [node for node in seen.nodes if node.worker == "active" and node.is_there]
    free = [partition for partition in seen.partitions if not partition.is_bound]
    if not workers or len(free) < len(seen.partitions):
        return
    limit = ceil(len(free) / len(workers)) + 1
    leads = Counter(partition.leader for partition in free if partition.leader is not None)
    for node, count in sorted(leads.items()):
        if count > limit:
            yield (
                f"N{node} leads {count} of {len(free)} partitions at {seen.at:.3f}s; with "
                f"{len(workers)} workers at most {limit} are fair"
            )


CHECKER = Checker("C4", "leaders are spread: at most ceil(P/N)+1 on a node, at rest", find)
