"""The services of users, as seen by a node: HTTP exchanges whose two directions are independent.

Where a service is a function on AWS Lambda, an exchange is one call of it, and behaves like
HTTP/1.1.

An invocation is one exchange. Over HTTP/2 both sides talk whenever they like until both have
finished; over HTTP/1.1 the request is sent whole before the response is read. The caller does not
need to know which: it opens, sends, finishes, receives.

    open ─▶ send… ─▶ finish          each way ends on its own
       └──▶ response ─▶ receive… ─▶ b""
       ├──▶ release when nothing more is wanted: both sides end in order
       └──▶ abort at any moment: RST_STREAM on HTTP/2, a closed connection on HTTP/1.1

Two errors, because the caller must know one thing: may the service have begun to work?

    ServiceUnreachable   no byte of the request was processed; safe to repeat as it is
    ExchangeBroken       it may have been processed, in part or whole

A port with two implementations that pass one contract suite: `runtime.real.service_transport`,
with `runtime.real.service_lambda` behind it for functions, and `sim.services`.

Invariants
    1. Memory is bounded: what a service sends ahead of `receive` stays within its flow-control
       window, what `send` took and the service did not is seen by `drained`.
    2. `response` is answered or raises, `receive` ends with b"" or raises, and after an error each
       call raises the same one again.
    3. Every exchange needs `release` or `abort` in the end; neither blocks, both are harmless
       after the end of both directions. Servers count resets and throw out who sends many (nghttp2,
       hence Node.js: 33 a second): `abort` is for what went wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Names in lower case, in the order of the wire; a name may occur more than once."""


class HttpVersion(Enum):
    """Which HTTP to speak to a service."""

    HTTP_1_1 = "HTTP/1.1"
    HTTP_2 = "HTTP/2.0"
    """With prior knowledge over `http://`; offered alone by ALPN over `https://`."""
    NEGOTIATED = "negotiated"
    """HTTP/2 with prior knowledge over `http://`; over `https://` what ALPN agrees on."""


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    """Where a deployment answers, `http(s)://host[:port][/prefix]` or the ARN of a function, and
    how to speak to it.
    """

    uri: str
    http_version: HttpVersion = HttpVersion.NEGOTIATED
    assume_role_arn: str | None = None
    """Whose permissions a function is called with; None: those of the node."""
    unpacks_zstd: bool = False
    """A function that takes compressed requests, and may compress its responses."""


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What is asked. `path` begins with `/` and is below the prefix of the address."""

    method: str
    path: str
    headers: Headers = ()
    key: str = ""
    """Of the object that it is for, if there is one: a signature covers it."""


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """What is answered, before the body. Any status is an answer, not an error."""

    status: int
    headers: Headers
    http_version: HttpVersion

    def header(self, name: str) -> str | None:
        """First value under a lower-case name."""
        return next((value for key, value in self.headers if key == name), None)


# ---------------------------------------------------------------- errors


class FailureCause(Enum):
    """What went wrong, for metrics and for choosing a wording."""

    BAD_ADDRESS = "bad address"
    FORBIDDEN = "forbidden address"
    NAME = "name resolution"
    REFUSED = "refused"
    TIMEOUT = "timeout"
    TLS = "tls"
    OVERLOADED = "too many exchanges"
    GOAWAY = "goaway"
    RESET = "reset"
    CLOSED = "connection closed"
    PROTOCOL = "protocol violation"
    TOO_LARGE = "too large"
    DENIED = "not allowed"
    BUSY = "busy"
    """Asked again, it may do better."""
    FAILED = "the function failed"
    ABORTED = "aborted"


class ServiceError(Exception):
    """An exchange failed. The message is one line and names the address and the cause."""

    def __init__(self, address: EndpointAddress, cause: FailureCause, detail: str) -> None:
        super().__init__(f"{address.uri}: {detail}")
        self.address = address
        self.cause = cause
        self.detail = detail


class ServiceUnreachable(ServiceError):
    """The service did not see the request, or says that it did nothing with it: repeat it."""


class ExchangeBroken(ServiceError):
    """The exchange ended early; the service may have worked on it."""


# ---------------------------------------------------------------- the port


class Exchange(Protocol):
    """One request and its response. One task sends, one (the same or another) receives."""

    def send(self, data: bytes) -> None:
        """Queue bytes of the request body; what is queued in one turn of the loop leaves together.

        After the end of the exchange, whichever way, the bytes vanish: `receive` tells why.
        MUST NOT follow `finish`.
        """
        ...

    @property
    def backlog_bytes(self) -> int:
        """Bytes queued by `send` that the peer's flow control has not let out yet."""
        ...

    async def drained(self) -> None:
        """Wait until the backlog is below its low-water mark or the exchange is over.
        Cancellation-safe; never raises an error of the exchange.
        """
        ...

    def finish(self) -> None:
        """The request body is complete, once what is queued has left. Idempotent."""
        ...

    async def response(self) -> ResponseHead:
        """The head of the response. Raises ServiceUnreachable or ExchangeBroken.

        Cancellation-safe, may be awaited again. Over HTTP/1.1 it may only come after `finish`.
        """
        ...

    async def receive(self) -> bytes:
        """The next bytes of the response body, b"" at its end; waits for the head by itself.

        Raises ServiceUnreachable or ExchangeBroken. Taking bytes lets the peer send as many more.
        Cancellation-safe: no byte is lost.
        """
        ...

    def release(self) -> None:
        """Done: `finish`, and drop what still comes. A peer that does not end its response soon is
        told to stop. Idempotent; nothing but `abort` may follow.
        """
        ...

    def abort(self) -> None:
        """Tell the peer to stop (RST_STREAM CANCEL) and forget the exchange. Idempotent.

        After the end of the response it is `release`.
        """
        ...


class ServiceTransport(Protocol):
    """Exchanges with services; connections are pooled below it."""

    async def open(self, address: EndpointAddress, head: RequestHead) -> Exchange:
        """Begin an exchange; returns when it has a place on a connection.

        Raises ServiceUnreachable. The identity headers of the cluster are added here, signed over
        `head.path`. Cancellation-safe: nothing was sent then.
        """
        ...

    async def close(self) -> None:
        """Abort what is running and close all connections."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A response that was read to its end."""

    head: ResponseHead
    body: bytes


async def fetch(
    transport: ServiceTransport,
    address: EndpointAddress,
    head: RequestHead,
    body: bytes = b"",
    *,
    body_bytes_max: int,
) -> Fetched:
    """One request and its whole response, for small things such as discovery.

    Raises ServiceUnreachable, and ExchangeBroken also for a body above `body_bytes_max`. No timeout
    of its own: wrap it in one, cancellation aborts the exchange.
    """
    exchange = await transport.open(address, head)
    try:
        if body:
            exchange.send(body)
        exchange.finish()
        response = await exchange.response()
        pieces: list[bytes] = []
        length = 0
        while piece := await exchange.receive():
            length += len(piece)
            if length > body_bytes_max:
                detail = f"response is larger than the {body_bytes_max} bytes allowed"
                raise ExchangeBroken(address, FailureCause.TOO_LARGE, detail)
            pieces.append(piece)
        return Fetched(response, b"".join(pieces))
    finally:
        exchange.abort()
