"""What a deployment tells about itself: the answer to `GET /discover`.

    content-type: application/vnd.restate.endpointmanifest.v4+json
    {"protocolMode": "BIDI_STREAM", "minProtocolVersion": 5, "maxProtocolVersion": 7, "services": [
      {"name": "Counter", "ty": "VIRTUAL_OBJECT", "handlers": [
        {"name": "add", "ty": "EXCLUSIVE", "input": {…}, "output": {…}}]}]}

Version 2 added metadata, 3 time-outs and retentions, 4 retry policies. All are read by one shape:
what a version does not have is left out. Durations are milliseconds.

An SDK is code of others: whatever it answers, the outcome is a manifest or a BadManifest whose text
is for the person who registers it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec

from restate_node.types.options import OnAttemptsExhausted
from restate_node.types.schema import (
    WORKFLOW_RUN_HANDLER,
    Body,
    Compression,
    ContentPattern,
    Handler,
    InputRules,
    NoBody,
    OutputRules,
    Overrides,
    ProtocolMode,
    RetryOverrides,
    Service,
)
from restate_node.types.targets import ServiceType, TargetKind

VERSION_MIN: Final = 1
VERSION_MAX: Final = 4
ACCEPT: Final = ", ".join(
    f"application/vnd.restate.endpointmanifest.v{version}+json"
    for version in range(VERSION_MIN, VERSION_MAX + 1)
)
"""What to ask for; an SDK answers with the highest that it knows."""

SERVICES_MAX: Final = 10_000
HANDLERS_MAX: Final = 10_000
"""Of one service."""

_CONTENT_TYPE = re.compile(r"application/vnd\.restate\.endpointmanifest\.v([0-9]{1,3})\+json")
_MEDIA_TYPE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)/([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(;.*)?")

_ServiceName = Annotated[
    str, msgspec.Meta(pattern=r"^([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9._-]*$", max_length=255)
]
_HandlerName = Annotated[
    str, msgspec.Meta(pattern=r"^([a-zA-Z]|_[a-zA-Z0-9])[a-zA-Z0-9_]*$", max_length=255)
]
_Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
_ProtocolVersion = Annotated[int, msgspec.Meta(ge=1, le=(1 << 31) - 1)]
_Words = dict[str, str]


class BadManifest(Exception):
    """The answer is no manifest that can be registered; the message says why."""


class _Input(msgspec.Struct, rename="camel"):
    required: bool | None = None
    content_type: str | None = None
    json_schema: Any = None


class _Output(msgspec.Struct, rename="camel"):
    content_type: str | None = None
    set_content_type_if_empty: bool | None = None
    json_schema: Any = None


class _Tuned(msgspec.Struct, rename="camel", kw_only=True):
    """Common to services and handlers."""

    documentation: str | None = None
    metadata: _Words | None = None
    inactivity_timeout: _Milliseconds | None = None
    abort_timeout: _Milliseconds | None = None
    journal_retention: _Milliseconds | None = None
    idempotency_retention: _Milliseconds | None = None
    enable_lazy_state: bool | None = None
    ingress_private: bool | None = None
    retry_policy_initial_interval: _Milliseconds | None = None
    retry_policy_max_interval: _Milliseconds | None = None
    retry_policy_max_attempts: Annotated[int, msgspec.Meta(ge=1, le=(1 << 32) - 1)] | None = None
    retry_policy_exponentiation_factor: Annotated[float, msgspec.Meta(ge=1)] | None = None
    retry_policy_on_max_attempts: Literal["PAUSE", "KILL"] | None = None


class _Handler(_Tuned, rename="camel", kw_only=True):
    name: _HandlerName
    ty: Literal["WORKFLOW", "EXCLUSIVE", "SHARED"] | None = None
    input: _Input | None = None
    output: _Output | None = None
    workflow_completion_retention: _Milliseconds | None = None


class _Service(_Tuned, rename="camel", kw_only=True):
    name: _ServiceName
    ty: Literal["SERVICE", "VIRTUAL_OBJECT", "WORKFLOW"]
    handlers: list[_Handler]


class _Manifest(msgspec.Struct, rename="camel"):
    min_protocol_version: _ProtocolVersion
    max_protocol_version: _ProtocolVersion
    services: list[_Service]
    protocol_mode: Literal["BIDI_STREAM", "REQUEST_RESPONSE"] | None = None
    lambda_compression: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """A deployment, as it describes itself. Services have no revision yet."""

    mode: ProtocolMode
    protocol_version_min: int
    protocol_version_max: int
    services: tuple[Service, ...]
    compression: Compression | None = None
    """What the SDK can unpack, where it runs as a function on AWS Lambda."""


def parse_manifest(content_type: str | None, body: bytes) -> Manifest:
    """Raises BadManifest."""
    _check_content_type(content_type)
    try:
        shape = msgspec.json.decode(body, type=_Manifest)
        return _build(shape)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise BadManifest(f"the endpoint manifest cannot be read: {error}") from None


def _check_content_type(content_type: str | None) -> None:
    found = _CONTENT_TYPE.fullmatch((content_type or "").partition(";")[0].strip().lower())
    if found is None:
        raise BadManifest(
            f"the answer has content-type {content_type!r} instead of that of an endpoint "
            "manifest: is the address that of a Restate SDK?"
        )
    if not VERSION_MIN <= int(found[1]) <= VERSION_MAX:
        raise BadManifest(
            f"endpoint manifest version {found[1]} is not among those asked for, "
            f"{VERSION_MIN} to {VERSION_MAX}"
        )


def _build(shape: _Manifest) -> Manifest:
    if shape.protocol_mode is None:
        raise BadManifest("missing protocol mode")
    least, most = shape.min_protocol_version, shape.max_protocol_version
    if least > most:
        raise BadManifest(
            "Expected min protocol version to be <= max protocol version. Received min protocol "
            f"version '{least}', max protocol version '{most}'"
        )
    if len(shape.services) > SERVICES_MAX:
        raise BadManifest(f"{len(shape.services)} services; at most {SERVICES_MAX} are possible")
    services = tuple(_build_service(service) for service in shape.services)
    _check_unique("service", [service.name for service in services])
    bidirectional = shape.protocol_mode == "BIDI_STREAM"
    mode = ProtocolMode.BIDIRECTIONAL if bidirectional else ProtocolMode.REQUEST_RESPONSE
    # Another compression than ours is as good as none: it is an offer.
    compression = Compression.ZSTD if shape.lambda_compression == "zstd" else None
    return Manifest(mode, least, most, services, compression)


def _build_service(shape: _Service) -> Service:
    if len(shape.handlers) > HANDLERS_MAX:
        raise BadManifest(f"service {shape.name} has more than {HANDLERS_MAX} handlers")
    kind = ServiceType(shape.ty.lower())
    handlers = [_build_handler(kind, shape.name, handler) for handler in shape.handlers]
    _check_unique(f"handler of {shape.name}", [handler.name for handler in handlers])
    runs = [handler.name for handler in handlers if handler.kind is TargetKind.WORKFLOW_RUN]
    if kind is ServiceType.WORKFLOW and not runs:
        # Its name is up to the user, and so is whether a key may begin at one of several.
        raise BadManifest(
            f"the workflow {shape.name} has no WORKFLOW handler, mostly called "
            f"'{WORKFLOW_RUN_HANDLER}': without one it cannot be run"
        )
    return Service(
        name=shape.name,
        type=kind,
        revision=0,
        public=not shape.ingress_private,
        handlers={handler.name: handler for handler in handlers},
        documentation=shape.documentation,
        metadata=shape.metadata or {},
        overrides=_overrides(shape, None),
    )


def _build_handler(service: ServiceType, service_name: str, shape: _Handler) -> Handler:
    kind = _kind(service, shape)
    if kind is None:
        raise BadManifest(
            f"handler {service_name}/{shape.name} is {shape.ty}, which a {service.label} cannot "
            "have"
        )
    retention = shape.workflow_completion_retention
    if retention is not None and kind is not TargetKind.WORKFLOW_RUN:
        text = (
            f"{shape.name} sets the workflow_completion_retention, but it's not a WORKFLOW handler"
        )
        raise BadManifest(text)
    if shape.idempotency_retention is not None and kind is TargetKind.WORKFLOW_RUN:
        text = f"{shape.name} sets the idempotency_retention, but it's a WORKFLOW handler"
        raise BadManifest(text)
    return Handler(
        name=shape.name,
        kind=kind,
        public=None if shape.ingress_private is None else not shape.ingress_private,
        input=_input(shape),
        output=_output(shape),
        documentation=shape.documentation,
        metadata=shape.metadata or {},
        overrides=_overrides(shape, retention),
    )


def _kind(service: ServiceType, shape: _Handler) -> TargetKind | None:
    match service, shape.ty:
        case ServiceType.SERVICE, None:
            return TargetKind.SERVICE
        case ServiceType.VIRTUAL_OBJECT, None | "EXCLUSIVE":
            return TargetKind.OBJECT_EXCLUSIVE
        case ServiceType.VIRTUAL_OBJECT, "SHARED":
            return TargetKind.OBJECT_SHARED
        case ServiceType.WORKFLOW, None | "WORKFLOW":
            return TargetKind.WORKFLOW_RUN
        case ServiceType.WORKFLOW, "SHARED":
            return TargetKind.WORKFLOW_SHARED
        case _:
            return None


def _input(shape: _Handler) -> InputRules:
    """Without a description anything goes; without a content type there is no body."""
    if shape.input is None:
        return InputRules()
    told = shape.input
    if told.content_type is None:
        return InputRules((Body(ContentPattern()),) if told.required else (NoBody(),))
    body = Body(_pattern(shape.name, told.content_type), told.json_schema)
    return InputRules((body,) if told.required else (NoBody(), body))


def _pattern(handler: str, content_type: str) -> ContentPattern:
    found = _MEDIA_TYPE.fullmatch(content_type.strip())
    if found is None or (found[1] == "*" and found[2] != "*"):
        raise BadManifest(
            f"the handler '{handler}' input content-type is not valid: '{content_type}' is no "
            "type such as application/json, text/* or */*"
        )
    return ContentPattern(found[1].lower(), found[2].lower())


def _output(shape: _Handler) -> OutputRules:
    if shape.output is None:
        return OutputRules()
    told = shape.output
    if told.content_type is None:
        return OutputRules(None)
    if not told.content_type.isascii() or not told.content_type.isprintable():
        raise BadManifest(f"the handler '{shape.name}' output content-type is not valid")
    return OutputRules(told.content_type, bool(told.set_content_type_if_empty), told.json_schema)


def _overrides(shape: _Tuned, workflow_completion_retention_ms: int | None) -> Overrides:
    word = shape.retry_policy_on_max_attempts
    return Overrides(
        idempotency_retention_ms=shape.idempotency_retention,
        workflow_completion_retention_ms=workflow_completion_retention_ms,
        journal_retention_ms=shape.journal_retention,
        inactivity_timeout_ms=shape.inactivity_timeout,
        abort_timeout_ms=shape.abort_timeout,
        enable_lazy_state=shape.enable_lazy_state,
        retry=RetryOverrides(
            initial_interval_ms=shape.retry_policy_initial_interval,
            exponentiation_factor=shape.retry_policy_exponentiation_factor,
            attempts_max=shape.retry_policy_max_attempts,
            interval_max_ms=shape.retry_policy_max_interval,
            on_attempts_max=None if word is None else OnAttemptsExhausted(word.lower()),
        ),
    )


def _check_unique(noun: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadManifest(f"{noun} '{name}' is listed twice")
        seen.add(name)
