"""One gRPC connection to one node.

The connection is made by the first call, within the connect timeout; every call has the request
timeout. Whatever goes wrong becomes a `CallFailed` whose reason an operator understands: gRPC's
own texts bury "connection refused" in three layers, and call a web server on the port a parsing
error.

grpcio has no type information; this module is the only one that touches it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import grpc.aio

from restate_node.ctl.address import Address
from restate_node.ctl.errors import CallFailed, one_line
from restate_node.ctl.methods import Method, Request, Response

MESSAGE_BYTES_MAX = 96 * 1024 * 1024
"""A metadata object of the largest size and its envelope."""
COLLECTED_BYTES_MAX = 256 * 1024 * 1024
"""All responses of one call together."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.enable_http_proxy", 0),  # nodes are dialled directly, whatever the shell's proxy is
)
NOT_A_NODE = "no Restate node answers there: use a node's advertised address, by default port 5122"
_CONNECT_TEXTS = (
    (re.compile(r"Failed parsing HTTP/2|http1\.x server|GOAWAY", re.I), NOT_A_NODE),
    (re.compile(r"Connection refused", re.I), "unavailable: connection refused"),
    (
        re.compile(r"Domain name not found|resolving|name resolution|not known", re.I),
        "unavailable: the host name is unknown",
    ),
    (re.compile(r"No such file", re.I), "unavailable: there is no such socket"),
    (re.compile(r"Permission denied", re.I), "unavailable: permission to the socket is denied"),
)
_HTTP_STATUS = re.compile(r"Received http2 header with status: (\d+)")
_LAST_ERROR = re.compile(r"last error: [A-Z_]+: (.*)")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In milliseconds."""

    connect_ms: int = 3_000
    request_ms: int = 13_000


DEFAULT_TIMEOUTS = Timeouts()


class Link:
    """A connection to one address; `close` it."""

    def __init__(self, address: Address, timeouts: Timeouts) -> None:
        self.address = address
        self._timeouts = timeouts
        self._connected = False
        self._connecting = asyncio.Lock()
        self._channel: Any = grpc.aio.insecure_channel(address.target, options=_OPTIONS)

    async def call(
        self,
        method: Method[Request, Response],
        request: Request,
        timeout_ms: int | None = None,
    ) -> Response:
        """The response; CallFailed. Safe to repeat only if the method is."""
        await self._connect()
        stub = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        limit_ms = timeout_ms or self._timeouts.request_ms
        try:
            return cast(Response, await stub(request, timeout=limit_ms / 1000))
        except grpc.aio.AioRpcError as error:
            self._connected = False
            raise self._failure(error, limit_ms) from None

    async def collect(
        self,
        method: Method[Request, Response],
        request: Request,
        timeout_ms: int | None = None,
    ) -> list[Response]:
        """All responses of a call that has several; CallFailed, also if they are too many."""
        await self._connect()
        stub = self._channel.unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        limit_ms = timeout_ms or self._timeouts.request_ms
        found: list[Response] = []
        left = COLLECTED_BYTES_MAX
        try:
            async for response in stub(request, timeout=limit_ms / 1000):
                found.append(response)
                left -= response.ByteSize()
                if left < 0:
                    raise CallFailed(
                        str(self.address),
                        "RESOURCE_EXHAUSTED",
                        f"the answer is larger than {COLLECTED_BYTES_MAX} bytes: ask for less",
                    )
        except grpc.aio.AioRpcError as error:
            self._connected = False
            raise self._failure(error, limit_ms) from None
        return found

    async def follow(
        self,
        method: Method[Request, Response],
        request: Request,
        on_response: Callable[[Response], None],
    ) -> None:
        """A stream of responses, to its end; CallFailed, also when nothing is heard for as long as
        a call may take.
        """
        await self._connect()
        limit_ms = self._timeouts.request_ms
        stream = self._channel.unary_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )(request)
        try:
            while True:
                async with asyncio.timeout(limit_ms / 1000):
                    response = await stream.read()
                if not isinstance(response, method.response):
                    return  # the library's mark for the end
                on_response(response)
        except grpc.aio.AioRpcError as error:
            self._connected = False
            raise self._failure(error, limit_ms) from None
        except TimeoutError:
            reason = f"nothing heard for {limit_ms} ms (--request-timeout)"
            raise CallFailed(str(self.address), "DEADLINE_EXCEEDED", reason) from None
        finally:
            stream.cancel()

    async def close(self) -> None:
        """Ends the connection and the calls on it."""
        await self._channel.close()

    async def _connect(self) -> None:
        """Waits until a call can go out, or until it would fail at once."""
        async with self._connecting:
            if self._connected:
                return
            limit_ms = self._timeouts.connect_ms
            try:
                async with asyncio.timeout(limit_ms / 1000):
                    await self._settled()
            except TimeoutError:
                raise CallFailed(
                    str(self.address),
                    "UNAVAILABLE",
                    f"unavailable: no connection within {limit_ms} ms (--connect-timeout)",
                ) from None
            self._connected = True

    async def _settled(self) -> None:
        """The connection is up, or was refused; then the call itself brings the reason."""
        connectivity = grpc.ChannelConnectivity
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if state in (connectivity.READY, connectivity.TRANSIENT_FAILURE):
                return
            await self._channel.wait_for_state_change(state)

    def _failure(self, error: grpc.aio.AioRpcError, limit_ms: int) -> CallFailed:
        status = str(error.code().name)
        reason = reason_text(status, str(error.details() or ""), limit_ms)
        return CallFailed(str(self.address), status, reason)


def reason_text(status: str, details: str, limit_ms: int) -> str:
    """What an operator reads for a gRPC status and its details."""
    details = one_line(details)
    if status == "DEADLINE_EXCEEDED" and (not details or details == "Deadline Exceeded"):
        return f"no answer within {limit_ms} ms (--request-timeout)"
    if _HTTP_STATUS.fullmatch(details):
        return NOT_A_NODE
    if status == "UNAVAILABLE":
        return _unavailable_text(details)
    name = status.lower().replace("_", " ")
    return f"{name}: {details}" if details else name


def _unavailable_text(details: str) -> str:
    """Only texts of the client itself are rewritten; a node's own words are passed on."""
    from_client = re.match(r"failed to connect|errors resolving|DNS resolution", details, re.I)
    if from_client or "Failed parsing HTTP/2" in details:
        for pattern, text in _CONNECT_TEXTS:
            if pattern.search(details):
                return text
        if matched := _LAST_ERROR.search(details):
            details = matched[1]
    return f"unavailable: {details}" if details else "unavailable"
