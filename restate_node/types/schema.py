"""What is registered: deployments, the services in them, their handlers, and what holds for a call.

    Schema ─┬ Deployment dp_1… ─┬ Service Greeter, revision 1 ─┬ Handler greet
            │                   └ Service Counter, revision 1  └ Handler …
            └ Deployment dp_1… ── Service Greeter, revision 2 …      the latest: new calls go here

A deployment is one version of a user's code at one address. Each registration gives the services in
it a new revision; a call that has begun stays with the deployment where it began, new ones go to
the latest revision.

What users may tune (retentions, time-outs, retries) can stand at the handler, at the service, or
nowhere: then the node's configuration decides. `Schema.handler` puts the three together.

Invariants: values never change; names of services are unique in a deployment and those of handlers
in a service; the latest revision of a service is the highest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, TypeAlias

from restate_node.types.function_arns import is_arn
from restate_node.types.ids import Version
from restate_node.types.invocations import Retention
from restate_node.types.options import InvocationRetryOptions, NodeOptions, OnAttemptsExhausted
from restate_node.types.targets import ServiceType, TargetKind

WORKFLOW_RUN_HANDLER: Final = "run"
_DAY_MS: Final = 24 * 60 * 60 * 1000


class ProtocolMode(Enum):
    """How a deployment takes part in an invocation. The value is the name in JSON."""

    BIDIRECTIONAL = "BidiStream"
    REQUEST_RESPONSE = "RequestResponse"


class HttpVersion(Enum):
    """What a deployment is spoken to. The value is the name in JSON."""

    HTTP_11 = "HTTP/1.1"
    HTTP_2 = "HTTP/2.0"


class Compression(Enum):
    """What a function on AWS Lambda understands: its payloads are limited. Names of JSON."""

    ZSTD = "Zstd"


@dataclass(frozen=True, slots=True)
class ContentPattern:
    """`application/json`, `text/*`, `*/*`."""

    kind: str = "*"
    subtype: str = "*"

    def __str__(self) -> str:
        return f"{self.kind}/{self.subtype}"

    @property
    def is_any(self) -> bool:
        return self.kind == self.subtype == "*"

    def matches(self, content_type: str) -> bool:
        """Parameters such as charset do not count; upper and lower case differ."""
        kind, _, subtype = content_type.partition(";")[0].strip().partition("/")
        return self.kind in ("*", kind) and self.subtype in ("*", subtype)


@dataclass(frozen=True, slots=True)
class NoBody:
    """A request without body and without content type fits."""


@dataclass(frozen=True, slots=True)
class Body:
    """A request of such a type fits. `json_schema` is None when the SDK told none."""

    content: ContentPattern
    json_schema: Any = None


InputRule = NoBody | Body


@dataclass(frozen=True, slots=True)
class InputRules:
    """A request must fit one of them."""

    rules: tuple[InputRule, ...] = (NoBody(), Body(ContentPattern()))


@dataclass(frozen=True, slots=True)
class OutputRules:
    """What the answer looks like. `content_type` None: the handler returns nothing."""

    content_type: str | None = "application/json"
    even_if_empty: bool = False
    """Say the content type also when there is no body."""
    json_schema: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOverrides:
    """Parts of a retry policy; None leaves it to the level above."""

    initial_interval_ms: int | None = None
    exponentiation_factor: float | None = None
    attempts_max: int | None = None
    interval_max_ms: int | None = None
    on_attempts_max: OnAttemptsExhausted | None = None

    def apply(self, policy: InvocationRetryOptions) -> InvocationRetryOptions:
        """The policy with what is given here in its place."""
        given = {
            name: value
            for name in self.__dataclass_fields__
            if (value := getattr(self, name)) is not None
        }
        return replace(policy, **given) if given else policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """What users may tune at a handler and at a service; None leaves it to the level above."""

    idempotency_retention_ms: int | None = None
    workflow_completion_retention_ms: int | None = None
    journal_retention_ms: int | None = None
    inactivity_timeout_ms: int | None = None
    abort_timeout_ms: int | None = None
    enable_lazy_state: bool | None = None
    retry: RetryOverrides = RetryOverrides()


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """One handler, as its deployment told."""

    name: str
    kind: TargetKind
    public: bool | None = None
    """None: as public as its service."""
    input: InputRules = InputRules()
    output: OutputRules = OutputRules()
    documentation: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    overrides: Overrides = Overrides()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One revision of a service; operators may have changed it since it was registered."""

    name: str
    type: ServiceType
    revision: int = 1
    public: bool = True
    handlers: Mapping[str, Handler]
    documentation: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    overrides: Overrides = Overrides()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One version of a user's code, and how to reach it."""

    id: str
    """`dp_1…`."""
    uri: str
    """`http(s)://…`, or the ARN of a function on AWS Lambda."""
    mode: ProtocolMode
    http_version: HttpVersion
    """Functions count as HTTP/1.1: one direction after the other."""
    assume_role_arn: str | None = None
    """Whose permissions a function is called with; None: those of the node."""
    compression: Compression | None = None
    """Of large requests to a function."""
    additional_headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Sent with every request; they often hold credentials."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    created_at_ms: int = 0
    protocol_version_min: int = 5
    protocol_version_max: int = 5
    sdk_version: str | None = None
    services: Mapping[str, Service] = field(default_factory=dict[str, Service])

    @property
    def is_function(self) -> bool:
        """It is reached through AWS Lambda instead of HTTP."""
        return is_arn(self.uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerDefaults:
    """What holds where neither handler nor service says anything."""

    idempotency_retention_ms: int = _DAY_MS
    workflow_completion_retention_ms: int = _DAY_MS
    journal_retention_ms: int = _DAY_MS
    inactivity_timeout_ms: int = 60_000
    abort_timeout_ms: int = 600_000
    retry: InvocationRetryOptions = field(default_factory=InvocationRetryOptions)

    @staticmethod
    def of(options: NodeOptions) -> HandlerDefaults:
        """Those of a node's configuration."""
        return HandlerDefaults(
            idempotency_retention_ms=options.default_idempotency_retention_ms,
            workflow_completion_retention_ms=options.default_workflow_completion_retention_ms,
            journal_retention_ms=options.default_journal_retention_ms,
            inactivity_timeout_ms=options.worker.invoker.inactivity_timeout_ms,
            abort_timeout_ms=options.worker.invoker.abort_timeout_ms,
            retry=options.default_retry_policy,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedHandler:
    """A handler with everything that holds for a call of it."""

    service: str
    handler: str
    kind: TargetKind
    public: bool
    deployment: str
    revision: int
    input: InputRules
    output: OutputRules
    idempotency_retention_ms: int
    workflow_completion_retention_ms: int
    journal_retention_ms: int
    inactivity_timeout_ms: int
    """0 when the deployment answers requests one by one: it cannot wait."""
    abort_timeout_ms: int
    enable_lazy_state: bool
    retry: InvocationRetryOptions

    def retention(self) -> Retention:
        """How long a call stays after its end, with an idempotency key or without: its outcome can
        be asked for by its id, too. The journal never outlives the outcome.
        """
        outcome_ms = self.idempotency_retention_ms
        if self.kind is TargetKind.WORKFLOW_RUN:
            outcome_ms = self.workflow_completion_retention_ms
        return Retention(outcome_ms, min(self.journal_retention_ms, outcome_ms))


_DEFAULTS: Final = HandlerDefaults()
_Found: TypeAlias = tuple[HandlerDefaults, ResolvedHandler]


@dataclass(frozen=True, slots=True)
class Schema:
    """All that is registered in a cluster, at one version."""

    version: Version
    deployments: Mapping[str, Deployment] = field(default_factory=dict[str, Deployment])
    """By id."""
    subscriptions: tuple[Any, ...] = ()
    """Of other servers on this cluster: kept as they are."""
    problem: str | None = None
    """Why the object of this version could not be read: what is here is then an older one, and
    MUST NOT be written back.
    """
    _latest: Mapping[str, Deployment] = field(init=False, repr=False, compare=False)
    _resolved: dict[tuple[str, str, str | None], _Found] = field(
        init=False, repr=False, compare=False, default_factory=dict[Any, _Found]
    )
    """What `handler` found, since every call asks: values never change."""

    def __post_init__(self) -> None:
        latest: dict[str, Deployment] = {}
        for deployment in self.deployments.values():
            for name, service in deployment.services.items():
                known = latest.get(name)
                if known is None or known.services[name].revision < service.revision:
                    latest[name] = deployment
        object.__setattr__(self, "_latest", latest)

    def service_names(self) -> tuple[str, ...]:
        """All services, in order."""
        return tuple(sorted(self._latest))

    def deployment(self, deployment: str) -> Deployment | None:
        """By `dp_1…`."""
        return self.deployments.get(deployment)

    def latest_deployment(self, service: str) -> Deployment | None:
        """Where new calls of a service go."""
        return self._latest.get(service)

    def service(self, name: str) -> Service | None:
        """Its latest revision."""
        deployment = self._latest.get(name)
        return None if deployment is None else deployment.services[name]

    def handler(
        self,
        service: str,
        handler: str,
        defaults: HandlerDefaults | None = None,
        deployment: str | None = None,
    ) -> ResolvedHandler | None:
        """What holds for a call: by the latest revision, or by a deployment that it is pinned to.
        None when there is no such handler.
        """
        given = defaults or _DEFAULTS
        cached = self._resolved.get((service, handler, deployment))
        if cached is not None and cached[0] is given:
            return cached[1]
        where = self.deployments.get(deployment) if deployment else self._latest.get(service)
        known = where.services.get(service) if where else None
        found = known.handlers.get(handler) if known else None
        if where is None or known is None or found is None:
            return None
        resolved = _resolve(where, known, found, given)
        self._resolved[service, handler, deployment] = given, resolved
        return resolved


def _resolve(
    deployment: Deployment, service: Service, handler: Handler, defaults: HandlerDefaults
) -> ResolvedHandler:
    own, around = handler.overrides, service.overrides
    pausing = deployment.mode is ProtocolMode.BIDIRECTIONAL
    return ResolvedHandler(
        service=service.name,
        handler=handler.name,
        kind=handler.kind,
        public=service.public and handler.public is not False,
        deployment=deployment.id,
        revision=service.revision,
        input=handler.input,
        output=handler.output,
        idempotency_retention_ms=_first(
            own.idempotency_retention_ms,
            around.idempotency_retention_ms,
            defaults.idempotency_retention_ms,
        ),
        workflow_completion_retention_ms=_first(
            own.workflow_completion_retention_ms,
            around.workflow_completion_retention_ms,
            defaults.workflow_completion_retention_ms,
        ),
        journal_retention_ms=_first(
            own.journal_retention_ms, around.journal_retention_ms, defaults.journal_retention_ms
        ),
        inactivity_timeout_ms=_first(
            own.inactivity_timeout_ms, around.inactivity_timeout_ms, defaults.inactivity_timeout_ms
        )
        if pausing
        else 0,
        abort_timeout_ms=_first(
            own.abort_timeout_ms, around.abort_timeout_ms, defaults.abort_timeout_ms
        ),
        enable_lazy_state=bool(
            around.enable_lazy_state if own.enable_lazy_state is None else own.enable_lazy_state
        ),
        retry=own.retry.apply(around.retry.apply(defaults.retry)),
    )


def _first(own: int | None, around: int | None, default: int) -> int:
    if own is not None:
        return own
    return default if around is None else around
