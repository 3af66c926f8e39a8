"""The chains of the logs on the wire, against captures and known variants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from restate_node.types.ids import GenerationalNodeId, LogId, PlainNodeId, SegmentIndex
from restate_node.types.logs import (
    Chain,
    InMemorySegment,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
    SealMarker,
)
from restate_node.types.offsets import Lsn
from restate_node.types.replication import LocationScope, ReplicationProperty
from restate_node.wire.logs import (
    decode_chain,
    decode_logs,
    decode_replicated_params,
    encode_chain,
    encode_logs,
    encode_params,
)
from restate_node.wire.storage_codec import CodecError, decode_any, encode_shape

BLOBS = Path(__file__).parent / "blobs"
PARAMS = '{"loglet_id":8589934593,"sequencer":"N2:1","replication":{"node":2},"nodeset":[2,3,1]}'


def as_json(name: str) -> dict[str, Any]:
    return json.loads((BLOBS / f"{name}.json").read_text())


@pytest.mark.parametrize(
    "name",
    ["three2.store.bifrost_config", "single.store.bifrost_config", "unprov.GetMetadata.logs"],
)
def test_round_trip_is_what_others_write(name: str) -> None:
    """Goal: byte-equal parameter texts and all fields. Method: captured bytes to our JSON."""
    logs = decode_logs((BLOBS / f"{name}.bin").read_bytes())
    encoded = encode_logs(logs)
    assert decode_any(encoded) == as_json(name)
    assert decode_logs(encoded) == logs


def test_captured_chain_by_itself() -> None:
    """Goal: the chain that `logs describe` receives. Method: captured bytes, both ways."""
    name = "three.DescribeLog.chain"
    chain = decode_chain((BLOBS / f"{name}.bin").read_bytes())
    assert decode_any(encode_chain(chain)) == as_json(name)


def test_captured_segments() -> None:
    """Goal: each field lands where it belongs. Method: a captured chain with a seal marker."""
    logs = decode_logs((BLOBS / "three2.store.bifrost_config.bin").read_bytes())
    two = ReplicationProperty.of_nodes(2)
    one, nodes = SegmentIndex(1), tuple(PlainNodeId(n) for n in (2, 1, 3))
    params = decode_replicated_params(PARAMS.replace("8589934593", "4294967297"))
    assert params.loglet_id == 4294967297
    assert logs.chain(LogId(1)) == Chain(
        (
            ReplicatedSegment(
                Lsn(3),
                one,
                ReplicatedParams(
                    params.loglet_id, GenerationalNodeId(PlainNodeId(2), 1), two, nodes
                ),
            ),
            SealMarker(Lsn(5), one, 1795416204797, {"node": "N1:2", "source": "restatectl"}),
        )
    )
    assert logs.configuration == ProviderConfiguration(ProviderKind.REPLICATED, two, 0)


def test_seal_marker_text_leaves_out_what_says_nothing() -> None:
    """Goal: the exact text of a bare and of a full marker. Method: compare the strings."""
    bare = SealMarker(Lsn(5), SegmentIndex(1), 7)
    assert encode_params(bare) == '{"sealed_at":7,"tail_ts":null}'
    full = SealMarker(Lsn(5), SegmentIndex(1), 7, {"a": "b"}, 9, permanent=True)
    expected = '{"sealed_at":7,"context":{"a":"b"},"tail_ts":9,"permanent_seal":true}'
    assert encode_params(full) == expected
    chain = Chain((InMemorySegment(Lsn(1), SegmentIndex(1), 3, ProviderKind.LOCAL), full))
    assert decode_chain(encode_chain(chain)) == chain


def test_scopes_in_parameters() -> None:
    """Goal: several scopes survive the map form. Method: parse and print."""
    text = PARAMS.replace('{"node":2}', '{"node":3,"zone":2}')
    params = decode_replicated_params(text)
    assert params.replication == ReplicationProperty.of(
        {LocationScope.NODE: 3, LocationScope.ZONE: 2}
    )
    assert encode_params(ReplicatedSegment(Lsn(1), SegmentIndex(0), params)) == text


def logs_with(params: str = PARAMS, kind: str = "replicated", **fields: Any) -> bytes:
    chain = {"chain": [[1, {"kind": kind, "params": params}]]}
    return encode_shape({"version": 1, "logs": [[2, chain]]} | fields)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            logs_with(),
            ProviderConfiguration(ProviderKind.REPLICATED, ReplicationProperty.of_nodes(2)),
        ),
        (
            logs_with(config=None),
            ProviderConfiguration(ProviderKind.REPLICATED, ReplicationProperty.of_nodes(2)),
        ),
        (
            logs_with("7", "in-memory"),
            ProviderConfiguration(ProviderKind.REPLICATED, ReplicationProperty.of_nodes(1), 1),
        ),
        (
            logs_with(config={"default_provider": "local"}),
            ProviderConfiguration(ProviderKind.LOCAL),
        ),
    ],
)
def test_missing_configuration_has_a_default(data: bytes, expected: ProviderConfiguration) -> None:
    """Goal: objects without configuration mean what others take them for. Method: table."""
    logs = decode_logs(data)
    assert logs.configuration == expected
    assert decode_logs(encode_logs(logs)) == logs


@pytest.mark.parametrize(
    "data",
    [
        logs_with(PARAMS.replace('{"node":2}', '"{node: 2}"')),
        logs_with(PARAMS.replace('"N2:1"', "[2,1]")),
        logs_with(PARAMS.replace("[2,3,1]", '["N2"]')),
        logs_with(PARAMS.replace('"node"', '"rack"')),
        logs_with(PARAMS.replace('{"node":2}', "{}")),
        logs_with(PARAMS.replace("8589934593", "-1")),
        logs_with(PARAMS.replace("8589934593", str(1 << 64))),
        logs_with("{"),
        logs_with("x", "local"),
        logs_with(PARAMS, "sealed"),
        logs_with(PARAMS, "banana"),
        logs_with(config={"default_provider": "banana"}),
        logs_with(logs=[[1, {"chain": []}]]),
        logs_with(logs={"1": {"chain": []}}),
    ],
)
def test_refused_variants(data: bytes) -> None:
    """Goal: mixtures of forms and broken chains are refused. Method: table."""
    with pytest.raises(CodecError):
        decode_logs(data)
