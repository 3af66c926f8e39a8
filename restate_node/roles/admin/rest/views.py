"""Deployments, services and handlers as the admin API shows them.

What is shown of a service is what holds, its defaults included; of a handler, what it says itself.
Empty parts are left out.
"""

from __future__ import annotations

from typing import Any

from restate_node.types.durations import duration_text
from restate_node.types.options import InvocationRetryOptions
from restate_node.types.schema import (
    Body,
    ContentPattern,
    Deployment,
    Handler,
    HandlerDefaults,
    InputRules,
    OutputRules,
    Overrides,
    ProtocolMode,
    RetryOverrides,
    Service,
)
from restate_node.types.targets import ServiceType, TargetKind
from restate_node.types.timestamps import moment_text

_HANDLER_TYPES = {
    TargetKind.OBJECT_EXCLUSIVE: "Exclusive",
    TargetKind.OBJECT_SHARED: "Shared",
    TargetKind.WORKFLOW_RUN: "Workflow",
    TargetKind.WORKFLOW_SHARED: "Shared",
}


def deployment_view(deployment: Deployment) -> dict[str, Any]:
    """With names and revisions of its services."""
    services = [
        {"name": service.name, "revision": service.revision}
        for service in deployment.services.values()
    ]
    return {**_deployment(deployment), "services": services}


def detailed_deployment_view(deployment: Deployment, defaults: HandlerDefaults) -> dict[str, Any]:
    """With all about its services."""
    return {**_deployment(deployment), "services": service_views(deployment, defaults)}


def registration_view(deployment: Deployment, defaults: HandlerDefaults) -> dict[str, Any]:
    """The answer to a registration."""
    return {
        "id": deployment.id,
        "services": service_views(deployment, defaults),
        "min_protocol_version": deployment.protocol_version_min,
        "max_protocol_version": deployment.protocol_version_max,
        **_given(sdk_version=deployment.sdk_version),
    }


def service_views(deployment: Deployment, defaults: HandlerDefaults) -> list[dict[str, Any]]:
    """All services of a deployment."""
    return [service_view(deployment, service, defaults) for service in deployment.services.values()]


def service_view(
    deployment: Deployment, service: Service, defaults: HandlerDefaults
) -> dict[str, Any]:
    """One service with its handlers."""
    own = service.overrides
    workflow = service.type is ServiceType.WORKFLOW
    inactivity_ms = _first(own.inactivity_timeout_ms, defaults.inactivity_timeout_ms)
    pausing = deployment.mode is ProtocolMode.BIDIRECTIONAL
    return {
        "name": service.name,
        "ty": service.type.label,
        "handlers": handler_views(deployment, service),
        **_given(documentation=service.documentation, metadata=dict(service.metadata) or None),
        "deployment_id": deployment.id,
        "revision": service.revision,
        "public": service.public,
        "idempotency_retention": duration_text(
            _first(own.idempotency_retention_ms, defaults.idempotency_retention_ms)
        ),
        **_given(
            workflow_completion_retention=duration_text(_workflow_retention(service, defaults))
            if workflow
            else None
        ),
        "journal_retention": duration_text(
            _first(own.journal_retention_ms, defaults.journal_retention_ms)
        ),
        "inactivity_timeout": duration_text(inactivity_ms if pausing else 0),
        "abort_timeout": duration_text(_first(own.abort_timeout_ms, defaults.abort_timeout_ms)),
        "enable_lazy_state": bool(own.enable_lazy_state),
        "retry_policy": _retry(own.retry.apply(defaults.retry)),
        **_not_applied(deployment, own, "service"),
    }


def handler_views(deployment: Deployment, service: Service) -> list[dict[str, Any]]:
    """All handlers of a service."""
    return [handler_view(deployment, service, known) for known in service.handlers.values()]


def handler_view(deployment: Deployment, service: Service, handler: Handler) -> dict[str, Any]:
    """One handler."""
    own = handler.overrides
    pausing = deployment.mode is ProtocolMode.BIDIRECTIONAL
    return {
        "name": handler.name,
        **_given(
            ty=_HANDLER_TYPES.get(handler.kind),
            documentation=handler.documentation,
            metadata=dict(handler.metadata) or None,
            idempotency_retention=_text(own.idempotency_retention_ms),
            journal_retention=_text(own.journal_retention_ms),
            inactivity_timeout=_text(own.inactivity_timeout_ms) if pausing else None,
            abort_timeout=_text(own.abort_timeout_ms),
            enable_lazy_state=own.enable_lazy_state,
        ),
        "public": service.public and handler.public is not False,
        "input_description": _describe_input(handler.input),
        "output_description": _describe_output(handler.output),
        **_given(
            input_json_schema=_input_schema(handler.input),
            output_json_schema=handler.output.json_schema,
        ),
        "retry_policy": _retry_overrides(own.retry),
        **_not_applied(deployment, own, "handler"),
    }


def _deployment(deployment: Deployment) -> dict[str, Any]:
    return {
        "id": deployment.id,
        **_place(deployment),
        **_given(
            additional_headers=dict(deployment.additional_headers) or None,
            metadata=dict(deployment.metadata) or None,
        ),
        "created_at": moment_text(deployment.created_at_ms),
        "min_protocol_version": deployment.protocol_version_min,
        "max_protocol_version": deployment.protocol_version_max,
        **_given(sdk_version=deployment.sdk_version),
    }


def _place(deployment: Deployment) -> dict[str, Any]:
    """How it is reached. Of functions everybody knows that they answer requests one by one."""
    if not deployment.is_function:
        return {
            "uri": deployment.uri,
            "protocol_type": deployment.mode.value,
            "http_version": deployment.http_version.value,
        }
    compression = deployment.compression
    return {
        "arn": deployment.uri,
        **_given(
            assume_role_arn=deployment.assume_role_arn,
            compression=None if compression is None else compression.value,
        ),
    }


def _workflow_retention(service: Service, defaults: HandlerDefaults) -> int:
    """The handler that runs the workflow may have its own, which then holds."""
    run = next(
        (known for known in service.handlers.values() if known.kind is TargetKind.WORKFLOW_RUN),
        None,
    )
    own = None if run is None else run.overrides.workflow_completion_retention_ms
    around = service.overrides.workflow_completion_retention_ms
    return _first(own if own is not None else around, defaults.workflow_completion_retention_ms)


def _not_applied(deployment: Deployment, own: Overrides, noun: str) -> dict[str, Any]:
    """What was asked for and cannot be."""
    timeout_ms = own.inactivity_timeout_ms
    if timeout_ms is None or deployment.mode is ProtocolMode.BIDIRECTIONAL:
        return {}
    message = (
        f"The configured inactivity_timeout {duration_text(timeout_ms)} will not be applied "
        f"because the {noun} is exposed in Request/Response mode."
    )
    return {"info": [{"code": "RT0021", "message": message}]}


def _retry(policy: InvocationRetryOptions) -> dict[str, Any]:
    return {
        "initial_interval": duration_text(policy.initial_interval_ms),
        "exponentiation_factor": policy.exponentiation_factor,
        "max_attempts": policy.attempts_max,
        "max_interval": duration_text(policy.interval_max_ms),
        "on_max_attempts": policy.on_attempts_max.value.title(),
    }


def _retry_overrides(retry: RetryOverrides) -> dict[str, Any]:
    kind = retry.on_attempts_max
    return {
        **_given(
            initial_interval=_text(retry.initial_interval_ms),
            exponentiation_factor=retry.exponentiation_factor,
        ),
        "max_attempts": retry.attempts_max,
        **_given(
            max_interval=_text(retry.interval_max_ms),
            on_max_attempts=None if kind is None else kind.value.title(),
        ),
    }


def _describe_input(rules: InputRules) -> str:
    body = _body_of(rules)
    return "none" if body is None else _describe(str(body.content), body.json_schema)


def _describe_output(rules: OutputRules) -> str:
    if rules.content_type is None:
        return "none"
    if rules.even_if_empty:
        return f"optional {rules.content_type}"
    return _describe(rules.content_type, rules.json_schema)


def _describe(content_type: str, json_schema: Any) -> str:
    match json_schema:
        case {"type": str(kind)}:
            return f"JSON {kind}"
        case _:
            return content_type


def _input_schema(rules: InputRules) -> Any:
    body = _body_of(rules)
    return None if body is None else body.json_schema


def _body_of(rules: InputRules) -> Body | None:
    return next((rule for rule in rules.rules if isinstance(rule, Body)), None)


def input_content_type(rules: InputRules) -> ContentPattern | None:
    """What a client would send; None for nothing."""
    body = _body_of(rules)
    return None if body is None else body.content


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _text(duration_ms: int | None) -> str | None:
    return None if duration_ms is None else duration_text(duration_ms)


def _first(own: int | None, default: int) -> int:
    return default if own is None else own
