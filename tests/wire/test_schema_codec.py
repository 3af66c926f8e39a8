"""The registry of services on the wire, against captures and known variants."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from restate_node.types.options import OnAttemptsExhausted
from restate_node.types.schema import (
    Body,
    Compression,
    ContentPattern,
    HttpVersion,
    NoBody,
    ProtocolMode,
)
from restate_node.types.targets import ServiceType, TargetKind
from restate_node.wire.schema import decode_schema, encode_schema
from restate_node.wire.storage_codec import CodecError, decode_any, encode_shape

BLOBS = Path(__file__).parent / "blobs"
OPTIONS = json.loads((BLOBS / "schema_registry.options.json").read_text())
"""Registered with Restate 1.7.12; every option of the manifest is set."""
ARN = "arn:aws:lambda:eu-central-1:123456789012:function:my-fn:3"


@pytest.mark.parametrize("name", ["three2.store.schema_registry", "unprov.GetMetadata.schema"])
def test_round_trip_is_what_others_write(name: str) -> None:
    """Goal: what we write has every field that others write. Method: captured bytes to our JSON."""
    schema = decode_schema((BLOBS / f"{name}.bin").read_bytes())
    encoded = encode_schema(schema)
    assert decode_any(encoded) == json.loads((BLOBS / f"{name}.json").read_text())
    assert decode_schema(encoded) == schema


def test_every_option_survives() -> None:
    """Goal: the same for a service where every option is set, in both forms of durations."""
    schema = decode_schema(encode_shape(OPTIONS))
    assert decode_any(encode_schema(schema)) == OPTIONS


def test_captured_values() -> None:
    """Goal: each field lands where it belongs. Method: one deployment, one handler in full."""
    schema = decode_schema(encode_shape(OPTIONS))
    deployment = schema.deployments["dp_15w9QKvEzqTM5xBIwC9ijHb"]
    assert deployment.uri == "http://127.0.0.1:25080/base"
    assert deployment.mode is ProtocolMode.REQUEST_RESPONSE
    assert deployment.http_version is HttpVersion.HTTP_11
    assert deployment.additional_headers == {"x-a": "b"} and deployment.metadata == {"m": "n"}
    assert (deployment.protocol_version_min, deployment.protocol_version_max) == (5, 6)
    service = deployment.services["Full"]
    assert (service.type, service.public) == (ServiceType.VIRTUAL_OBJECT, False)
    assert service.overrides.abort_timeout_ms == 62_000
    assert service.overrides.retry.on_attempts_max is OnAttemptsExhausted.KILL
    handler = service.handlers["a"]
    assert (handler.kind, handler.public) == (TargetKind.OBJECT_EXCLUSIVE, False)
    assert handler.overrides.inactivity_timeout_ms == 51_000
    assert handler.overrides.retry.interval_max_ms == 20_001
    assert handler.input.rules == (Body(ContentPattern("application"), {"type": "object"}),)
    assert handler.output.content_type == "text/plain" and handler.output.even_if_empty
    assert service.handlers["d"].input.rules == (NoBody(),)
    assert service.handlers["d"].output.content_type is None
    assert service.handlers["c"].public is None


def changed(**fields: Any) -> dict[str, Any]:
    deployment = {**OPTIONS["deployments_v2"][0], **fields}
    return {**OPTIONS, "deployments_v2": [deployment]}


@pytest.mark.parametrize(
    "told",
    [
        {"arn": ARN, "assume_role_arn": None},
        {"arn": ARN, "assume_role_arn": "arn:aws:iam::1:role/x"},
        {"arn": ARN, "assume_role_arn": None, "compression": "Zstd"},
    ],
)
def test_functions(told: dict[str, Any]) -> None:
    """Goal: functions on AWS Lambda, as Restate 1.7.12 writes them, are read and written."""
    shape = changed(ty={"Lambda": told})
    schema = decode_schema(encode_shape(shape))
    (deployment,) = schema.deployments.values()
    assert deployment.is_function and deployment.uri == ARN
    assert deployment.mode is ProtocolMode.REQUEST_RESPONSE
    assert deployment.assume_role_arn == told["assume_role_arn"]
    assert deployment.compression is (Compression.ZSTD if "compression" in told else None)
    assert decode_any(encode_schema(schema)) == shape


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (changed(ty={"Carrier": {"pigeon": "coo"}}), "neither over HTTP nor by an ARN"),
        (changed(ty={"Lambda": {"arn": "http://x"}}), "neither over HTTP nor by an ARN"),
        (changed(ty={"Lambda": {"arn": "arn:x", "compression": "Gzip"}}), "Gzip"),
        (changed(services=[{"name": "x"}]), "missing required field"),
        (changed(services=OPTIONS["deployments_v2"][0]["services"] * 2), "listed twice"),
        (changed(created_at="1"), "Expected"),
        ({**OPTIONS, "deployments_v2": OPTIONS["deployments_v2"] * 2}, "listed twice"),
        ({"version": 1}, "deployments_v2"),
    ],
)
def test_what_is_not_understood_is_refused(shape: dict[str, Any], reason: str) -> None:
    """Goal: nothing is guessed. Method: table of objects that differ from the capture."""
    with pytest.raises(CodecError, match=reason):
        decode_schema(encode_shape(shape))


def test_unreadable_schema_is_not_written_back() -> None:
    """Goal: what a node could not read is not replaced by an older state of it."""
    schema = decode_schema(encode_shape(OPTIONS))
    with pytest.raises(AssertionError, match="must not be written"):
        encode_schema(replace(schema, problem="Lambda"))
