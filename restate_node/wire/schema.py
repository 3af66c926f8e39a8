"""The registry of services as bytes: the metadata object `schema_registry`.

    {"version": 1, "subscriptions": [], "deployments_v2": [
      {"id": "dp_1…", "created_at": ms, "sdk_version": …,
       "supported_protocol_versions": {start, end},
       "ty": {"Http": {address, http_version, protocol_type}}
             | {"Lambda": {arn, assume_role_arn, compression}},
       "delivery_options": …, "metadata": …,
       "services": [{"name", "ty", "revision", "public", "handlers": [{"name", "target_ty", …}]}]}]}

The layout is Restate's, so that its tools can look at it: durations of services are texts
(`1m 30s`), those of handlers are seconds and nanoseconds. What says nothing is left out.
Schemas before `deployments_v2` are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from restate_node.types.durations import duration_text, parse_duration_ms
from restate_node.types.function_arns import is_arn
from restate_node.types.ids import Version
from restate_node.types.options import OnAttemptsExhausted
from restate_node.types.schema import (
    Body,
    Compression,
    ContentPattern,
    Deployment,
    Handler,
    HttpVersion,
    InputRule,
    InputRules,
    NoBody,
    OutputRules,
    Overrides,
    ProtocolMode,
    RetryOverrides,
    Schema,
    Service,
)
from restate_node.types.targets import ServiceType, TargetKind
from restate_node.wire.storage_codec import U32, U63, decode_object, encode_shape

_NANOS_OF_MS = 1_000_000
_NO_BODY = "NoBodyAndContentType"
_TARGETS: dict[TargetKind, Any] = {
    TargetKind.SERVICE: "Service",
    TargetKind.OBJECT_EXCLUSIVE: {"VirtualObject": "Exclusive"},
    TargetKind.OBJECT_SHARED: {"VirtualObject": "Shared"},
    TargetKind.WORKFLOW_RUN: {"Workflow": "Workflow"},
    TargetKind.WORKFLOW_SHARED: {"Workflow": "Shared"},
}
_ON_ATTEMPTS_MAX = {kind.value.title(): kind for kind in OnAttemptsExhausted}

_Words = dict[str, str]
_OnAttemptsMax = Literal["Pause", "Kill"]


class _Duration(msgspec.Struct):
    secs: U63
    nanos: U32 = 0


class _SetContentType(msgspec.Struct):
    content_type: str
    set_content_type_if_empty: bool = False
    has_json_schema: bool = False


class _ContentTypeRule(msgspec.Struct, rename="pascal"):
    set: _SetContentType


class _OutputRules(msgspec.Struct):
    content_type_rule: Literal["None"] | _ContentTypeRule
    json_schema: Any = None


class _InputRules(msgspec.Struct):
    input_validation_rules: list[Any]


class _Retry(msgspec.Struct, omit_defaults=True):
    """Common to services and handlers."""

    retry_policy_initial_interval: str | None = None
    retry_policy_exponentiation_factor: float | None = None
    retry_policy_max_attempts: U32 | None = None
    retry_policy_max_interval: str | None = None
    retry_policy_on_max_attempts: _OnAttemptsMax | None = None


class _Handler(_Retry, omit_defaults=True, kw_only=True):
    name: str
    target_ty: Any
    input_rules: _InputRules
    output_rules: _OutputRules
    public: bool | None = None
    documentation: str | None = None
    metadata: _Words = {}
    idempotency_retention: _Duration | None = None
    workflow_completion_retention: _Duration | None = None
    journal_retention: _Duration | None = None
    inactivity_timeout: _Duration | None = None
    abort_timeout: _Duration | None = None
    enable_lazy_state: bool | None = None


class _Service(_Retry, omit_defaults=True, kw_only=True):
    name: str
    ty: str
    revision: U32
    public: bool
    handlers: list[_Handler]
    documentation: str | None = None
    metadata: _Words = {}
    idempotency_retention: str | None = None
    workflow_completion_retention: str | None = None
    journal_retention: str | None = None
    inactivity_timeout: str | None = None
    abort_timeout: str | None = None
    enable_lazy_state: bool | None = None


class _Http(msgspec.Struct):
    address: str
    http_version: str
    protocol_type: str


class _Lambda(msgspec.Struct):
    arn: str
    assume_role_arn: str | None = None
    compression: Literal["Zstd"] | UnsetType | None = UNSET


class _DeploymentType(msgspec.Struct):
    http: _Http | UnsetType = msgspec.field(name="Http", default=UNSET)
    function: _Lambda | UnsetType = msgspec.field(name="Lambda", default=UNSET)


class _Versions(msgspec.Struct):
    start: U32
    end: U32


class _DeliveryOptions(msgspec.Struct):
    additional_headers: _Words = msgspec.field(default_factory=_Words)


class _Deployment(msgspec.Struct, kw_only=True):
    id: str
    ty: _DeploymentType
    created_at: U63
    supported_protocol_versions: _Versions
    services: list[_Service]
    delivery_options: _DeliveryOptions = msgspec.field(default_factory=_DeliveryOptions)
    sdk_version: str | None = None
    metadata: _Words | UnsetType = UNSET


class _Schema(msgspec.Struct):
    version: U32
    deployments_v2: list[_Deployment]
    subscriptions: list[Any] = msgspec.field(default_factory=list[Any])


def decode_schema(data: bytes) -> Schema:
    """From either encoding; CodecError if it is not one, or has what is not supported here."""
    return decode_object(data, _Schema, _build_schema)


def encode_schema(schema: Schema) -> bytes:
    """The JSON frame."""
    assert schema.problem is None, "a schema that could not be read must not be written"
    return encode_shape(
        _Schema(
            version=schema.version,
            deployments_v2=[_deployment_shape(known) for known in schema.deployments.values()],
            subscriptions=list(schema.subscriptions),
        )
    )


# ------------------------------------------------------------------------------ reading


def _build_schema(shape: _Schema) -> Schema:
    deployments = [_build_deployment(known) for known in shape.deployments_v2]
    return Schema(
        Version(shape.version),
        _by("deployment", {known.id: known for known in deployments}, len(deployments)),
        tuple(shape.subscriptions),
    )


def _build_deployment(shape: _Deployment) -> Deployment:
    services = [_build_service(service) for service in shape.services]
    return Deployment(
        id=shape.id,
        **_build_place(shape),
        additional_headers=shape.delivery_options.additional_headers,
        metadata={} if isinstance(shape.metadata, UnsetType) else shape.metadata,
        created_at_ms=shape.created_at,
        protocol_version_min=shape.supported_protocol_versions.start,
        protocol_version_max=shape.supported_protocol_versions.end,
        sdk_version=shape.sdk_version,
        services=_by("service", {service.name: service for service in services}, len(services)),
    )


def _build_place(shape: _Deployment) -> dict[str, Any]:
    """How the deployment is reached."""
    http, function = shape.ty.http, shape.ty.function
    if not isinstance(http, UnsetType):
        return {
            "uri": http.address,
            "mode": ProtocolMode(http.protocol_type),
            "http_version": HttpVersion(http.http_version),
        }
    if isinstance(function, UnsetType) or not is_arn(function.arn):
        text = f"deployment {shape.id} is reached neither over HTTP nor by an ARN: not supported"
        raise ValueError(text)
    return {
        "uri": function.arn,
        "mode": ProtocolMode.REQUEST_RESPONSE,
        "http_version": HttpVersion.HTTP_11,
        "assume_role_arn": function.assume_role_arn,
        "compression": Compression(function.compression) if function.compression else None,
    }


def _build_service(shape: _Service) -> Service:
    handlers = [_build_handler(handler) for handler in shape.handlers]
    kind = next((kind for kind in ServiceType if kind.label == shape.ty), None)
    if kind is None:
        raise ValueError(f"service {shape.name} is a {shape.ty!r}: not supported")
    return Service(
        name=shape.name,
        type=kind,
        revision=shape.revision,
        public=shape.public,
        handlers=_by("handler", {handler.name: handler for handler in handlers}, len(handlers)),
        documentation=shape.documentation,
        metadata=shape.metadata,
        overrides=Overrides(
            idempotency_retention_ms=_of_text(shape.idempotency_retention),
            workflow_completion_retention_ms=_of_text(shape.workflow_completion_retention),
            journal_retention_ms=_of_text(shape.journal_retention),
            inactivity_timeout_ms=_of_text(shape.inactivity_timeout),
            abort_timeout_ms=_of_text(shape.abort_timeout),
            enable_lazy_state=shape.enable_lazy_state,
            retry=_build_retry(shape),
        ),
    )


def _build_handler(shape: _Handler) -> Handler:
    kind = next((kind for kind, name in _TARGETS.items() if name == shape.target_ty), None)
    if kind is None:
        raise ValueError(f"handler {shape.name} is a {shape.target_ty!r}: not supported")
    return Handler(
        name=shape.name,
        kind=kind,
        public=shape.public,
        input=InputRules(
            tuple(_build_input_rule(rule) for rule in shape.input_rules.input_validation_rules)
        ),
        output=_build_output(shape.output_rules),
        documentation=shape.documentation,
        metadata=shape.metadata,
        overrides=Overrides(
            idempotency_retention_ms=_of_duration(shape.idempotency_retention),
            workflow_completion_retention_ms=_of_duration(shape.workflow_completion_retention),
            journal_retention_ms=_of_duration(shape.journal_retention),
            inactivity_timeout_ms=_of_duration(shape.inactivity_timeout),
            abort_timeout_ms=_of_duration(shape.abort_timeout),
            enable_lazy_state=shape.enable_lazy_state,
            retry=_build_retry(shape),
        ),
    )


def _build_retry(shape: _Retry) -> RetryOverrides:
    word = shape.retry_policy_on_max_attempts
    return RetryOverrides(
        initial_interval_ms=_of_text(shape.retry_policy_initial_interval),
        exponentiation_factor=shape.retry_policy_exponentiation_factor,
        attempts_max=shape.retry_policy_max_attempts,
        interval_max_ms=_of_text(shape.retry_policy_max_interval),
        on_attempts_max=None if word is None else _ON_ATTEMPTS_MAX[word],
    )


def _build_input_rule(rule: Any) -> InputRule:
    match rule:
        case "NoBodyAndContentType":
            return NoBody()
        case {"ContentType": {"content_type": pattern}}:
            return Body(_build_pattern(pattern))
        case {"JsonValue": {"content_type": pattern, "schema": schema}}:
            return Body(_build_pattern(pattern), schema)
        case {"JsonValue": {"content_type": pattern}}:
            return Body(_build_pattern(pattern), True)
        case _:
            raise ValueError(f"{rule!r} is not a known rule for inputs")


def _build_pattern(pattern: Any) -> ContentPattern:
    match pattern:
        case "Any":
            return ContentPattern()
        case {"MimeType": str(kind)}:
            return ContentPattern(kind)
        case {"MimeTypeAndSubtype": [str(kind), str(subtype)]}:
            return ContentPattern(kind, subtype)
        case _:
            raise ValueError(f"{pattern!r} is not a pattern of content types")


def _build_output(shape: _OutputRules) -> OutputRules:
    if not isinstance(shape.content_type_rule, _ContentTypeRule):
        return OutputRules(None, False, shape.json_schema)
    told = shape.content_type_rule.set
    return OutputRules(told.content_type, told.set_content_type_if_empty, shape.json_schema)


def _by(noun: str, found: Mapping[str, Any], count: int) -> Mapping[str, Any]:
    if len(found) != count:
        raise ValueError(f"a {noun} is listed twice")
    return found


def _of_text(text: str | None) -> int | None:
    return None if text is None else parse_duration_ms(text)


def _of_duration(shape: _Duration | None) -> int | None:
    if shape is None:
        return None
    return shape.secs * 1000 + math.ceil(shape.nanos / _NANOS_OF_MS)


# ------------------------------------------------------------------------------ writing


def _deployment_shape(deployment: Deployment) -> _Deployment:
    return _Deployment(
        id=deployment.id,
        ty=_place_shape(deployment),
        created_at=deployment.created_at_ms,
        supported_protocol_versions=_Versions(
            deployment.protocol_version_min, deployment.protocol_version_max
        ),
        services=[_service_shape(service) for service in deployment.services.values()],
        delivery_options=_DeliveryOptions(dict(deployment.additional_headers)),
        sdk_version=deployment.sdk_version,
        metadata=dict(deployment.metadata) or UNSET,
    )


def _place_shape(deployment: Deployment) -> _DeploymentType:
    if deployment.is_function:
        compression = deployment.compression.value if deployment.compression else UNSET
        function = _Lambda(deployment.uri, deployment.assume_role_arn, compression)
        return _DeploymentType(function=function)
    http = _Http(deployment.uri, deployment.http_version.value, deployment.mode.value)
    return _DeploymentType(http)


def _service_shape(service: Service) -> _Service:
    own = service.overrides
    return _Service(
        name=service.name,
        ty=service.type.label,
        revision=service.revision,
        public=service.public,
        handlers=[_handler_shape(handler) for handler in service.handlers.values()],
        documentation=service.documentation,
        metadata=dict(service.metadata),
        idempotency_retention=_text(own.idempotency_retention_ms),
        workflow_completion_retention=_text(own.workflow_completion_retention_ms),
        journal_retention=_text(own.journal_retention_ms),
        inactivity_timeout=_text(own.inactivity_timeout_ms),
        abort_timeout=_text(own.abort_timeout_ms),
        enable_lazy_state=own.enable_lazy_state,
        **_retry_fields(own.retry),
    )


def _handler_shape(handler: Handler) -> _Handler:
    own = handler.overrides
    return _Handler(
        name=handler.name,
        target_ty=_TARGETS[handler.kind],
        input_rules=_InputRules([_input_shape(rule) for rule in handler.input.rules]),
        output_rules=_output_shape(handler.output),
        public=handler.public,
        documentation=handler.documentation,
        metadata=dict(handler.metadata),
        idempotency_retention=_duration(own.idempotency_retention_ms),
        workflow_completion_retention=_duration(own.workflow_completion_retention_ms),
        journal_retention=_duration(own.journal_retention_ms),
        inactivity_timeout=_duration(own.inactivity_timeout_ms),
        abort_timeout=_duration(own.abort_timeout_ms),
        enable_lazy_state=own.enable_lazy_state,
        **_retry_fields(own.retry),
    )


def _retry_fields(retry: RetryOverrides) -> dict[str, Any]:
    kind = retry.on_attempts_max
    return {
        "retry_policy_initial_interval": _text(retry.initial_interval_ms),
        "retry_policy_exponentiation_factor": retry.exponentiation_factor,
        "retry_policy_max_attempts": retry.attempts_max,
        "retry_policy_max_interval": _text(retry.interval_max_ms),
        "retry_policy_on_max_attempts": None if kind is None else kind.value.title(),
    }


def _input_shape(rule: InputRule) -> Any:
    if isinstance(rule, NoBody):
        return _NO_BODY
    pattern = {"content_type": _pattern_shape(rule.content)}
    if rule.json_schema is None:
        return {"ContentType": pattern}
    return {"JsonValue": {**pattern, "schema": rule.json_schema}}


def _pattern_shape(pattern: ContentPattern) -> Any:
    if pattern.kind == "*":
        return "Any"
    if pattern.subtype == "*":
        return {"MimeType": pattern.kind}
    return {"MimeTypeAndSubtype": [pattern.kind, pattern.subtype]}


def _output_shape(output: OutputRules) -> _OutputRules:
    if output.content_type is None:
        return _OutputRules("None", output.json_schema)
    told = _SetContentType(
        output.content_type, output.even_if_empty, output.json_schema is not None
    )
    return _OutputRules(_ContentTypeRule(told), output.json_schema)


def _text(duration_ms: int | None) -> str | None:
    return None if duration_ms is None else duration_text(duration_ms)


def _duration(duration_ms: int | None) -> _Duration | None:
    if duration_ms is None:
        return None
    seconds, rest_ms = divmod(duration_ms, 1000)
    return _Duration(seconds, rest_ms * _NANOS_OF_MS)
