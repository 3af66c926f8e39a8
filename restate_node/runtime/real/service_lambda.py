"""`ServiceTransport` for functions on AWS Lambda: an exchange is one call of a function.

    send… finish ─▶ event ─▶ Invoke, synchronous ─▶ answer ─▶ response, receive, b""
                    └────── on the thread of AWS ──────┘

A request is sent whole and so is a response: the service is one that answers requests one by one.
Nothing is repeated here. A function cannot be told to stop: `abort` only forgets it.

AWS limits what goes in and out to 6 MiB of JSON, in which bodies are base64: 4.5 MiB. A function
that unpacks zstd gets large requests packed, and may pack its responses.

Invariants
    1. A call holds one request and one response, each with at most BODY_BYTES_MAX.
    2. What is too large for AWS never leaves, and the error says so.

Driven by `runtime.real.service_transport`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import zstandard

from restate_node.runtime.function_events import (
    BadAnswer,
    FunctionAnswer,
    decode_answer,
    encode_event,
)
from restate_node.runtime.real.aws_thread import AwsThread
from restate_node.runtime.real.service_lambda_clients import LambdaClients, LambdaOptions, NoRoom
from restate_node.runtime.real.service_lambda_errors import mapped
from restate_node.runtime.request_identity import RequestSigner
from restate_node.runtime.services import (
    EndpointAddress,
    Exchange,
    ExchangeBroken,
    FailureCause,
    Headers,
    HttpVersion,
    RequestHead,
    ResponseHead,
    ServiceError,
    ServiceUnreachable,
)
from restate_node.types.function_arns import FunctionArn, parse_function_arn

EVENT_BYTES_MAX: Final = 6 * 1024 * 1024
"""That AWS takes."""
ANSWER_BYTES_MAX: Final = 8 * 1024 * 1024
"""A little more than AWS gives."""
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a request before it is packed, and of a response when it is unpacked."""
READ_BYTES: Final = 256 * 1024
SHOWN_BYTES_MAX: Final = 512
ENCODING: Final = "content-encoding"

Outcome: TypeAlias = FunctionAnswer | ServiceError


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to call."""

    address: EndpointAddress
    arn: FunctionArn


class LambdaTransport:
    """See the module."""

    def __init__(
        self,
        options: LambdaOptions,
        signer: RequestSigner,
        additional_headers: Headers,
        compression_threshold_bytes: int,
    ) -> None:
        self._signer = signer
        self._additional_headers = additional_headers
        self._thread = AwsThread("lambda")
        self._clients = LambdaClients(options)
        self._threshold_bytes = compression_threshold_bytes
        self._running: set[FunctionCall] = set()
        self._closed = False

    async def open(self, address: EndpointAddress, head: RequestHead) -> Exchange:
        """See the port. Whether there is such a function, the response tells."""
        if self._closed:
            raise ServiceUnreachable(address, FailureCause.CLOSED, "this node is stopping")
        try:
            target = Target(address, parse_function_arn(address.uri))
        except ValueError as error:
            raise ServiceUnreachable(address, FailureCause.BAD_ADDRESS, str(error)) from error
        added = (*self._signer.headers(head.path, head.key), *self._additional_headers)
        full = RequestHead(head.method, head.path, (*head.headers, *added))
        return FunctionCall(self, target, full)

    async def close(self) -> None:
        """See the port."""
        self._closed = True
        for call in list(self._running):
            call.lose(FailureCause.CLOSED, "this node is stopping")
        await self._thread.close(self._clients.close)

    def begin(self, call: FunctionCall, body: list[bytes]) -> asyncio.Future[Outcome]:
        """Call the function; the outcome raises nothing but bugs. Cancelling forgets the call."""
        self._running.add(call)
        activity = self._outcome(call.target, call.head, body)
        outcome = asyncio.wrap_future(self._thread.start(activity))
        outcome.add_done_callback(lambda _: self._running.discard(call))
        return outcome

    # ------------------------------------------------------------ on the thread of AWS

    async def _outcome(self, target: Target, head: RequestHead, body: list[bytes]) -> Outcome:
        address, arn = target.address, target.arn
        try:
            event = self._event(address, head, b"".join(body))
            async with self._clients.client(arn.region, address.assume_role_arn) as client:
                answer = await client.invoke(FunctionName=str(arn), Payload=event)
                async with answer["Payload"] as stream:
                    data = await _read(stream, address)
            if kind := answer.get("FunctionError"):
                detail = f"the function failed ({kind}): {_shown(data)}"
                return ExchangeBroken(address, FailureCause.FAILED, detail)
            return _unpacked(decode_answer(data), address)
        except ServiceError as error:
            return error
        except BadAnswer as error:
            return ExchangeBroken(address, FailureCause.PROTOCOL, str(error))
        except NoRoom as error:
            return ServiceUnreachable(address, FailureCause.OVERLOADED, str(error))
        except Exception as error:
            return mapped(error, address)

    def _event(self, address: EndpointAddress, head: RequestHead, body: bytes) -> bytes:
        headers = list(head.headers)
        if address.unpacks_zstd:
            headers.append(("accept-encoding", "zstd"))
            if len(body) >= self._threshold_bytes:
                headers.append((ENCODING, "zstd"))
                body = zstandard.ZstdCompressor().compress(body)
        event = encode_event(head.method, head.path, headers, body)
        if len(event) > EVENT_BYTES_MAX:
            raise _too_large(address, f"is {len(event)} bytes of JSON", EVENT_BYTES_MAX)
        return event


class FunctionCall:
    """An `Exchange`."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_error",
        "_is_taken",
        "_outcome",
        "_started",
        "_transport",
        "head",
        "target",
    )

    def __init__(self, transport: LambdaTransport, target: Target, head: RequestHead) -> None:
        self._transport = transport
        self.target = target
        self.head = head
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._started = asyncio.Event()
        """`finish` was called, or nothing will come of it."""
        self._outcome: asyncio.Future[Outcome] | None = None
        self._error: ServiceError | None = None
        self._is_taken = False
        """The body was received."""

    def send(self, data: bytes) -> None:
        if self._started.is_set():
            return
        self._body.append(data)
        self._body_bytes += len(data)
        if self._body_bytes > BODY_BYTES_MAX:
            address = self.target.address
            self._fail(_too_large(address, f"is more than {BODY_BYTES_MAX} bytes", EVENT_BYTES_MAX))

    @property
    def backlog_bytes(self) -> int:
        """Nothing flows before the end; `send` bounds what is kept."""
        return 0

    async def drained(self) -> None:
        """At once: see `backlog_bytes`."""

    def finish(self) -> None:
        if self._started.is_set():
            return
        body, self._body = self._body, []
        self._outcome = self._transport.begin(self, body)
        self._started.set()

    async def response(self) -> ResponseHead:
        answer = await self._answer()
        return ResponseHead(answer.status, answer.headers, HttpVersion.HTTP_1_1)

    async def receive(self) -> bytes:
        answer = await self._answer()
        if self._is_taken:
            return b""
        self._is_taken = True
        return answer.body

    def release(self) -> None:
        """A function does not notice who has stopped listening: the rest is the same."""
        self.abort()

    def abort(self) -> None:
        self.lose(FailureCause.ABORTED, "the exchange was aborted")

    def lose(self, cause: FailureCause, detail: str) -> None:
        """It is over without an answer, unless there was one."""
        if self._outcome is None or not self._outcome.done():
            self._fail(ExchangeBroken(self.target.address, cause, detail))

    def _fail(self, error: ServiceError) -> None:
        """The first reason counts."""
        self._error = self._error or error
        self._body.clear()
        self._started.set()
        if self._outcome is not None:
            self._outcome.cancel()

    async def _answer(self) -> FunctionAnswer:
        """Cancellation-safe: the outcome is waited for, not awaited."""
        await self._started.wait()
        if self._error is None and self._outcome is not None:
            await asyncio.wait([self._outcome])
        if self._error is None and self._outcome is not None:
            outcome = self._outcome.result()
            if isinstance(outcome, FunctionAnswer):
                return outcome
            self._error = outcome
        assert self._error is not None
        raise self._error.with_traceback(None)


async def _read(stream: Any, address: EndpointAddress) -> bytes:
    """All of it, within the limit."""
    pieces: list[bytes] = []
    length = 0
    while piece := await stream.read(READ_BYTES):
        length += len(piece)
        if length > ANSWER_BYTES_MAX:
            detail = f"the response is larger than {ANSWER_BYTES_MAX} bytes of JSON"
            raise ExchangeBroken(address, FailureCause.TOO_LARGE, detail)
        pieces.append(piece)
    return b"".join(pieces)


def _unpacked(answer: FunctionAnswer, address: EndpointAddress) -> Outcome:
    if not any(name == ENCODING and "zstd" in value for name, value in answer.headers):
        return answer
    try:
        with zstandard.ZstdDecompressor().stream_reader(answer.body) as packed:
            body = packed.read(BODY_BYTES_MAX + 1)
    except zstandard.ZstdError as error:
        return ExchangeBroken(address, FailureCause.PROTOCOL, f"the response is no zstd: {error}")
    if len(body) > BODY_BYTES_MAX:
        detail = f"the response is larger than {BODY_BYTES_MAX} bytes when it is unpacked"
        return ExchangeBroken(address, FailureCause.TOO_LARGE, detail)
    headers = tuple(header for header in answer.headers if header[0] != ENCODING)
    return FunctionAnswer(answer.status, headers, body)


def _too_large(address: EndpointAddress, what: str, limit: int) -> ServiceUnreachable:
    advice = "make what its handler was given, stored and recorded so far smaller"
    if not address.unpacks_zstd:
        advice += ", or deploy it with an SDK that unpacks zstd"
    detail = f"the request {what}, and AWS Lambda takes {limit}: {advice}"
    return ServiceUnreachable(address, FailureCause.TOO_LARGE, detail)


def _shown(data: bytes) -> str:
    return " ".join(data[:SHOWN_BYTES_MAX].decode("utf-8", "replace").split())
