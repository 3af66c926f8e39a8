"""One node with every role and one more worker: the smallest cluster with a trim gap.

The log is kept once, by the first node; the partition twice. So the worker may be away while
records are written, and its log be trimmed.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from tests.process.node_processes import NodeProcess, eventually, http
from tests.promises.operations_cluster import OperatedCluster
from tests.promises.page_tables import table

PARKED_WITHIN_S = 45.0


def repository(destination: str, *more: str) -> list[str]:
    """Lines of the page's step 1."""
    return ["[worker.snapshots]", f'destination = "{destination}"', *more]


def start_two_workers(cluster: OperatedCluster, first: Sequence[str] = ()) -> None:
    """The first node with these tables and all partitions, then the worker as a follower."""
    cluster.replication = 1
    cluster.tables = first
    cluster.start(1)
    cluster.add(roles=["worker"], tables=()).start().wait_ready()
    cluster.shown("restatectl config set --partition-replication 2 --yes")
    cluster.replication = 2
    cluster.settle()
    for partition in range(cluster.partitions):
        cluster.shown(f"restatectl partitions leadership pin {partition} --node N1")
    cluster.until(lambda: set(cluster.leaders().values()) == {"N1"}, "the first node leads")


def lose_store(node: NodeProcess) -> None:
    """What a stopped worker knows of its partitions is gone."""
    shutil.rmtree(node.data / node.name / "db")


def trim(cluster: OperatedCluster, to: int = 0) -> int:
    """Forget the records of log 0 up to an LSN, or all, and see that they are gone."""
    found = table(cluster.shown("restatectl logs find-tail 0"), "LOG-ID  SEGMENT  STATE  TAIL-LSN")
    last = to or int(found[0]["TAIL-LSN"]) - 1
    cluster.shown(f"restatectl logs trim 0 --trim-point {last}")
    described = cluster.shown("restatectl logs describe 0 --extra")
    assert f"Trim Point LSN: {last}\n" in described, described
    return last


def applied(cluster: OperatedCluster, node: str = "N1") -> int:
    """How far a replica of partition 0 is; 0 when it does not say."""
    for row in cluster.processors():
        if row["ID"] == "0" and row["NODE"].startswith(f"{node}:") and row["APPLIED"] != "-":
            return int(row["APPLIED"])
    return 0


def is_parked(node: NodeProcess, line: str) -> None:
    """The processor says the line and waits; its node lives."""
    said = node.log.stat().st_size if node.log.exists() else 0
    node.start()

    def tells() -> bool:
        return line in node.log.read_bytes()[said:].decode("utf-8", "replace")

    eventually(tells, PARKED_WITHIN_S, f"it says {line!r}", [node])
    assert node.running.poll() is None
    assert http(f"{node.address}health")[0] == 200
