"""Registration: revisions, what is refused and with which code, falling back, options."""

from __future__ import annotations

from dataclasses import replace

import pytest

from restate_node.protocol.schema_registration import (
    Refusal,
    RefusalKind,
    Registered,
    ServiceChange,
    modify,
    register,
    remove,
    update,
)
from restate_node.types.ids import Version
from restate_node.types.schema import (
    Deployment,
    Handler,
    HttpVersion,
    ProtocolMode,
    Schema,
    Service,
)
from restate_node.types.targets import ServiceType, TargetKind

EMPTY = Schema(Version(0))


def service(name: str = "S", *handlers: str, kind: ServiceType = ServiceType.SERVICE) -> Service:
    target = {ServiceType.SERVICE: TargetKind.SERVICE}.get(kind, TargetKind.OBJECT_EXCLUSIVE)
    known = {handler: Handler(name=handler, kind=target) for handler in handlers or ("h",)}
    return Service(name=name, type=kind, revision=0, handlers=known)


def deployment(number: int, *services: Service, uri: str = "") -> Deployment:
    return Deployment(
        id=f"dp_1{number}",
        uri=uri or f"http://host:{number}/",
        mode=ProtocolMode.BIDIRECTIONAL,
        http_version=HttpVersion.HTTP_2,
        services={known.name: known for known in services or (service(),)},
    )


def registered(
    schema: Schema, found: Deployment, *, force: bool = False, breaking: bool = False
) -> Registered:
    result = register(schema, found, force=force, breaking=breaking)
    assert isinstance(result, Registered), result
    return result


def refused(result: object, kind: RefusalKind, code: str | None = None) -> str:
    assert isinstance(result, Refusal), result
    assert (result.kind, result.code) == (kind, code)
    return result.message


def revisions(schema: Schema) -> dict[str, dict[str, int]]:
    return {
        name: {service.name: service.revision for service in known.services.values()}
        for name, known in schema.deployments.items()
    }


def test_each_registration_is_the_next_revision() -> None:
    """Goal: per service, over all deployments. Method: three deployments, not the same services."""
    schema = registered(EMPTY, deployment(1, service("A"), service("B"))).schema
    schema = registered(schema, deployment(2, service("A"))).schema
    schema = registered(schema, deployment(3, service("A"), service("B"), service("C"))).schema
    assert revisions(schema) == {
        "dp_11": {"A": 1, "B": 1},
        "dp_12": {"A": 2},
        "dp_13": {"A": 3, "B": 2, "C": 1},
    }
    assert schema.version == 3


def test_same_address_is_the_same_deployment() -> None:
    """Goal: without force nothing changes; with it, the services are replaced under the old id."""
    first = registered(EMPTY, deployment(1, service("A"), service("B")))
    assert first.is_new
    again = deployment(2, service("A", "h", "new"), uri=first.deployment.uri)
    same = registered(first.schema, again)
    assert not same.is_new and same.schema is first.schema and same.deployment.id == "dp_11"
    forced = registered(first.schema, again, force=True)
    assert not forced.is_new and revisions(forced.schema) == {"dp_11": {"A": 2}}
    assert forced.schema.handler("A", "new") is not None
    assert forced.schema.service("B") is None


@pytest.mark.parametrize(("force", "breaking"), [(False, True), (True, False)])
def test_type_of_a_service_changes_only_on_demand(force: bool, breaking: bool) -> None:
    """Goal: META0006, unless it is wanted."""
    schema = registered(EMPTY, deployment(1)).schema
    changed = deployment(2, service(kind=ServiceType.VIRTUAL_OBJECT))
    result = register(schema, changed, force=False, breaking=False)
    assert "type" in refused(result, RefusalKind.CONFLICT, "META0006")
    allowed = registered(schema, changed, force=force, breaking=breaking)
    assert revisions(allowed.schema)["dp_12"] == {"S": 2}


def test_handlers_may_go_with_a_revision() -> None:
    """Goal: as in the reference: that is no breaking change."""
    schema = registered(EMPTY, deployment(1, service("S", "a", "b"))).schema
    schema = registered(schema, deployment(2, service("S", "a"))).schema
    assert schema.handler("S", "b") is None
    assert schema.handler("S", "b", deployment="dp_11") is not None


@pytest.mark.parametrize("name", ["restate", "Restate", "restate.x", "openapi"])
def test_reserved_names(name: str) -> None:
    """Goal: META0005: their paths are taken."""
    result = register(EMPTY, deployment(1, service(name)), force=True, breaking=True)
    assert name in refused(result, RefusalKind.INVALID, "META0005")
    assert isinstance(
        register(EMPTY, deployment(1, service("restated")), force=False, breaking=False), Registered
    )


@pytest.mark.parametrize("versions", [(1, 4), (8, 9)])
def test_protocol_versions_must_meet(versions: tuple[int, int]) -> None:
    """Goal: META0012 for an SDK that is too old or too new."""
    least, most = versions
    found = replace(deployment(1), protocol_version_min=least, protocol_version_max=most)
    result = register(EMPTY, found, force=True, breaking=True)
    assert f"[{least}, {most}]" in refused(result, RefusalKind.BAD_DEPLOYMENT, "META0012")


def test_removal_falls_back_to_an_older_deployment() -> None:
    """Goal: the newest that is left serves new calls; without any the service is gone."""
    schema = registered(EMPTY, deployment(1)).schema
    schema = registered(schema, deployment(2)).schema
    schema = remove(schema, "dp_12")
    assert isinstance(schema, Schema) and schema.version == 3
    latest = schema.latest_deployment("S")
    assert latest is not None and latest.id == "dp_11"
    refused(remove(schema, "dp_12"), RefusalKind.NOT_FOUND)
    gone = remove(schema, "dp_11")
    assert isinstance(gone, Schema) and gone.service("S") is None


def test_revision_after_a_removal() -> None:
    """Goal: what is registered after a removal is the latest."""
    schema = registered(EMPTY, deployment(1)).schema
    schema = registered(schema, deployment(2)).schema
    left = remove(schema, "dp_11")
    assert isinstance(left, Schema)
    again = registered(left, deployment(3)).schema
    assert again.latest_deployment("S") is again.deployments["dp_13"]


def test_update_moves_a_deployment() -> None:
    """Goal: same id, revision, metadata and services at another address."""
    first = replace(deployment(1, service("S", "a")), metadata={"m": "1"}, created_at_ms=5)
    schema = registered(EMPTY, first).schema
    moved = deployment(9, service("S", "a", "b"), uri="http://else/")
    result = update(schema, "dp_11", moved, overwrite=False)
    assert isinstance(result, Registered)
    placed = result.schema.deployments["dp_11"]
    assert (placed.uri, placed.created_at_ms, placed.metadata) == ("http://else/", 5, {"m": "1"})
    assert set(placed.services["S"].handlers) == {"a"} and placed.services["S"].revision == 1
    overwritten = update(schema, "dp_11", moved, overwrite=True)
    assert isinstance(overwritten, Registered)
    replaced = overwritten.schema.deployments["dp_11"].services["S"]
    assert set(replaced.handlers) == {"a", "b"} and replaced.revision == 1


@pytest.mark.parametrize(
    "found",
    [
        deployment(9, service("Other")),
        deployment(9, service("S", "x")),
        deployment(9, service("S", "a", kind=ServiceType.VIRTUAL_OBJECT)),
    ],
)
def test_update_must_find_what_runs(found: Deployment) -> None:
    """Goal: without overwrite, everything that may be running is still there. Method: table."""
    schema = registered(EMPTY, deployment(1, service("S", "a"))).schema
    result = update(schema, "dp_11", found, overwrite=False)
    assert "overwrite" in refused(result, RefusalKind.CONFLICT)
    assert isinstance(update(schema, "dp_11", found, overwrite=True), Registered)


def test_update_of_what_is_unknown_or_taken() -> None:
    """Goal: 404, and no two deployments at one address."""
    schema = registered(EMPTY, deployment(1)).schema
    schema = registered(schema, deployment(2)).schema
    refused(update(schema, "dp_13", deployment(3), overwrite=True), RefusalKind.NOT_FOUND)
    result = update(schema, "dp_11", deployment(2), overwrite=True)
    assert "dp_12" in refused(result, RefusalKind.CONFLICT)


def test_options_of_a_service() -> None:
    """Goal: the latest revision changes, the rest stays; the next registration starts anew."""
    schema = registered(EMPTY, deployment(1)).schema
    changed = modify(schema, "S", ServiceChange(public=False, inactivity_timeout_ms=5))
    assert isinstance(changed, Schema) and changed.version == 2
    known = changed.service("S")
    assert known is not None and not known.public and known.revision == 1
    assert known.overrides.inactivity_timeout_ms == 5
    assert known.overrides.abort_timeout_ms is None
    assert modify(changed, "S", ServiceChange()) is changed
    again = registered(changed, deployment(2)).schema.service("S")
    assert again is not None and again.public


def test_options_that_are_refused() -> None:
    """Goal: a service that is unknown, and a retention that only workflows have."""
    schema = registered(EMPTY, deployment(1)).schema
    refused(modify(schema, "X", ServiceChange(public=True)), RefusalKind.NOT_FOUND)
    change = ServiceChange(workflow_completion_retention_ms=1)
    assert "Service" in refused(modify(schema, "S", change), RefusalKind.INVALID)
