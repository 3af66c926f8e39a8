"""Nodeset selection: size, preferences, spread over places, stability."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restate_node.protocol.nodesets import (
    CannotPlace,
    Nodeset,
    nodeset_size,
    select_nodeset,
)
from restate_node.protocol.quorum import NodesetChecker
from restate_node.types.ids import GenerationalNodeId, LogId, PlainNodeId, Version
from restate_node.types.nodes import (
    Node,
    NodeLocation,
    NodesConfiguration,
    Role,
    StorageState,
)
from restate_node.types.replication import ReplicationProperty


def cluster(
    *locations: str, states: dict[int, StorageState] | None = None, role: Role = Role.LOG_SERVER
) -> NodesConfiguration:
    nodes = NodesConfiguration(Version(0), "c")
    for number, location in enumerate(locations, start=1):
        node = Node(
            f"n{number}",
            GenerationalNodeId(PlainNodeId(number), 1),
            "http://n/",
            frozenset((role,)),
            (states or {}).get(number, StorageState.READ_WRITE),
            NodeLocation.parse(location),
        )
        nodes = nodes.updated(node, None)
    return nodes


def chosen(log: int, replication: str, nodes: NodesConfiguration, **wishes: object) -> set[int]:
    choice = select_nodeset(LogId(log), ReplicationProperty.parse(replication), nodes, **wishes)  # type: ignore[arg-type]
    assert isinstance(choice, Nodeset), choice
    assert len(set(choice.nodes)) == len(choice.nodes)
    return set(choice.nodes)


@pytest.mark.parametrize(
    ("replication", "configured", "size"),
    [("1", 0, 2), ("2", 0, 3), ("3", 0, 5), ("2", 4, 4), ("2", 1000, 128), ("200", 0, 128)],
)
def test_size(replication: str, configured: int, size: int) -> None:
    """Goal: the target size. Method: table."""
    assert nodeset_size(ReplicationProperty.parse(replication), configured) == size


def test_only_read_write_log_servers_are_chosen() -> None:
    """Goal: other states and roles are never chosen. Method: five nodes of which three will do."""
    states = {1: StorageState.READ_ONLY, 4: StorageState.DATA_LOSS}
    assert chosen(1, "2", cluster("", "", "", "", "", states=states)) == {2, 3, 5}
    assert chosen(1, "2", cluster("", "", "", ""), excluded=[PlainNodeId(2)]) == {1, 3, 4}
    workers = cluster("", "", "", role=Role.WORKER)
    refused = select_nodeset(LogId(1), ReplicationProperty.of_nodes(1), workers)
    assert isinstance(refused, CannotPlace)


def test_too_few_candidates() -> None:
    """Goal: the replication property is never bent. Method: too few nodes, then too few zones."""
    for replication, nodes in (
        ("3", cluster("", "")),
        ("{node: 2, zone: 2}", cluster("a.1", "a.1", "a.1")),
        ("{node: 3, zone: 2}", cluster("a.1", "a.2")),
    ):
        refused = select_nodeset(LogId(0), ReplicationProperty.parse(replication), nodes)
        assert isinstance(refused, CannotPlace)
        assert "add log servers" in refused.reason
    assert chosen(0, "2", cluster("", "")) == {1, 2}


def test_own_node_first_then_previous_members() -> None:
    """Goal: preferences win over the hash.

    Method: every log, with own node and previous members.
    """
    nodes = cluster(*[""] * 9)
    previous = (PlainNodeId(7), PlainNodeId(8))
    for log in range(30):
        assert chosen(log, "2", nodes, own=PlainNodeId(9), previous=previous) == {7, 8, 9}
        choice = select_nodeset(
            LogId(log), ReplicationProperty.of_nodes(2), nodes, own=PlainNodeId(5)
        )
        assert isinstance(choice, Nodeset)
        assert choice.nodes[0] == 5


def test_logs_spread_over_the_cluster() -> None:
    """Goal: no node carries far more than others. Method: count members over many logs."""
    nodes = cluster(*[""] * 8)
    load = Counter(node for log in range(400) for node in chosen(log, "2", nodes))
    assert set(load) == set(range(1, 9))
    assert max(load.values()) < 1.5 * min(load.values())


@pytest.mark.parametrize(
    ("replication", "locations", "sizes"),
    [
        ("{node: 3, zone: 2}", ["a.1"] * 4 + ["a.2"] * 4 + ["a.3"] * 4, {2: 3}),
        ("{node: 3, zone: 2}", ["a.1"] * 9 + ["a.2"] * 3, {3: 2}),
        ("{node: 2, zone: 2}", ["a.1", "a.2", "a.3"], {1: 3}),
        # Many zones: two each, or the copies would not fit where only two zones are left.
        ("{node: 3, zone: 2}", [f"a.{zone}" for zone in range(6)] * 3, {2: 6}),
        ("{node: 3, zone: 2}", ["a.1"] * 4 + ["a.2"], {3: 1, 1: 1}),
    ],
)
def test_zones_give_equal_shares(
    replication: str, locations: list[str], sizes: dict[int, int]
) -> None:
    """Goal: losing any one zone hurts equally. Method: count members by zone."""
    nodes = cluster(*locations)
    members = chosen(3, replication, nodes)
    by_zone = Counter(locations[n - 1] for n in members)
    assert Counter(by_zone.values()) == sizes


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["a.1", "a.2", "b.1", "b.2", ""]), min_size=1, max_size=10),
    st.sampled_from(
        [
            "1",
            "2",
            "3",
            "{zone: 2}",
            "{node: 3, zone: 2}",
            "{node: 2, region: 2}",
            "{node: 4, zone: 3, region: 2}",
        ]
    ),
    st.integers(0, 10),
    st.integers(0, 6),
)
def test_sound_and_stable(locations: list[str], replication: str, own: int, size: int) -> None:
    """Goal: the result holds a quorum and is kept.

    Method: any cluster; choose, then choose again.
    """
    nodes = cluster(*locations)
    parsed, log, me = ReplicationProperty.parse(replication), LogId(4), PlainNodeId(own)
    first = select_nodeset(log, parsed, nodes, size_target=size, own=me)
    whole = NodesetChecker(nodes.nodes, nodes, parsed)
    assert isinstance(first, Nodeset) == whole.write_quorum(nodes.nodes)
    if isinstance(first, Nodeset):
        again = select_nodeset(log, parsed, nodes, size_target=size, own=me, previous=first.nodes)
        assert isinstance(again, Nodeset)
        assert set(again.nodes) == set(first.nodes)
