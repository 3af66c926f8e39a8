"""What holds for a call: handler, service, node, in this order; the latest revision; pinning."""

from __future__ import annotations

from dataclasses import replace

import pytest

from restate_node.types.ids import Version
from restate_node.types.invocations import Retention
from restate_node.types.options import InvocationRetryOptions, NodeOptions, OnAttemptsExhausted
from restate_node.types.schema import (
    ContentPattern,
    Deployment,
    Handler,
    HandlerDefaults,
    HttpVersion,
    Overrides,
    ProtocolMode,
    RetryOverrides,
    Schema,
    Service,
)
from restate_node.types.targets import ServiceType, TargetKind

GREET = Handler(name="greet", kind=TargetKind.SERVICE)


def deployment(number: int, *services: Service, mode: ProtocolMode | None = None) -> Deployment:
    return Deployment(
        id=f"dp_1{number}",
        uri=f"http://host:{number}/",
        mode=mode or ProtocolMode.BIDIRECTIONAL,
        http_version=HttpVersion.HTTP_2,
        services={service.name: service for service in services},
    )


def greeter(handler: Handler = GREET, revision: int = 1, **fields: object) -> Service:
    service = Service(
        name="Greeter",
        type=ServiceType.SERVICE,
        revision=revision,
        handlers={handler.name: handler},
    )
    return replace(service, **fields)


def schema(*deployments: Deployment) -> Schema:
    return Schema(Version(1), {known.id: known for known in deployments})


def test_new_calls_go_to_the_highest_revision() -> None:
    """Goal: latest is by revision, not by order. Method: the middle one is newest."""
    known = schema(
        deployment(1, greeter(revision=1)),
        deployment(2, greeter(revision=3)),
        deployment(3, greeter(revision=2)),
    )
    latest = known.latest_deployment("Greeter")
    assert latest is not None and latest.id == "dp_12"
    resolved = known.handler("Greeter", "greet")
    assert resolved is not None and (resolved.deployment, resolved.revision) == ("dp_12", 3)
    pinned = known.handler("Greeter", "greet", deployment="dp_11")
    assert pinned is not None and pinned.revision == 1


def test_unknown_names_are_none() -> None:
    """Goal: no exception for what is not there."""
    known = schema(deployment(1, greeter()))
    assert known.handler("Greeter", "nope") is None and known.handler("Nope", "greet") is None
    assert known.handler("Greeter", "greet", deployment="dp_19") is None
    assert known.service("Nope") is None and known.latest_deployment("Nope") is None
    assert known.deployment("dp_19") is None and known.service_names() == ("Greeter",)


def test_handler_before_service_before_node() -> None:
    """Goal: each level fills what the one before leaves open. Method: one value at each level."""
    own = Overrides(
        idempotency_retention_ms=1, enable_lazy_state=False, retry=RetryOverrides(attempts_max=3)
    )
    around = Overrides(
        idempotency_retention_ms=10,
        abort_timeout_ms=20,
        enable_lazy_state=True,
        retry=RetryOverrides(attempts_max=30, on_attempts_max=OnAttemptsExhausted.KILL),
    )
    known = schema(deployment(1, greeter(replace(GREET, overrides=own), overrides=around)))
    defaults = HandlerDefaults(journal_retention_ms=300, inactivity_timeout_ms=400)
    resolved = known.handler("Greeter", "greet", defaults)
    assert resolved is not None
    assert resolved.idempotency_retention_ms == 1
    assert resolved.abort_timeout_ms == 20
    assert resolved.enable_lazy_state is False
    assert (resolved.journal_retention_ms, resolved.inactivity_timeout_ms) == (300, 400)
    assert resolved.retry == InvocationRetryOptions(
        attempts_max=3, on_attempts_max=OnAttemptsExhausted.KILL
    )


def test_request_response_cannot_wait() -> None:
    """Goal: a deployment that answers one request at a time has no inactivity time-out."""
    known = schema(deployment(1, greeter(), mode=ProtocolMode.REQUEST_RESPONSE))
    resolved = known.handler("Greeter", "greet")
    assert resolved is not None and resolved.inactivity_timeout_ms == 0


@pytest.mark.parametrize(
    ("service", "handler", "expected"),
    [(True, None, True), (True, False, False), (False, None, False), (False, True, False)],
)
def test_public_means_both(service: bool, handler: bool | None, expected: bool) -> None:
    """Goal: a private service hides all handlers, a private handler itself."""
    known = schema(deployment(1, greeter(replace(GREET, public=handler), public=service)))
    resolved = known.handler("Greeter", "greet")
    assert resolved is not None and resolved.public is expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (TargetKind.SERVICE, Retention(10, 10)),
        (TargetKind.WORKFLOW_RUN, Retention(200, 30)),
        (TargetKind.WORKFLOW_SHARED, Retention(10, 10)),
    ],
)
def test_retention(kind: TargetKind, expected: Retention) -> None:
    """Goal: the outcome by kind of call, the journal never longer. Method: table."""
    defaults = HandlerDefaults(
        idempotency_retention_ms=10, workflow_completion_retention_ms=200, journal_retention_ms=30
    )
    known = schema(deployment(1, greeter(replace(GREET, kind=kind))))
    resolved = known.handler("Greeter", "greet", defaults)
    assert resolved is not None and resolved.retention() == expected


def test_defaults_are_those_of_the_node() -> None:
    """Goal: without configuration the node's defaults are the type's."""
    assert HandlerDefaults.of(NodeOptions()) == HandlerDefaults()


@pytest.mark.parametrize(
    ("pattern", "content_type", "expected"),
    [
        (ContentPattern("application", "json"), "application/json; charset=utf-8", True),
        (ContentPattern("application", "json"), "Application/JSON", False),
        (ContentPattern("application", "json"), "text/plain", False),
        (ContentPattern("text"), "text/html", True),
        (ContentPattern(), "", True),
    ],
)
def test_content_patterns(pattern: ContentPattern, content_type: str, expected: bool) -> None:
    """Goal: wildcards, case, parameters. Method: table."""
    assert pattern.matches(content_type) is expected
