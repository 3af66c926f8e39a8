"""The nodes configuration on the wire, against captures and known variants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from restate_node.types.ids import GenerationalNodeId, PlainNodeId
from restate_node.types.nodes import (
    MetadataServerState,
    Node,
    NodesConfiguration,
    Role,
    StorageState,
    WorkerState,
)
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration
from restate_node.wire.storage_codec import CodecError, decode_any, encode_shape

BLOBS = Path(__file__).parent / "blobs"
N1 = PlainNodeId(1)


def captured(name: str) -> NodesConfiguration:
    return decode_nodes_configuration((BLOBS / f"{name}.bin").read_bytes())


def as_json(name: str) -> dict[str, Any]:
    return json.loads((BLOBS / f"{name}.json").read_text())


@pytest.mark.parametrize(
    "name",
    ["three2.store.nodes_config", "single.store.nodes_config", "unprov.GetMetadata.nodes_config"],
)
def test_round_trip_is_what_others_write(name: str) -> None:
    """Goal: what we write has every field that others write. Method: captured bytes to our JSON."""
    configuration = captured(name)
    encoded = encode_nodes_configuration(configuration)
    assert decode_any(encoded) == as_json(name)
    assert decode_nodes_configuration(encoded) == configuration


def test_captured_node() -> None:
    """Goal: each field lands where it belongs. Method: one captured node in full."""
    configuration = captured("three2.store.nodes_config")
    assert configuration.node(N1) == Node(
        name="node-1",
        current_generation=GenerationalNodeId(N1, 2),
        address="http://127.0.0.1:16122/",
        roles=frozenset((Role.ADMIN, Role.WORKER, Role.LOG_SERVER, Role.METADATA_SERVER)),
        storage_state=StorageState.READ_WRITE,
        metadata_server_state=MetadataServerState.MEMBER,
        worker_state=WorkerState.ACTIVE,
        binary_version="1.7.12",
    )
    assert (configuration.version, configuration.cluster_fingerprint) == (14, 775420053803493514)
    assert configuration.features == ("controlled-idempotent-sharding",)


def test_tombstones_and_large_fingerprints_survive() -> None:
    """Goal: removed nodes and the top bit of a fingerprint.

    Method: change a capture, round trip.
    """
    raw = as_json("three2.store.nodes_config")
    raw["nodes"].append([9, "Tombstone"])
    raw["cluster_fingerprint"] = (1 << 64) - 1
    decoded = decode_nodes_configuration(encode_shape(raw))
    assert decoded.is_tombstone(PlainNodeId(9))
    assert decode_any(encode_nodes_configuration(decoded)) == raw


def minimal() -> dict[str, Any]:
    node = {"name": "a", "current_generation": [1, 1], "address": "http://a/", "roles": ["worker"]}
    return {"version": 1, "cluster_name": "c", "nodes": [[1, {"Node": node}]], "name_lookup": {}}


ACCEPTED: dict[str, dict[str, Any]] = {
    "as it is": {},
    "null fingerprint": {"cluster_fingerprint": None},
    "unknown field": {"banana": {"x": [1]}},
    "null modified_at": {"modified_at": None},
}
ACCEPTED_NODE: dict[str, dict[str, Any]] = {
    "legacy role": {"roles": ["metadata-store"]},
    "unknown field": {"ctrl_address": "http://b/"},
    "null configs": {"log_server_config": None, "worker_config": None},
    "empty config": {"log_server_config": {}},
}


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_variants(change: dict[str, Any]) -> None:
    """Goal: optional fields have defaults, unknown ones are ignored. Method: table of changes."""
    decoded = decode_nodes_configuration(encode_shape(minimal() | change))
    assert (decoded.cluster_fingerprint, decoded.modified_at, decoded.features) == (None, None, ())
    assert decoded.name_lookup == {"a": 1}


@pytest.mark.parametrize("change", ACCEPTED_NODE.values(), ids=ACCEPTED_NODE)
def test_accepted_variants_of_a_node(change: dict[str, Any]) -> None:
    """Goal: optional fields of a node have defaults. Method: table of changes."""
    raw = minimal()
    raw["nodes"][0][1]["Node"] |= change
    node = decode_nodes_configuration(encode_shape(raw)).node(N1)
    assert node is not None
    assert node.storage_state is StorageState.PROVISIONING
    assert node.worker_state is WorkerState.PROVISIONING
    if "roles" in change:
        assert node.roles == {Role.METADATA_SERVER}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nodes as map": ({"nodes": {"1": "Tombstone"}}, {}),
    "version too large": ({"version": 1 << 32}, {}),
    "version as text": ({"version": "1"}, {}),
    "fingerprint too large": ({"cluster_fingerprint": 1 << 64}, {}),
    "fingerprint negative": ({"cluster_fingerprint": -1}, {}),
    "unknown role": ({}, {"roles": ["banana"]}),
    "unknown storage state": ({}, {"log_server_config": {"storage_state": "foo"}}),
    "generation as text": ({}, {"current_generation": "N1:1"}),
    "id and key differ": ({}, {"current_generation": [2, 1]}),
    "location too deep": ({}, {"location": "a.b.c"}),
}


@pytest.mark.parametrize(("change", "node_change"), REFUSED.values(), ids=REFUSED)
def test_refused_variants(change: dict[str, Any], node_change: dict[str, Any]) -> None:
    """Goal: what other readers refuse is refused here. Method: table of changes."""
    raw = minimal() | change
    if node_change:
        raw["nodes"][0][1]["Node"] |= node_change
    with pytest.raises(CodecError):
        decode_nodes_configuration(encode_shape(raw))


def test_name_lookup_is_mandatory() -> None:
    """Goal: an object without name_lookup is refused, as by other readers. Method: leave it out."""
    raw = minimal()
    del raw["name_lookup"]
    with pytest.raises(CodecError, match="name_lookup"):
        decode_nodes_configuration(encode_shape(raw))
