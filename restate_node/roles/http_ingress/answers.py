"""What the ingress answers: status, headers, body, made once and sent at once.

    200  the outcome of the handler          x-restate-id, idempotency-expires, content-type
    4xx  {"code", "message", "source"}       x-restate-error-source: ingress | invocation

`source` tells a client whether its request was refused (`ingress`) or its handler failed
(`invocation`): only then the status is the handler's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from restate_node.types.invocations import Failure, RawInvocationId, id_text

JSON: Final = b"application/json"
STATUS_MIN: Final = 400
STATUS_MAX: Final = 999
FAILURE_STATUS: Final = 500
"""Of a handler whose code is no status (three digits), or not that of an error."""

Headers = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response, without the headers that every response has."""

    status: int
    body: bytes = b""
    headers: Headers = ()


class Refused(Exception):
    """The request is answered with an error of the ingress."""

    def __init__(self, status: int, message: str, headers: Headers = ()) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


def json_answer(status: int, content: Any, headers: Headers = ()) -> Answer:
    """A body in JSON."""
    return Answer(status, msgspec.json.encode(content), ((b"content-type", JSON), *headers))


def refusal(refused: Refused) -> Answer:
    """The ingress says no."""
    content = {"code": refused.status, "message": str(refused), "source": "ingress"}
    headers = ((b"x-restate-error-source", b"ingress"), *refused.headers)
    return json_answer(refused.status, content, headers)


def failure_answer(failure: Failure, headers: Headers) -> Answer:
    """The handler failed for good."""
    usable = STATUS_MIN <= failure.code <= STATUS_MAX
    content: dict[str, Any] = {"code": failure.code, "message": failure.message}
    if failure.metadata:
        content["metadata"] = dict(failure.metadata)
    content["source"] = "invocation"
    status = failure.code if usable else FAILURE_STATUS
    return json_answer(status, content, (*headers, (b"x-restate-error-source", b"invocation")))


def id_header(invocation: RawInvocationId) -> tuple[bytes, bytes]:
    return b"x-restate-id", id_text(invocation).encode()


def expiry_header(expires_at_ms: int) -> tuple[bytes, bytes]:
    """`2026-11-24T06:39:15.512+00:00`: until when the outcome is kept."""
    moment = datetime.fromtimestamp(expires_at_ms / 1000, UTC)
    return b"idempotency-expires", moment.isoformat(timespec="milliseconds").encode()
