"""The targets of a store wave."""

from __future__ import annotations

from random import Random

import pytest

from restate_node.protocol.quorum import NodesetChecker
from restate_node.protocol.spread import NoSpread, Spread, choose_spread
from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState
from restate_node.types.replication import ReplicationProperty


def checker(states: dict[int, StorageState], copies: int = 2) -> NodesetChecker:
    nodes = NodesConfiguration(Version(0), "c")
    for number, state in states.items():
        life = GenerationalNodeId(PlainNodeId(number), 1)
        nodes = nodes.updated(
            Node(f"n{number}", life, "http://n/", frozenset((Role.LOG_SERVER,)), state), None
        )
    return NodesetChecker(nodes.nodes, nodes, ReplicationProperty.of_nodes(copies))


WRITE, READ, GONE = StorageState.READ_WRITE, StorageState.READ_ONLY, StorageState.GONE
FOUR = {1: WRITE, 2: WRITE, 3: READ, 4: GONE}


def ids(numbers: str) -> frozenset[PlainNodeId]:
    return frozenset(PlainNodeId(int(n)) for n in numbers)


@pytest.mark.parametrize(
    ("graylist", "sealed", "committed", "targets", "dropped"),
    [
        ("", "", "", "123", False),
        ("1", "", "", "23", False),
        ("12", "", "", "123", True),
        ("", "1", "", "23", False),
        ("2", "1", "", "23", True),
        ("12", "", "1", "3", False),
        ("", "", "1", "23", False),
        ("123", "", "1", "23", True),
        ("", "12", "", None, False),
        ("", "12", "4", "3", False),
    ],
)
def test_who_is_asked(
    graylist: str, sealed: str, committed: str, targets: str | None, dropped: bool
) -> None:
    """Goal: flood, then without graylist, then give up. Method: table over four log servers."""
    choice = choose_spread(checker(FOUR), Random(1), ids(graylist), ids(sealed), ids(committed))
    if targets is None:
        assert isinstance(choice, NoSpread)
        assert "N3" in choice.reason
        return
    assert isinstance(choice, Spread)
    assert (frozenset(choice.nodes), choice.graylist_dropped) == (ids(targets), dropped)


def test_order_is_shuffled_by_the_given_random_only() -> None:
    """Goal: no favourite node, and a seed replays. Method: many draws, then the same seed twice."""
    nine = checker(dict.fromkeys(range(1, 10), WRITE))
    random = Random(7)
    firsts = {choice.nodes[0] for _ in range(200) if (choice := spread(nine, random))}
    assert firsts == set(range(1, 10))
    assert spread(nine, Random(3)) == spread(nine, Random(3))


def spread(quorum: NodesetChecker, random: Random) -> Spread:
    choice = choose_spread(quorum, random)
    assert isinstance(choice, Spread)
    return choice
