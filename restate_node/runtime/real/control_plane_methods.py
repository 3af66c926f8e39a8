"""What a node offers on its control plane: a table of gRPC methods and a few plain HTTP pages.

Roles build the rows, `ControlPlane` serves them. This module knows messages but no server, so that
a role that is imported does not import one.

A handler gets the decoded request and answers with a response, or raises `GrpcError`. It runs on
the loop and is cancelled when the client hangs up or the time is over: a change that must not stop
halfway belongs to a task of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)

TIMEOUT_MS_DEFAULT = 30_000


@dataclass(frozen=True, slots=True)
class GrpcMethod(Generic[Request, Response]):
    """One request, one response."""

    service: str
    """With its package, such as `restate.node_ctl_svc.NodeCtlSvc`."""
    method: str
    request: type[Request]
    response: type[Response]
    handler: Callable[[Request], Awaitable[Response]]
    timeout_ms: int = TIMEOUT_MS_DEFAULT
    """The caller may ask for less, never for more."""

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.method}"


@dataclass(frozen=True, slots=True)
class GrpcStreamMethod(Generic[Request, Response]):
    """One request, any number of responses. `timeout_ms` covers the whole stream."""

    service: str
    method: str
    request: type[Request]
    response: type[Response]
    handler: Callable[[Request], AsyncIterator[Response]]
    timeout_ms: int = TIMEOUT_MS_DEFAULT

    @property
    def path(self) -> str:
        return f"/{self.service}/{self.method}"


@dataclass(frozen=True, slots=True)
class Page:
    """An answer to a plain HTTP GET."""

    status: int
    content_type: str
    body: bytes


PageHandler: TypeAlias = Callable[[], Awaitable[Page]]
