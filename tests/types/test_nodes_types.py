"""Nodes configuration: lookups, ids that are never reused, states and locations."""

from __future__ import annotations

import pytest

from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.nodes import (
    Node,
    NodeLocation,
    NodesConfiguration,
    Role,
    StorageState,
)
from restate_node.types.replication import LocationScope


def member(node_id: int, *roles: Role, generation: int = 1, name: str = "") -> Node:
    return Node(
        name=name or f"node-{node_id}",
        current_generation=GenerationalNodeId(PlainNodeId(node_id), generation),
        address=f"http://host-{node_id}:5122/",
        roles=frozenset(roles),
    )


def test_lookups_and_tombstones() -> None:
    """Goal: nodes are found by id, name and life, and removed ids stay taken.

    Method: grow and shrink.
    """
    empty = NodesConfiguration(Version(0), "c")
    one = empty.updated(member(1, Role.ADMIN), 7)
    two = one.updated(member(2, Role.LOG_SERVER, generation=3), 8)
    assert (two.version, two.modified_at, two.next_node_id()) == (2, 8, 3)
    assert (
        two.by_name("node-2")
        == two.node(PlainNodeId(2))
        == member(2, Role.LOG_SERVER, generation=3)
    )
    assert two.find(GenerationalNodeId(PlainNodeId(2), 3)) is not None
    assert two.find(GenerationalNodeId(PlainNodeId(2), 2)) is None
    assert [n.id for n in two.log_servers()] == [2]
    assert two.name_lookup == {"node-1": 1, "node-2": 2}

    removed = two.removed(PlainNodeId(2), 9)
    assert removed.node(PlainNodeId(2)) is None
    assert removed.by_name("node-2") is None
    assert removed.is_tombstone(PlainNodeId(2))
    assert removed.next_node_id() == 3
    assert removed.storage_state(PlainNodeId(2)) is StorageState.DISABLED
    assert removed.storage_state(PlainNodeId(9)) is StorageState.PROVISIONING


def test_refuses_two_nodes_of_one_name_and_wrong_keys() -> None:
    """Goal: the two invariants of the map hold. Method: break each."""
    one = NodesConfiguration(Version(0), "c").updated(member(1, name="a"), None)
    with pytest.raises(ValueError, match="names are unique"):
        one.updated(member(2, name="a"), None)
    with pytest.raises(ValueError, match="stands under N5"):
        NodesConfiguration(Version(1), "c", nodes={PlainNodeId(5): member(1)})


def test_role_aliases() -> None:
    """Goal: the older role name is read, others are refused with the list. Method: parse."""
    assert Role.parse("metadata-store") is Role.METADATA_SERVER
    assert Role.parse("worker") is Role.WORKER
    with pytest.raises(ValueError, match="use one of http-ingress, admin"):
        Role.parse("banana")


@pytest.mark.parametrize(
    ("state", "can", "should", "readable", "authoritative", "empty", "new"),
    [
        (StorageState.PROVISIONING, 0, 0, 1, 1, 0, 0),
        (StorageState.READ_WRITE, 1, 1, 1, 1, 0, 1),
        (StorageState.READ_ONLY, 1, 0, 1, 1, 0, 0),
        (StorageState.GONE, 0, 0, 1, 1, 0, 0),
        (StorageState.DATA_LOSS, 0, 0, 1, 0, 0, 0),
        (StorageState.DISABLED, 0, 0, 0, 0, 1, 0),
    ],
)
def test_storage_states(
    state: StorageState,
    can: int,
    should: int,
    readable: int,
    authoritative: int,
    empty: int,
    new: int,
) -> None:
    """Goal: every predicate of every storage state. Method: the table itself."""
    found = (state.can_write, state.should_write, state.readable, state.authoritative, state.empty)
    assert (*found, state.in_new_nodesets) == (can, should, readable, authoritative, empty, new)


def test_locations() -> None:
    """Goal: text form, failure domains and containment. Method: examples and refused texts."""
    place = NodeLocation.parse("eu.a")
    assert str(place) == "eu.a"
    assert place.domain(LocationScope.ZONE) == "eu.a"
    assert place.domain(LocationScope.REGION) == "eu"
    assert str(NodeLocation.parse("")) == ""
    assert place.within(NodeLocation.parse("eu"))
    assert place.within(NodeLocation())
    assert not place.within(NodeLocation.parse("eu.b"))
    assert not NodeLocation.parse("us").within(NodeLocation.parse("eu"))
    for wrong in ("a.b.c", ".b", "a."):
        with pytest.raises(ValueError, match=r"region\.zone"):
            NodeLocation.parse(wrong)
