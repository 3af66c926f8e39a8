"""The partition table divides all keys; epoch metadata moves by versions and epochs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restate_node.types.ids import GenerationalNodeId, LogId, PartitionId, PlainNodeId, Version
from restate_node.types.partitions import (
    PARTITION_KEY_MAX,
    EpochMetadata,
    KeyRange,
    LeadershipPolicy,
    NodeAffinity,
    Partition,
    PartitionTable,
    PlacementPolicy,
    ReplicaSetConfiguration,
)
from restate_node.types.replication import ReplicationProperty

TWO = ReplicationProperty.of_nodes(2)
N1, N2, N3 = (PlainNodeId(i) for i in (1, 2, 3))


def test_ranges_match_a_captured_table() -> None:
    """Goal: the same borders as other implementations.

    Method: captured borders of three and four.
    """
    three = PartitionTable.equal_ranges(3)
    assert [p.key_range.end for p in three.partitions.values()] == [
        6148914691236517205,
        12297829382473034410,
        18446744073709551615,
    ]
    assert PartitionTable.equal_ranges(4).partitions[PartitionId(0)].key_range == KeyRange(
        0, 4611686018427387903
    )


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, PARTITION_KEY_MAX))
def test_every_key_has_one_partition(count: int, key: int) -> None:
    """Goal: ranges cover all keys without overlap.

    Method: any count, any key, linear search agrees.
    """
    table = PartitionTable.equal_ranges(count)
    owners = [p for p in table.partitions.values() if key in p.key_range]
    assert [table.partition_of(key)] == owners


def test_gaps_overlaps_and_sizes() -> None:
    """Goal: a gap answers None, an overlap and a wrong count are refused. Method: one of each."""
    low = Partition(PartitionId(0), LogId(0), KeyRange(5, 9))
    table = PartitionTable(Version(1), {low.id: low})
    assert [table.partition_of(k) for k in (4, 5, 9, 10)] == [None, low, low, None]
    with pytest.raises(ValueError, match="overlap"):
        other = Partition(PartitionId(1), LogId(1), KeyRange(9, 9))
        PartitionTable(Version(1), {low.id: low, other.id: other})
    with pytest.raises(ValueError, match="use 1 to"):
        PartitionTable.equal_ranges(0)
    with pytest.raises(ValueError, match="64-bit"):
        KeyRange(3, 2)


def test_epoch_metadata_transitions() -> None:
    """Goal: versions and epochs as other implementations write them.

    Method: the life of a partition.
    """
    first = EpochMetadata(Version(0)).set_initial_current(TWO, (N1, N2), 10)
    assert (first.version, first.epoch, first.current) == (
        1,
        0,
        ReplicaSetConfiguration(Version(1), TWO, (N1, N2), 10),
    )
    led = first.claim_leadership(GenerationalNodeId(N1, 4))
    assert (led.version, led.epoch, led.leader) == (2, 1, GenerationalNodeId(N1, 4))

    moving = led.reconfigure(TWO, (N2, N3), 20)
    assert moving.next == ReplicaSetConfiguration(Version(2), TWO, (N2, N3), 20)
    assert moving.replicas == {N1, N2, N3}
    redirected = moving.reconfigure(TWO, (N1, N3), 30)
    assert redirected.next is not None
    assert redirected.next.version == 3
    done = redirected.complete()
    assert (done.version, done.current, done.next) == (5, redirected.next, None)

    pinned = done.with_leadership_policy(LeadershipPolicy(NodeAffinity(N3), "why"))
    frozen = pinned.with_placement_policy(PlacementPolicy(""))
    assert (frozen.version, frozen.epoch, frozen.leader) == (7, 1, led.leader)
    assert frozen.placement_policy.is_frozen
    assert frozen.leadership_policy.is_frozen


def test_illegal_transitions_are_refused() -> None:
    """Goal: a caller that skipped a step is told. Method: each transition out of order."""
    empty = EpochMetadata(Version(0))
    placed = empty.set_initial_current(TWO, (N1, N2), 1)
    with pytest.raises(AssertionError, match="set the initial one"):
        empty.reconfigure(TWO, (N1, N2), 1)
    with pytest.raises(AssertionError, match="no reconfiguration"):
        placed.complete()
    with pytest.raises(AssertionError, match="reconfigure it"):
        placed.set_initial_current(TWO, (N1, N2), 1)


def test_a_placeholder_is_not_a_placement() -> None:
    """Goal: version 0 and empty sets do not count as placed. Method: one of each."""
    placeholder = ReplicaSetConfiguration(Version(0), TWO, (), 0)
    assert EpochMetadata(Version(1), current=placeholder).placed is None
    emptied = ReplicaSetConfiguration(Version(3), TWO, (), 0)
    assert EpochMetadata(Version(4), current=emptied).placed is None
