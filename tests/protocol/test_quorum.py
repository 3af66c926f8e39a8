"""Write quorums and f-majorities, by table and by exhaustion."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations, product

import pytest

from restate_node.protocol.quorum import FMajority, NodesetChecker
from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.nodes import (
    Node,
    NodeLocation,
    NodesConfiguration,
    Role,
    StorageState,
)
from restate_node.types.replication import ReplicationProperty

STATES = {
    "w": StorageState.READ_WRITE,
    "r": StorageState.READ_ONLY,
    "p": StorageState.PROVISIONING,
    "g": StorageState.GONE,
    "l": StorageState.DATA_LOSS,
    "d": StorageState.DISABLED,
}


def cluster(text: str) -> NodesConfiguration:
    """`w@eu.a l@eu.b x`: node 1, 2, 3 by state and location; x is a tombstone."""
    nodes = NodesConfiguration(Version(0), "c")
    for number, entry in enumerate(text.split(), start=1):
        state, _, location = entry.partition("@")
        node = Node(
            f"n{number}",
            GenerationalNodeId(PlainNodeId(number), 1),
            f"http://n{number}/",
            frozenset((Role.LOG_SERVER,)),
            STATES.get(state, StorageState.READ_WRITE),
            NodeLocation.parse(location),
        )
        nodes = nodes.updated(node, None)
        if state == "x":
            nodes = nodes.removed(node.id, None)
    return nodes


def ids(numbers: str | tuple[int, ...]) -> frozenset[PlainNodeId]:
    return frozenset(PlainNodeId(int(n)) for n in numbers)


def checker(text: str, replication: str) -> NodesetChecker:
    nodes = cluster(text)
    return NodesetChecker(nodes.nodes, nodes, ReplicationProperty.parse(replication))


@pytest.mark.parametrize(
    ("text", "replication", "answered", "expected"),
    [
        ("w w w", "2", "1", False),
        ("w w w", "2", "13", True),
        ("w w w", "2", "19", False),
        ("w d w", "2", "12", False),
        ("w x w", "2", "12", False),
        ("w g p", "2", "23", True),
        ("w w", "3", "12", False),
        ("w@a.1 w@a.1 w@a.2", "{node: 2, zone: 2}", "12", False),
        ("w@a.1 w@a.1 w@a.2", "{node: 2, zone: 2}", "13", True),
        ("w@a.1 w@a.2 w@b.1", "{node: 2, region: 2}", "12", False),
        ("w@a.1 w@a.2 w@b.1", "{node: 2, region: 2}", "23", True),
        ("w@a.1 w@a.2 w@b.1", "{node: 3, zone: 3, region: 2}", "123", True),
        ("w@a.1 w@a.2 w@b.1", "{zone: 2}", "12", True),
        ("w@a.1 d@a.2 w@a.1", "{zone: 2}", "123", False),
    ],
)
def test_write_quorum(text: str, replication: str, answered: str, expected: bool) -> None:
    """Goal: copies and places both count. Method: table."""
    assert checker(text, replication).write_quorum(ids(answered)) is expected


@pytest.mark.parametrize(
    ("text", "replication", "answered", "expected"),
    [
        ("w w w", "2", "", FMajority.NONE),
        ("w w w", "2", "1", FMajority.NONE),
        ("w w w", "2", "12", FMajority.SUCCESS),
        ("w w w", "1", "12", FMajority.NONE),
        ("w w w", "3", "1", FMajority.SUCCESS),
        ("w w w", "2", "19", FMajority.NONE),
        # Known to be empty: the others are the nodeset.
        ("w w d", "2", "1", FMajority.SUCCESS),
        ("w x d", "2", "", FMajority.NONE),
        ("w x d", "2", "1", FMajority.SUCCESS),
        ("d d d", "2", "123", FMajority.NONE),
        # Data loss: needed for the count means risk; left out means best effort.
        ("w w l", "2", "12", FMajority.SUCCESS),
        ("w w l", "2", "13", FMajority.SUCCESS_WITH_RISK),
        ("w l l", "2", "1", FMajority.BEST_EFFORT),
        ("w l l", "2", "2", FMajority.NONE),
        ("w l l", "2", "23", FMajority.SUCCESS_WITH_RISK),
        ("l l l", "2", "1", FMajority.NONE),
        ("w w w l", "1", "123", FMajority.BEST_EFFORT),
        # Other states answer with authority.
        ("r g p", "2", "12", FMajority.SUCCESS),
        # Whole zones: one of two zones is enough for {zone: 2}.
        ("w@a.1 w@a.1 w@a.2 w@a.2", "{node: 2, zone: 2}", "12", FMajority.SUCCESS),
        ("w@a.1 w@a.1 w@a.2 w@a.2", "{node: 2, zone: 2}", "13", FMajority.NONE),
        ("w@a.1 w@a.1 w@a.2 w@a.2", "{node: 2, zone: 2}", "123", FMajority.SUCCESS),
        # A zone of mixed worth never counts, one that lost everything counts with risk.
        ("w@a.1 l@a.1 w@a.2 w@a.2", "{node: 2, zone: 2}", "12", FMajority.NONE),
        ("l@a.1 l@a.1 w@a.2 w@a.2", "{node: 2, zone: 2}", "12", FMajority.SUCCESS_WITH_RISK),
        ("d@a.1 w@a.1 w@a.2 w@a.2", "{node: 2, zone: 2}", "2", FMajority.SUCCESS),
    ],
)
def test_f_majority(text: str, replication: str, answered: str, expected: FMajority) -> None:
    """Goal: what the answers of some say about all. Method: table."""
    found = checker(text, replication).f_majority(ids(answered))
    assert found is expected
    assert found.passed == (expected in (FMajority.SUCCESS, FMajority.SUCCESS_WITH_RISK))


def subsets(nodes: frozenset[PlainNodeId]) -> Iterator[frozenset[PlainNodeId]]:
    ordered = sorted(nodes)
    sizes = (combinations(ordered, size) for size in range(len(ordered) + 1))
    return (frozenset(s) for s in chain.from_iterable(sizes))


@pytest.mark.parametrize("replication", ["1", "2", "3", "{node: 2, zone: 2}", "{node: 3, zone: 2}"])
@pytest.mark.parametrize("zones", ["a.1 a.1 a.2 a.2", "a.1 a.2 a.3 a.3", "a.1 a.1 a.1 a.2"])
def test_quorums_meet_where_it_can_be_trusted(zones: str, replication: str) -> None:
    """
    Goal: what a write quorum holds is seen by every f-majority.

    Method: every assignment of four states to four nodes, every pair of sets. A certain f-majority
    must meet each write quorum in a node that did not lose its data, one with risk in any node.
    """
    for states in product("wrld", repeat=4):
        text = " ".join(f"{s}@{z}" for s, z in zip(states, zones.split(), strict=True))
        quorum = checker(text, replication)
        healthy = frozenset(n for n, s in enumerate(states, start=1) if s != "l")
        writes = [s for s in subsets(quorum.members) if quorum.write_quorum(s)]
        for answered in subsets(quorum.members):
            match quorum.f_majority(answered):
                case FMajority.SUCCESS:
                    assert all(w & answered & healthy for w in writes), (text, answered)
                case FMajority.SUCCESS_WITH_RISK:
                    assert all(w & answered for w in writes), (text, answered)
                case FMajority.BEST_EFFORT | FMajority.NONE:
                    continue


@pytest.mark.parametrize("replication", ["1", "2", "3", "{node: 2, zone: 2}"])
@pytest.mark.parametrize("zones", ["a.1 a.1 a.2 a.2", "a.1 a.2 a.3 a.3"])
def test_a_proof_meets_every_quorum_that_ever_was(zones: str, replication: str) -> None:
    """
    Goal: what was acknowledged before members were lost, disabled or removed is not forgotten.

    Method: every assignment of states to four nodes. The write quorums are those of the days when
    all were well; a set proves exactly if it meets each in a node whose word is good. Where a
    removed node was is not known: then a proof may be missed, but none may be wrong.
    """
    whole = checker(" ".join(f"w@{zone}" for zone in zones.split()), replication)
    writes = [found for found in subsets(whole.members) if whole.write_quorum(found)]
    for states in product("wldx", repeat=4):
        text = " ".join(f"{s}@{z}" for s, z in zip(states, zones.split(), strict=True))
        quorum = checker(text, replication)
        good = frozenset(n for n, s in enumerate(states, start=1) if s == "w")
        for answered in subsets(whole.members):
            meets = all(found & answered & good for found in writes)
            assert meets or not quorum.proves(answered), (text, answered)
            if "x" not in states or "zone" not in replication:
                assert quorum.proves(answered) is meets, (text, answered)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("copies", [1, 2, 3])
def test_f_majority_is_as_small_as_it_can_be(size: int, copies: int) -> None:
    """Goal: no more answers than needed are waited for.

    Method: fails exactly if a quorum may hide.
    """
    if copies > size:
        return
    quorum = checker("w " * size, str(copies))
    for answered in subsets(quorum.members):
        may_hide = quorum.write_quorum(quorum.members - answered)
        assert quorum.f_majority(answered).passed is not may_hide


def test_members_by_use() -> None:
    """Goal: who is written to and who is asked. Method: one node of each state, one unknown."""
    nodes = cluster("w r p g l d x")
    quorum = NodesetChecker([*nodes.nodes, PlainNodeId(9)], nodes, ReplicationProperty.of_nodes(2))
    assert quorum.members == ids((1, 2, 3, 4, 5, 9))
    assert quorum.writable == ids((1, 2))
    assert quorum.readable == ids((1, 2, 3, 4, 5, 9))
