"""C1: when the cluster has come to rest, open segments are stored as the configuration demands, on
log servers that take records.

Only logs of partitions: those have somebody who looks after them. And only where it can be done: a
configuration that needs more log servers than there are is not the nodesets' fault.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import Healed, History
from restate_node.sim.history_cluster import ClusterSeen, LogSeen

PARTITION_LOGS_MAX = 100
WRITABLE = "read-write"


def find(history: History) -> Iterator[str]:
    healed, seen = history.last(Healed), history.last(ClusterSeen)
    if healed is None or seen is None or seen.at < healed.at:
        return
    writable = {node.id for node in seen.nodes if node.storage == WRITABLE}
    if len(writable) < seen.copies:
        return
    for log in seen.logs:
        if log.log < PARTITION_LOGS_MAX:
            yield from _judge(log, seen, writable)


def _judge(log: LogSeen, seen: ClusterSeen, writable: set[int]) -> Iterator[str]:
    where = f"log {log.log}, segment {log.segment}, at {seen.at:.3f}s"
    if log.copies != seen.copies:
        yield f"{where}: stores {log.copies} copies; the configuration demands {seen.copies}"
    if len(log.nodeset) < log.copies:
        yield f"{where}: {log.copies} copies do not fit onto nodes {list(log.nodeset)}"
    if others := sorted(set(log.nodeset) - writable):
        states = {node.id: node.storage for node in seen.nodes}
        shown = ", ".join(f"N{node} is {states.get(node, 'no member')}" for node in others)
        yield f"{where}: {shown}"


CHECKER = Checker(
    "C1", "nodesets satisfy the replication and hold read-write log servers only, at rest", find
)
