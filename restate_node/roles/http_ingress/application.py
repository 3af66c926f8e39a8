"""The ingress: where clients call handlers over HTTP. A plain ASGI application, because it is on
the path of every call.

    request ─▶ path ─▶ handler in the schema ─▶ may it be called like that? ─▶ InvocationClient
                                                                                     │
    response ◀── status, x-restate-id, content type ◀── outcome ◀────────────────────┘

A client that hangs up ends the waiting and nothing else: the invocation goes on. Nothing is kept
here between requests, so any node with this role answers for any invocation.

Invariants: a request has exactly one answer; a body is bounded before it is read; an error says in
`source` whether the ingress or the handler raised it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, assert_never

import structlog

from restate_node.cluster.partition_calls import Unanswered
from restate_node.roles.http_ingress.answers import (
    JSON,
    Answer,
    Headers,
    Refused,
    expiry_header,
    failure_answer,
    id_header,
    json_answer,
    refusal,
)
from restate_node.roles.http_ingress.content import check_input, content_type_of
from restate_node.roles.http_ingress.named_invocations import parse_invocation_name
from restate_node.roles.http_ingress.paths import (
    AwakeablePath,
    BadPath,
    CallPath,
    HealthPath,
    IdempotentCall,
    InvocationName,
    NamedInBodyPath,
    OutcomePath,
    Wanted,
    WorkflowRun,
    parse_path,
)
from restate_node.roles.http_ingress.requests import (
    ClientLeft,
    IngressRequest,
    Receive,
    while_connected,
)
from restate_node.roles.http_ingress.submission import (
    CallRequest,
    InvocationClient,
    idempotent_target,
    known_id,
    workflow_target,
)
from restate_node.runtime.watch import Watch
from restate_node.types.attempts import MalformedMessage
from restate_node.types.invocation_messages import Attached, AttachStatus
from restate_node.types.invocations import (
    NOT_FOUND,
    WORKFLOW_ALREADY_INVOKED,
    Failure,
    Invocation,
    Outcome,
    RawInvocationId,
    Success,
    id_text,
)
from restate_node.types.journal import SignalIndex
from restate_node.types.schema import HandlerDefaults, OutputRules, ResolvedHandler, Schema
from restate_node.types.targets import ServiceType, TargetKind
from restate_node.types.timestamps import moment_text
from restate_node.wire.awakeable_ids import parse_awakeable_id
from restate_node.wire.journal_codec import signal

logger = structlog.get_logger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

NOT_YET: Final = "the invocation exists but has not completed yet"
REJECTED_CODE: Final = 500
_CALL_METHODS: Final = ("GET", "POST")
_VARY: Final = (
    (b"vary", b"origin, access-control-request-method, access-control-request-headers"),
    (b"access-control-allow-credentials", b"true"),
)


@dataclass(frozen=True, slots=True)
class IngressLimits:
    """Limits of one request."""

    body_bytes_max: int


class Ingress:
    """The application."""

    def __init__(
        self,
        schema: Watch[Schema],
        client: InvocationClient,
        defaults: HandlerDefaults,
        limits: IngressLimits,
    ) -> None:
        self._schema = schema
        self._client = client
        self._defaults = defaults
        self._limits = limits
        self._waiting: dict[asyncio.Task[Any], None] = {}

    def stop_waiting(self) -> None:
        """The node stops: tell everybody who waits how to find out what became of it."""
        for task in self._waiting:
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = IngressRequest(scope)
        try:
            answer = await self._answer(request, receive)
        except ClientLeft:
            return
        headers = [*answer.headers, *_cors(request)]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, request: IngressRequest, receive: Receive) -> Answer:
        if request.method == "OPTIONS":
            return _preflight(request)
        try:
            return await self._dispatch(request, receive)
        except Refused as refused:
            return refusal(refused)
        except BadPath as bad:
            return refusal(Refused(bad.status, str(bad)))
        except ClientLeft:
            raise
        except Exception:
            logger.exception("request failed", path=request.raw_path[:200])
            return refusal(Refused(500, "internal error: the log of this node has the details"))

    async def _dispatch(self, request: IngressRequest, receive: Receive) -> Answer:
        path = parse_path(request.raw_path, self._type_of)
        match path:
            case CallPath():
                return await self._call(path, request, receive)
            case OutcomePath():
                _allow(request, "GET")
                return await self._outcome(path, receive)
            case NamedInBodyPath():
                _allow(request, "POST")
                return await self._named_in_body(path, request, receive)
            case AwakeablePath():
                _allow(request, "POST")
                return await self._complete(path, request, receive)
            case HealthPath():
                _allow(request, "GET")
                return json_answer(200, {"services": self._schema.value.service_names()})
            case _:
                assert_never(path)

    # ------------------------------------------------------------ calls

    async def _call(self, path: CallPath, request: IngressRequest, receive: Receive) -> Answer:
        handler = self._handler(path)
        _allow(request, *_CALL_METHODS)
        idempotency_key = request.idempotency_key()
        if idempotency_key is not None and handler.kind is TargetKind.WORKFLOW_RUN:
            raise Refused(
                400,
                "cannot use the idempotency key with workflow handlers. The handler invocation "
                "will already be idempotent by the workflow key itself.",
            )
        delay_ms = request.delay_ms()
        if delay_ms is not None and not path.send:
            raise Refused(
                400, "a delay needs a send: add /send to the path, or leave out the delay"
            )
        body = await request.body(receive, self._limits.body_bytes_max)
        check_input(handler.input, request.content_type, body)
        wanted = CallRequest(
            handler, path.key, body, request.passed_on(), idempotency_key, delay_ms
        )
        invocation = self._client.invocation(wanted)
        if path.send:
            return await self._send(invocation)
        return await self._call_and_wait(invocation, handler.output, receive)

    async def _send(self, invocation: Invocation) -> Answer:
        """Not given up when the client leaves: it asked for exactly this."""
        told = id_header(invocation.id)
        submitted = await self._until_stopped(
            _answered(self._client.submit(invocation, wait=False), told), told
        )
        content = {"invocationId": told[1].decode()}
        if submitted.start_at_ms is not None:
            content["executionTime"] = moment_text(submitted.start_at_ms)
        content["status"] = "Accepted" if submitted.is_new else "PreviouslyAccepted"
        return json_answer(202, content, (told,))

    async def _call_and_wait(
        self, invocation: Invocation, output: OutputRules, receive: Receive
    ) -> Answer:
        told = id_header(invocation.id)
        submitting = _answered(self._client.submit(invocation, wait=True), told)
        submitted = await self._until_stopped(while_connected(submitting, receive), told)
        if invocation.target.kind is TargetKind.WORKFLOW_RUN and not submitted.is_new:
            return failure_answer(WORKFLOW_ALREADY_INVOKED, (told,))
        assert submitted.outcome is not None, "a leader answered a waiting call without outcome"
        headers: Headers = (told,)
        if not submitted.is_new and submitted.expires_at_ms is not None:
            headers = (told, expiry_header(submitted.expires_at_ms))
        return _outcome_answer(submitted.outcome, output, headers)

    async def _until_stopped(
        self, request: Coroutine[Any, Any, Any], told: tuple[bytes, bytes]
    ) -> Any:
        """The result; a node that stops says so instead of cutting those who wait."""
        task = asyncio.current_task()
        assert task is not None, "requests run in tasks"
        self._waiting[task] = None
        try:
            return await request
        except asyncio.CancelledError:
            text = (
                "this node is stopping; what was called goes on. Ask another node: attach by the "
                "id in x-restate-id, or repeat the request with the same idempotency key or "
                "workflow key"
            )
            raise Refused(503, text, (told, (b"retry-after", b"1"))) from None
        finally:
            del self._waiting[task]

    # ------------------------------------------------------------ outcomes

    async def _named_in_body(
        self, path: NamedInBodyPath, request: IngressRequest, receive: Receive
    ) -> Answer:
        name = parse_invocation_name(await request.body(receive, self._limits.body_bytes_max))
        if path.wanted is not Wanted.ID:
            return await self._outcome(OutcomePath(name, path.wanted is Wanted.OUTCOME), receive)
        return json_answer(200, {"invocationId": id_text(self._invocation_of(name))})

    async def _outcome(self, path: OutcomePath, receive: Receive) -> Answer:
        invocation = self._invocation_of(path.invocation)
        told = id_header(invocation)
        attaching = _answered(self._client.attach(invocation, wait=path.wait), told)
        attached = await self._until_stopped(while_connected(attaching, receive), told)
        match attached.status:
            case AttachStatus.NOT_FOUND:
                return _unknown(told, path.wait)
            case AttachStatus.NOT_READY:
                raise Refused(470, NOT_YET)
            case AttachStatus.OUTPUT_FORGOTTEN:
                raise Refused(410, "the invocation has completed, but its output is not kept")
            case AttachStatus.ENDED:
                assert attached.outcome is not None, "an ended invocation has an outcome"
                headers: Headers = (told,)
                if attached.expires_at_ms is not None:
                    headers = (told, expiry_header(attached.expires_at_ms))
                return _outcome_answer(attached.outcome, self._output_of(path, attached), headers)
            case _:
                assert_never(attached.status)

    def _invocation_of(self, name: InvocationName) -> RawInvocationId:
        match name:
            case bytes() as invocation:
                return RawInvocationId(invocation)
            case WorkflowRun(service, key):
                known = known_id(workflow_target(service, key), None)
            case IdempotentCall() as call:
                target = idempotent_target(call.service, call.handler, call.key)
                known = known_id(target, call.idempotency_key)
            case _:
                assert_never(name)
        assert known is not None, "its id follows from the key"
        return known

    def _output_of(self, path: OutcomePath, attached: Attached) -> OutputRules | None:
        match path.invocation:
            case IdempotentCall(service=service, handler=handler):
                names = (service, handler)
            case WorkflowRun(service, key):
                names = (service, workflow_target(service, key).handler)
            case _:
                target = attached.target
                names = None if target is None else (target.service, target.handler)
        known = None if names is None else self._schema.value.handler(*names, self._defaults)
        return None if known is None else known.output

    # ------------------------------------------------------------ awakeables

    async def _complete(
        self, path: AwakeablePath, request: IngressRequest, receive: Receive
    ) -> Answer:
        try:
            invocation, number = parse_awakeable_id(path.id)
        except MalformedMessage as error:
            raise Refused(400, f"bad awakeable id: {error}") from None
        body = await request.body(receive, self._limits.body_bytes_max)
        outcome: Outcome = Success(body)
        if not path.resolve:
            outcome = Failure(REJECTED_CODE, body.decode(errors="replace"))
        await _answered(self._client.notify(invocation, signal(SignalIndex(number), outcome)))
        return Answer(202)

    # ------------------------------------------------------------ schema

    def _type_of(self, service: str) -> ServiceType:
        known = self._schema.value.service(service)
        if known is None:
            raise _unknown_service(self._schema.value, service)
        return known.type

    def _handler(self, path: CallPath) -> ResolvedHandler:
        handler = self._schema.value.handler(path.service, path.handler, self._defaults)
        if handler is None:
            raise Refused(
                404,
                f"the service '{path.service}' exists, but the handler '{path.handler}' was not "
                "found, check that the handler exists in the latest registered service version.",
            )
        if not handler.public:
            raise Refused(400, "the invoked service is not public")
        return handler


def _unknown_service(schema: Schema, service: str) -> Refused:
    if schema.problem is not None:
        return Refused(503, f"the registered services cannot be read here: {schema.problem}")
    text = f"service '{service}' not found, make sure to register the service before calling it."
    return Refused(404, text)


def _unknown(told: tuple[bytes, bytes], wait: bool) -> Answer:
    if wait:
        return failure_answer(NOT_FOUND, (told,))
    raise Refused(404, "invocation not found")


def _outcome_answer(outcome: Outcome, output: OutputRules | None, headers: Headers) -> Answer:
    if isinstance(outcome, Failure):
        return failure_answer(outcome, headers)
    content_type = content_type_of(output, outcome.value)
    if content_type is None:
        return Answer(200, outcome.value, headers)
    label = JSON if content_type == "application/json" else content_type.encode("latin-1")
    return Answer(200, outcome.value, (*headers, (b"content-type", label)))


def _allow(request: IngressRequest, *methods: str) -> None:
    if request.method not in methods:
        raise Refused(405, "method not allowed", ((b"allow", ", ".join(methods).encode()),))


async def _answered(request: Coroutine[Any, Any, Any], *headers: tuple[bytes, bytes]) -> Any:
    """The leader's answer, or a refusal that says how to find out what became of it."""
    try:
        return await request
    except Unanswered as unanswered:
        text = (
            f"not confirmed in time: {unanswered}; it may still happen. Ask again with the same "
            "idempotency key or workflow key, or attach by the id in x-restate-id"
        )
        raise Refused(503, text, (*headers, (b"retry-after", b"1"))) from None


def _preflight(request: IngressRequest) -> Answer:
    """Browsers ask first; everything that the ingress can do is allowed from anywhere."""
    headers: list[tuple[bytes, bytes]] = []
    for asked, allowed in (
        (b"access-control-request-method", b"access-control-allow-methods"),
        (b"access-control-request-headers", b"access-control-allow-headers"),
    ):
        value = request.header(asked)
        if value is not None:
            headers.append((allowed, value))
    return Answer(200, b"", tuple(headers))


def _cors(request: IngressRequest) -> Headers:
    origin = request.header(b"origin")
    if origin is None:
        return _VARY
    return (*_VARY, (b"access-control-allow-origin", origin))
