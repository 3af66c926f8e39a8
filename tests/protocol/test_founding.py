"""When a new cluster waits with its first placement: the rule by table."""

from __future__ import annotations

import pytest

from restate_node.protocol.cluster_view import ClusterView
from restate_node.protocol.founding import why_wait
from restate_node.types.ids import GenerationalNodeId, PartitionId, PlainNodeId, Version
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState, WorkerState
from restate_node.types.partitions import EpochMetadata, PartitionTable
from restate_node.types.replication import ReplicationProperty

ONE_COPY = ReplicationProperty.of_nodes(1)
PLACED = EpochMetadata(Version(1)).set_initial_current(ONE_COPY, (PlainNodeId(1),), now_ms=1)


def life(number: int) -> GenerationalNodeId:
    return GenerationalNodeId(PlainNodeId(number), 1)


def seen(
    alive: str, provisioning: str = "", workers: str = "", *, placed: bool = False
) -> ClusterView:
    """Three members; who of them is alive, which log servers and workers are provisioning."""
    nodes = {
        PlainNodeId(number): Node(
            f"node-{number}",
            life(number),
            f"http://node-{number}:5122/",
            frozenset(Role),
            storage_state=StorageState.PROVISIONING
            if str(number) in provisioning
            else StorageState.READ_WRITE,
            worker_state=WorkerState.PROVISIONING if str(number) in workers else WorkerState.ACTIVE,
        )
        for number in (1, 2, 3)
    }
    return ClusterView(
        nodes=NodesConfiguration(Version(1), "test", nodes, cluster_fingerprint=7),
        table=PartitionTable.equal_ranges(2, ONE_COPY),
        epochs={PartitionId(0): PLACED} if placed else {},
        alive=frozenset(life(int(number)) for number in alive),
    )


@pytest.mark.parametrize(
    ("view", "expected", "reason"),
    [
        (seen("123"), 3, None),
        (seen("12"), 3, "2 of 3 nodes are here"),
        (seen("12"), 1, None),
        (seen("123"), 1, None),
        (seen("123", "3"), 3, "the log-server of N3 is provisioning"),
        (seen("1", "3"), 1, None),
        (seen("1", "1"), 1, "the log-server of N1 is provisioning"),
        (seen("123", "", "2"), 3, "the worker of N2 is provisioning"),
        (seen("13", "", "2"), 2, None),
        (seen("1", "123", "123", placed=True), 3, None),
    ],
)
def test_who_is_missing(view: ClusterView, expected: int, reason: str | None) -> None:
    """Goal: the first placement waits for those on their way, and never twice. How: by table."""
    assert why_wait(view, expected) == reason
