"""Partition table and epoch metadata on the wire, against captures and known variants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from restate_node.types.ids import (
    GenerationalNodeId,
    LeaderEpoch,
    LogId,
    PartitionId,
    PlainNodeId,
    Version,
)
from restate_node.types.nodes import NodeLocation
from restate_node.types.partitions import (
    EpochMetadata,
    LeadershipPolicy,
    LocationAffinity,
    NodeAffinity,
    PlacementPolicy,
    ReplicaSetConfiguration,
)
from restate_node.types.replication import LocationScope, ReplicationProperty
from restate_node.wire.partitions import (
    decode_epoch_metadata,
    decode_partition_table,
    encode_epoch_metadata,
    encode_partition_table,
)
from restate_node.wire.storage_codec import CodecError, decode_any, encode_shape

BLOBS = Path(__file__).parent / "blobs"
TWO = ReplicationProperty.of_nodes(2)


def as_json(name: str) -> dict[str, Any]:
    return json.loads((BLOBS / f"{name}.json").read_text())


@pytest.mark.parametrize(
    "name",
    [
        "three2.store.partition_table",
        "single.store.partition_table",
        "unprov.GetMetadata.partition_table",
    ],
)
def test_table_round_trip_is_what_others_write(name: str) -> None:
    """Goal: what we write has every field that others write. Method: captured bytes to our JSON."""
    table = decode_partition_table((BLOBS / f"{name}.bin").read_bytes())
    encoded = encode_partition_table(table)
    assert decode_any(encoded) == as_json(name)
    assert decode_partition_table(encoded) == table


@pytest.mark.parametrize(
    "name",
    [
        "single.store.pp_epoch_0",
        "three2.store.pp_epoch_0",
        "three2.store.pp_epoch_1",
        "three2.store.pp_epoch_2",
    ],
)
def test_epoch_round_trip_is_what_others_write(name: str) -> None:
    """Goal: policies, leaders and sets survive. Method: captured bytes to our JSON."""
    metadata = decode_epoch_metadata((BLOBS / f"{name}.bin").read_bytes())
    encoded = encode_epoch_metadata(metadata, PartitionId(int(name[-1])))
    assert decode_any(encoded) == as_json(name)
    assert decode_epoch_metadata(encoded) == metadata


def test_captured_epoch_metadata() -> None:
    """Goal: each field lands where it belongs. Method: one captured object in full."""
    n3 = PlainNodeId(3)
    assert decode_epoch_metadata((BLOBS / "three2.store.pp_epoch_0.bin").read_bytes()) == (
        EpochMetadata(
            version=Version(8),
            epoch=LeaderEpoch(5),
            leader=GenerationalNodeId(n3, 1),
            current=ReplicaSetConfiguration(Version(2), TWO, (n3, PlainNodeId(1)), 1795416100499),
            leadership_policy=LeadershipPolicy(NodeAffinity(n3)),
        )
    )


def test_epoch_metadata_in_the_middle_of_things() -> None:
    """Goal: next set, location affinity, both freezes. Method: round trip of a built object."""
    start = EpochMetadata(Version(0)).set_initial_current(TWO, (PlainNodeId(1),), 5)
    metadata = (
        start.reconfigure(TWO, (PlainNodeId(2),), 6)
        .with_leadership_policy(LeadershipPolicy(LocationAffinity(NodeLocation("eu", "a")), "x"))
        .with_placement_policy(PlacementPolicy(""))
    )
    encoded = encode_epoch_metadata(metadata, PartitionId(4))
    assert decode_epoch_metadata(encoded) == metadata
    assert decode_any(encoded)["leader_metadata"] is None


def test_old_objects() -> None:
    """Goal: objects of old clusters. Method: no epoch, no policies, replication everywhere."""
    old = decode_epoch_metadata(encode_shape({"version": 3, "extra": 1}))
    assert old == EpochMetadata(Version(3), LeaderEpoch(3))
    raw = as_json("three2.store.partition_table") | {"replication": "everywhere"}
    table = decode_partition_table(encode_shape(raw))
    assert table.replication is None
    assert decode_any(encode_partition_table(table)) == raw


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (3, "{node: 3}"),
        ("{node: 3, zone: 2}", "{node: 3, zone: 2}"),
        ({"zone": 2, "node": 3}, "{node: 3, zone: 2}"),
        ("2", "{node: 2}"),
    ],
)
def test_limits(limit: Any, text: str) -> None:
    """Goal: number, text and map are read; scopes are written as text. Method: table."""
    raw = as_json("three2.store.partition_table") | {"replication": {"limit": limit}}
    table = decode_partition_table(encode_shape(raw))
    assert str(table.replication) == text
    node_only = table.replication is not None and table.replication.scopes == {LocationScope.NODE}
    written = decode_any(encode_partition_table(table))["replication"]["limit"]
    assert isinstance(written, int) == node_only
    assert decode_partition_table(encode_partition_table(table)) == table


def test_a_log_of_another_number() -> None:
    """Goal: an overridden log id is kept. Method: change a capture, round trip."""
    raw = as_json("three2.store.partition_table")
    raw["partitions"][1][1]["log_id"] = 77
    table = decode_partition_table(encode_shape(raw))
    assert table.partitions[PartitionId(1)].log_id == LogId(77)
    assert decode_any(encode_partition_table(table)) == raw


@pytest.mark.parametrize(
    "change",
    [
        {"num_partitions": 2},
        {"partitions": [[0, {"key_range": {"start": 5, "end": 4}}]], "num_partitions": 1},
        {"partitions": [[0, {"key_range": {"start": 0, "end": 1 << 64}}]], "num_partitions": 1},
        {"partitions": {}, "num_partitions": 0},
        {"replication": {"limit": 0}},
        {"replication": {"limit": "x"}},
        {"replication": "somewhere"},
    ],
)
def test_refused_tables(change: dict[str, Any]) -> None:
    """Goal: inconsistent tables are refused. Method: table of changes to a capture."""
    with pytest.raises(CodecError):
        decode_partition_table(encode_shape(as_json("three2.store.partition_table") | change))


@pytest.mark.parametrize(
    "change",
    [
        {"version": None},
        {"leader_metadata": {"partition_id": 0, "node_id": "N1:2"}},
        {"leadership_policy": {"affinity": {"Rack": 1}}},
        {"current": {"version": 1, "replication": "x", "replica_set": []}},
    ],
)
def test_refused_epoch_metadata(change: dict[str, Any]) -> None:
    """Goal: inconsistent objects are refused. Method: table of changes to a capture."""
    with pytest.raises(CodecError):
        decode_epoch_metadata(encode_shape(as_json("three2.store.pp_epoch_0") | change))
