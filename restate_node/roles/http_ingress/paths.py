"""What a path of the ingress asks for.

    /{service}/{handler}[/send]   /{object}/{key}/{handler}[/send]     call, send
    /restate/call/…   /restate/send/…                                  the same, explicit
    /restate/invocation/{id}/attach|output                             how did it end?
    /restate/invocation/{service}[/{key}]/{handler}/{idempotency-key}/attach|output
    /restate/workflow/{name}/{key}/attach|output
    /restate/attach/{id}   /restate/output/{id}
    /restate/attach   /restate/output   /restate/lookup                which one is in the body
    /restate/awakeables/{id}/resolve|reject   /restate/a/…             complete an awakeable
    /restate/health

Whether `/A/b/send` is a send to a service or a call of `send` on the object `b` only the schema
knows: it is asked for the type of the service.

Keys are percent-decoded, names are not: a name has no character that would need it. Slashes around
a path do not count: `/A/b/` is `/A/b`, as base URLs and paths are often joined with one too many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from restate_node.types.invocations import RawInvocationId, parse_id_text
from restate_node.types.targets import ServiceType

PATH_BYTES_MAX: Final = 64 * 1024
_CALL_EXPECTED = (
    "bad path, expected either /:service-name/:handler or /:object-name/:object-key/:handler"
)
_EXPLICIT_EXPECTED = (
    "bad path, expected /restate/call/:service/:handler, /restate/send/:service/:handler, or with "
    "a key /restate/call/:object/:key/:handler, /restate/send/:object/:key/:handler"
)
_INVOCATION_EXPECTED = (
    "bad path, expected either /restate/invocation/:invocation_id/output or "
    "/restate/invocation/:invocation_id/attach or "
    "/restate/invocation/:invocation_target/:idempotency_key/output or "
    "/restate/invocation/:invocation_target/:idempotency_key/attach"
)
_WORKFLOW_EXPECTED = (
    "bad path, expected either /restate/workflow/:workflow_name/:workflow_key/output or "
    "/restate/workflow/:workflow_name/:workflow_key/attach"
)
_AWAKEABLE_EXPECTED = (
    "bad path, expected either /restate/awakeables/:id/resolve or /restate/awakeables/:id/reject"
)
_BY_ID_EXPECTED = (
    "bad path, expected /restate/attach/:invocation_id or /restate/output/:invocation_id, or "
    "without an id and the invocation in the body"
)
_LOOKUP_EXPECTED = "bad path, expected /restate/lookup with the invocation in the body"
_SCOPE_EXPECTED = "scoped invocations are not supported: leave out /restate/scope/:scope"


class BadPath(Exception):
    """The request cannot be meant for anything; `status` is that of the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class CallPath:
    """Run a handler; `send`: do not wait for its end."""

    service: str
    key: str | None
    handler: str
    send: bool


class Wanted(Enum):
    """What is asked about an invocation."""

    OUTCOME = "attach"
    """How it ends, once it has."""
    OUTPUT = "output"
    """How it ended, if it has."""
    ID = "lookup"


@dataclass(frozen=True, slots=True)
class IdempotentCall:
    """A call that was made with an idempotency key."""

    service: str
    key: str | None
    handler: str
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """The run of a workflow."""

    service: str
    key: str


InvocationName: TypeAlias = RawInvocationId | IdempotentCall | WorkflowRun


@dataclass(frozen=True, slots=True)
class OutcomePath:
    """How an invocation ended; `wait`: not before it has."""

    invocation: InvocationName
    wait: bool


@dataclass(frozen=True, slots=True)
class NamedInBodyPath:
    """The invocation is named in the body of the request."""

    wanted: Wanted


@dataclass(frozen=True, slots=True)
class AwakeablePath:
    """Complete an awakeable."""

    id: str
    resolve: bool


@dataclass(frozen=True, slots=True)
class HealthPath:
    """Is this node ready, and for which services?"""


RequestPath: TypeAlias = CallPath | OutcomePath | NamedInBodyPath | AwakeablePath | HealthPath
TypeOf: TypeAlias = Callable[[str], ServiceType]
"""The type of a service; raises for one that is not registered."""


def parse_path(raw_path: bytes, type_of: TypeOf) -> RequestPath:
    """Raises BadPath, and whatever `type_of` raises."""
    if len(raw_path) > PATH_BYTES_MAX:
        raise BadPath(f"the path is longer than {PATH_BYTES_MAX} bytes", 414)
    path = raw_path.decode("latin-1")
    segments = path.strip("/").split("/")
    if len(segments) < 2:
        raise BadPath(f"bad path: {path[:256]}")
    if segments[0] == "restate":
        return _parse_reserved(segments[1], segments[2:], type_of)
    return _parse_call(segments, type_of)


def _parse_reserved(kind: str, rest: list[str], type_of: TypeOf) -> RequestPath:
    match kind:
        case "health":
            return HealthPath()
        case "call" | "send":
            return _parse_explicit(rest, type_of, send=kind == "send")
        case "invocation":
            return _parse_invocation(rest, type_of)
        case "workflow":
            return _parse_workflow(rest)
        case "awakeables" | "a":
            return _parse_awakeable(rest)
        case "attach" | "output":
            return _parse_by_id(kind, rest)
        case "lookup":
            if rest:
                raise BadPath(_LOOKUP_EXPECTED)
            return NamedInBodyPath(Wanted.ID)
        case "scope":
            raise BadPath(_SCOPE_EXPECTED)
        case _:
            raise BadPath("not found", 404)


def _parse_call(segments: list[str], type_of: TypeOf) -> CallPath:
    service, *rest = segments
    key = _decoded(rest.pop(0)) if type_of(service).is_keyed else None
    match rest:
        case [handler] if handler:
            return CallPath(service, key, handler, send=False)
        case [handler, "send"] if handler:
            return CallPath(service, key, handler, send=True)
        case _:
            raise BadPath(_CALL_EXPECTED)


def _parse_explicit(segments: list[str], type_of: TypeOf, *, send: bool) -> CallPath:
    if len(segments) < 2 or not segments[0] or not segments[-1]:
        raise BadPath(_EXPLICIT_EXPECTED)
    service, *rest = segments
    key = _decoded(rest.pop(0)) if type_of(service).is_keyed else None
    if len(rest) != 1:
        raise BadPath(_EXPLICIT_EXPECTED)
    return CallPath(service, key, rest[0], send)


def _parse_by_id(verb: str, rest: list[str]) -> OutcomePath | NamedInBodyPath:
    match rest:
        case []:
            return NamedInBodyPath(Wanted(verb))
        case [text]:
            return OutcomePath(invocation_of_text(text), verb == "attach")
        case _:
            raise BadPath(_BY_ID_EXPECTED)


def _parse_invocation(segments: list[str], type_of: TypeOf) -> OutcomePath:
    if len(segments) < 2:
        raise BadPath(_INVOCATION_EXPECTED)
    if segments[-1] not in ("attach", "output"):
        raise BadPath("not found", 404)
    wait = segments[-1] == "attach"
    if len(segments) == 2:
        return OutcomePath(invocation_of_text(segments[0]), wait)
    service, *rest = segments[:-1]
    key = _decoded(rest.pop(0)) if type_of(service).is_keyed else None
    if len(rest) != 2:
        raise BadPath(_INVOCATION_EXPECTED)
    handler, idempotency_key = rest
    return OutcomePath(IdempotentCall(service, key, handler, _decoded(idempotency_key)), wait)


def _parse_workflow(segments: list[str]) -> OutcomePath:
    match segments:
        case [service, key, "attach" | "output" as verb]:
            return OutcomePath(WorkflowRun(service, _decoded(key)), verb == "attach")
        case [_, _, *more] if more:
            raise BadPath("not found", 404)
        case _:
            raise BadPath(_WORKFLOW_EXPECTED)


def _parse_awakeable(segments: list[str]) -> AwakeablePath:
    match segments:
        case [awakeable, "resolve" | "reject" as verb]:
            return AwakeablePath(awakeable, verb == "resolve")
        case [_, _]:
            raise BadPath("not found", 404)
        case _:
            raise BadPath(_AWAKEABLE_EXPECTED)


def invocation_of_text(text: str) -> RawInvocationId:
    """Raises BadPath."""
    try:
        return parse_id_text(text)
    except ValueError as error:
        raise BadPath(f"bad invocation id '{text[:64]}': {error}") from None


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise BadPath(f"bad path, cannot decode '{text[:64]}': it is not UTF-8") from None
