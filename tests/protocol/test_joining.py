"""Becoming a member: names are members, generations are lives, ids are never given out twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from restate_node.protocol.joining import (
    Candidate,
    Joined,
    JoinRefused,
    first_configuration,
    first_logs,
    first_partition_table,
    join,
)
from restate_node.types.cluster_configuration import ClusterConfiguration
from restate_node.types.ids import GenerationalNodeId, PlainNodeId
from restate_node.types.logs import ProviderConfiguration, ProviderKind
from restate_node.types.nodes import (
    MetadataServerState,
    NodeLocation,
    NodesConfiguration,
    Role,
    StorageState,
)
from restate_node.types.replication import ReplicationProperty

NOW = 7 << 22


def candidate(name: str, **changes: object) -> Candidate:
    base = Candidate(
        name=name,
        address=f"http://{name}:5122/",
        roles=frozenset(Role),
        location=NodeLocation(),
        binary_version="0.1.0",
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def founded() -> NodesConfiguration:
    return first_configuration(candidate("node-1"), "c", 42, ("f",), NOW)


def joined(configuration: NodesConfiguration, who: Candidate) -> Joined:
    decision = join(configuration, who, NOW)
    assert isinstance(decision, Joined)
    return decision


def test_founder_is_alone_in_its_first_life() -> None:
    """Goal: what a new cluster starts with. How: look at the first configuration."""
    configuration = founded()
    founder = configuration.by_name("node-1")
    assert founder is not None
    assert founder.current_generation == GenerationalNodeId(PlainNodeId(1), 1)
    assert founder.metadata_server_state is MetadataServerState.MEMBER
    assert founder.storage_state is StorageState.PROVISIONING
    assert (configuration.version, configuration.cluster_fingerprint) == (1, 42)


def test_known_name_is_the_next_life_of_its_node() -> None:
    """Goal: a restart keeps id and states and raises the generation. How: join twice by name."""
    first = joined(founded(), candidate("node-1"))
    moved = joined(first.configuration, candidate("node-1", address="http://elsewhere:1/"))
    assert first.me == GenerationalNodeId(PlainNodeId(1), 2)
    assert moved.me == GenerationalNodeId(PlainNodeId(1), 3)
    node = moved.configuration.node(PlainNodeId(1))
    assert node is not None
    assert node.address == "http://elsewhere:1/"
    assert node.metadata_server_state is MetadataServerState.MEMBER
    assert moved.configuration.version == first.configuration.version + 1


def test_new_name_gets_the_next_id_and_never_a_used_one() -> None:
    """Goal: ids are not reused. How: join two, remove the second, join a third."""
    two = joined(founded(), candidate("node-2"))
    removed = two.configuration.removed(two.me.id, NOW)
    three = joined(removed, candidate("node-3"))
    assert two.me == GenerationalNodeId(PlainNodeId(2), 1)
    assert three.me == GenerationalNodeId(PlainNodeId(3), 1)


def test_location_is_kept_when_none_is_configured() -> None:
    """Goal: a location never goes back to empty. How: join with one, then without."""
    placed = joined(founded(), candidate("node-2", location=NodeLocation.parse("eu.a")))
    again = joined(placed.configuration, candidate("node-2"))
    node = again.configuration.node(again.me.id)
    assert node is not None
    assert str(node.location) == "eu.a"


def test_metadata_server_waits_for_an_order_without_auto_join() -> None:
    """Goal: `metadata-server.auto-join = false` makes a standby. How: join a new node so."""
    one = joined(founded(), candidate("node-2", auto_join_metadata=False))
    node = one.configuration.node(one.me.id)
    assert node is not None
    assert node.metadata_server_state is MetadataServerState.STANDBY


@pytest.mark.parametrize(
    ("name", "forced", "words"),
    [
        ("node-1", 7, "'node-1' is N1"),
        ("stranger", 1, "N1 is 'node-1'"),
        ("stranger", 2, "N2 was removed"),
    ],
)
def test_forced_id_must_be_free_or_ones_own(name: str, forced: int, words: str) -> None:
    """Goal: a wrong force-node-id is refused with what to change. How: a table of wrong ones."""
    two = joined(founded(), candidate("node-2"))
    configuration = two.configuration.removed(two.me.id, NOW)
    decision = join(configuration, candidate(name, force_node_id=PlainNodeId(forced)), NOW)
    assert isinstance(decision, JoinRefused)
    assert words in decision.reason
    assert "force-node-id" in decision.reason


def test_forced_id_of_a_new_node_is_taken() -> None:
    """Goal: a free forced id is given. How: join with id 9, then the next name gets 10."""
    nine = joined(founded(), candidate("node-9", force_node_id=PlainNodeId(9)))
    ten = joined(nine.configuration, candidate("node-10"))
    assert (nine.me.id, ten.me.id) == (9, 10)


def test_first_objects_follow_the_wanted_configuration() -> None:
    """Goal: partitions and provider are as asked for. How: compare both objects with the wish."""
    replication = ReplicationProperty.of_nodes(2)
    provider = ProviderConfiguration(ProviderKind.REPLICATED, replication, 0)
    wanted = ClusterConfiguration(3, replication, provider)
    assert first_logs(wanted).configuration == provider
    assert len(first_partition_table(wanted).partitions) == 3
    assert ClusterConfiguration.of(first_logs(wanted), first_partition_table(wanted)) == wanted
