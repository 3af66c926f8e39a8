"""Endpoint manifests: what SDKs answer, what is read from it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from restate_node.types.schema import (
    Body,
    Compression,
    ContentPattern,
    InputRules,
    NoBody,
    OutputRules,
    ProtocolMode,
    Service,
)
from restate_node.types.targets import TargetKind
from restate_node.wire.endpoint_manifest import ACCEPT, BadManifest, Manifest, parse_manifest
from restate_node.wire.schema import decode_schema
from restate_node.wire.storage_codec import encode_shape

BLOBS = Path(__file__).parent / "blobs"
V4 = "application/vnd.restate.endpointmanifest.v4+json"
FULL: dict[str, Any] = json.loads((BLOBS / "endpoint_manifest.full.json").read_text())


def parse(content: Any, content_type: str | None = V4) -> Manifest:
    return parse_manifest(content_type, json.dumps(content).encode())


def manifest(*services: dict[str, Any], **fields: Any) -> dict[str, Any]:
    head = {"protocolMode": "BIDI_STREAM", "minProtocolVersion": 5, "maxProtocolVersion": 7}
    return {**head, "services": list(services), **fields}


def service(*handlers: dict[str, Any], ty: str = "SERVICE", **fields: Any) -> dict[str, Any]:
    return {"name": "S", "ty": ty, "handlers": list(handlers), **fields}


def plain(known: Service) -> dict[str, Any]:
    return {"public": known.public, "overrides": known.overrides, "metadata": known.metadata}


def test_everything_is_read_as_the_reference_reads_it() -> None:
    """Goal: every option lands where Restate 1.7.12 put it. Method: the manifest that was given to
    it, and the registry that it wrote.
    """
    written = json.loads((BLOBS / "schema_registry.options.json").read_text())
    (expected,) = decode_schema(encode_shape(written)).deployments.values()
    found = parse(FULL)
    assert found.mode is expected.mode is ProtocolMode.REQUEST_RESPONSE
    assert (found.protocol_version_min, found.protocol_version_max) == (5, 6)
    assert {known.name for known in found.services} == set(expected.services)
    for known in found.services:
        other = expected.services[known.name]
        assert plain(known) == plain(other) and known.documentation == other.documentation
        handlers = dict(known.handlers)
        if known.name == "Svc":  # Restate registers a handler there that refuses all input
            assert handlers.pop("x").input == InputRules((Body(ContentPattern()),))
        for name, handler in handlers.items():
            theirs = other.handlers[name]
            assert handler == theirs, name


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_versions(version: int) -> None:
    """Goal: all versions that are asked for are read."""
    content_type = f"application/vnd.restate.endpointmanifest.v{version}+json"
    assert content_type in ACCEPT
    (known,) = parse(manifest(service({"name": "h"})), content_type).services
    assert known.handlers["h"].kind is TargetKind.SERVICE


@pytest.mark.parametrize(
    ("ty", "handler", "kind"),
    [
        ("SERVICE", {}, TargetKind.SERVICE),
        ("VIRTUAL_OBJECT", {}, TargetKind.OBJECT_EXCLUSIVE),
        ("VIRTUAL_OBJECT", {"ty": "EXCLUSIVE"}, TargetKind.OBJECT_EXCLUSIVE),
        ("VIRTUAL_OBJECT", {"ty": "SHARED"}, TargetKind.OBJECT_SHARED),
        ("WORKFLOW", {}, TargetKind.WORKFLOW_RUN),
    ],
)
def test_kinds(ty: str, handler: dict[str, Any], kind: TargetKind) -> None:
    """Goal: the kind of a handler by its service and itself. Method: table."""
    (known,) = parse(manifest(service({"name": "run", **handler}, ty=ty))).services
    assert known.handlers["run"].kind is kind


@pytest.mark.parametrize(
    ("handler", "rules", "output"),
    [
        ({}, InputRules(), OutputRules()),
        ({"input": {}, "output": {}}, InputRules((NoBody(),)), OutputRules(None)),
        (
            {"input": {"required": True, "contentType": "Text/*"}, "output": None},
            InputRules((Body(ContentPattern("text")),)),
            OutputRules(),
        ),
    ],
)
def test_content(handler: dict[str, Any], rules: InputRules, output: OutputRules) -> None:
    """Goal: absent, empty and given descriptions differ. Method: table."""
    (known,) = parse(manifest(service({"name": "h", **handler}))).services
    assert (known.handlers["h"].input, known.handlers["h"].output) == (rules, output)


def test_the_name_of_a_workflow_s_handler_is_free() -> None:
    """Goal: SDKs name a workflow's handler after the user's function, whatever that is called.
    Method: a workflow with two such handlers, neither called run.
    """
    (known,) = parse(manifest(service({"name": "h"}, {"name": "i"}, ty="WORKFLOW"))).services
    assert {handler.kind for handler in known.handlers.values()} == {TargetKind.WORKFLOW_RUN}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (manifest(protocolMode=None), "missing protocol mode"),
        (manifest(protocolMode="x"), "protocolMode"),
        (manifest(minProtocolVersion=6, maxProtocolVersion=5), "min protocol version"),
        (manifest(minProtocolVersion="5"), "minProtocolVersion"),
        (manifest(minProtocolVersion=0), "minProtocolVersion"),
        (manifest({"name": "S", "ty": "SERVICE"}), "handlers"),
        (manifest(service(ty="OBJECT")), "ty"),
        (manifest(service(), service()), "'S' is listed twice"),
        (manifest(service({"name": "h"}, {"name": "h"})), "'h' is listed twice"),
        (manifest(service(name="a b")), "name"),
        (manifest(service({"name": "a/b"})), "name"),
        (manifest(service({"name": "h", "ty": "SHARED"})), "cannot have"),
        (manifest(service({"name": "h", "ty": "SHARED"}, ty="WORKFLOW")), "no WORKFLOW handler"),
        (manifest(service({"name": "h", "input": {"contentType": "zz"}})), "content-type"),
        (manifest(service({"name": "h", "input": {"contentType": "*/x"}})), "content-type"),
        (manifest(service({"name": "h", "output": {"contentType": "a\nb"}})), "content-type"),
        (manifest(service({"name": "h", "idempotencyRetention": -1})), "idempotencyRetention"),
        (manifest(service({"name": "h", "retryPolicyMaxAttempts": 0})), "retryPolicyMaxAttempts"),
        (manifest(service({"name": "h", "workflowCompletionRetention": 1})), "not a WORKFLOW"),
        (
            manifest(service({"name": "run", "idempotencyRetention": 1}, ty="WORKFLOW")),
            "it's a WORKFLOW",
        ),
        ([], "Expected"),
    ],
)
def test_what_is_refused(content: Any, reason: str) -> None:
    """Goal: nothing is guessed, and the text names what is wrong. Method: table."""
    with pytest.raises(BadManifest, match=reason):
        parse(content)


@pytest.mark.parametrize(
    "content_type", [None, "application/json", "text/html", V4.replace("v4", "v9"), V4 + "x"]
)
def test_other_content_is_refused(content_type: str | None) -> None:
    """Goal: a page of some other server is no manifest."""
    with pytest.raises(BadManifest, match="manifest"):
        parse(manifest(), content_type)


def test_bytes_that_are_no_json() -> None:
    """Goal: a BadManifest, whatever comes."""
    for body in (b"", b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(BadManifest):
            parse_manifest(V4, body)


@pytest.mark.parametrize(
    ("told", "expected"),
    [({"lambdaCompression": "zstd"}, Compression.ZSTD), ({"lambdaCompression": None}, None),
     ({"lambdaCompression": "later"}, None), ({}, None)],
)  # fmt: skip
def test_compression(told: dict[str, Any], expected: Compression | None) -> None:
    """Goal: large requests are packed for who can unpack them. How: an offer, an unknown one."""
    assert parse(manifest(service({"name": "h"}), **told)).compression is expected
