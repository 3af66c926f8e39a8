"""The receiving half of an exchange, the same for both HTTP versions, and what a connection is to
its pool.

A connection feeds a stream from the event loop's callbacks: head, bytes, end, or an error. Callers
wait until there is something to take. Waiting is a list of futures that all wake up together: a
cancelled one is skipped, and nothing is taken from the stream before its owner runs.

Driven by `service_http1` and `service_http2`; `service_pool` hands streams out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from restate_node.runtime.service_addresses import ServiceUri
from restate_node.runtime.services import (
    EndpointAddress,
    ExchangeBroken,
    FailureCause,
    Headers,
    RequestHead,
    ResponseHead,
    ServiceError,
    ServiceUnreachable,
)

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServiceTransportOptions:
    """Limits of a node's connections to services."""

    connect_timeout_ms: int = 10_000
    """For name resolution, TCP, TLS, and the first frame of an HTTP/2 peer, together."""
    keep_alive_interval_ms: int = 40_000
    """A connection with exchanges that is silent for so long is pinged (HTTP/2)."""
    keep_alive_timeout_ms: int = 20_000
    idle_timeout_ms: int = 300_000
    """A connection without exchanges is closed after this."""
    connections_max: int = 512
    """Per address."""
    waiting_exchanges_max: int = 10_000
    """Per address: those that wait for a place on a connection."""
    streams_max: int = 128
    """Exchanges at a time on one HTTP/2 connection, unless the peer wants fewer."""
    exchanges_per_connection_max: int = 900
    """Then a new connection takes over. Python SDKs run on hypercorn, which ends a connection after
    1000 requests, and whatever runs on it."""
    stream_window_bytes: int = 2 * MEBIBYTE
    """What a service may send ahead of `receive`, per exchange."""
    connection_window_bytes: int = 5 * MEBIBYTE
    backlog_high_bytes: int = MEBIBYTE
    """Above it `drained` waits..."""
    backlog_low_bytes: int = MEBIBYTE // 4
    """...until the backlog is below this."""
    write_bytes_max: int = MEBIBYTE // 4
    """Handed to the socket in one turn of the loop."""
    release_timeout_ms: int = 5_000
    """A released exchange whose response has not ended by then is reset."""
    response_head_bytes_max: int = 64 * 1024
    replay_bytes_max: int = 256 * 1024
    """Request bytes kept for a repetition, until the service answers."""
    allow_link_local: bool = False
    """Connect also to link-local addresses and the metadata services of clouds."""
    additional_headers: Headers = ()
    """Sent with every request."""

    def validate(self) -> None:
        """Check how the limits relate."""
        assert 0 < self.backlog_low_bytes <= self.backlog_high_bytes
        assert self.streams_max > 0
        assert self.exchanges_per_connection_max > 0
        assert 65_535 <= self.stream_window_bytes < 2**31
        assert 65_535 <= self.connection_window_bytes < 2**31


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom a connection leads to."""

    address: EndpointAddress
    uri: ServiceUri

    def unreachable(self, cause: FailureCause, detail: str) -> ServiceUnreachable:
        return ServiceUnreachable(self.address, cause, detail)

    def broken(self, cause: FailureCause, detail: str) -> ExchangeBroken:
        return ExchangeBroken(self.address, cause, detail)


class ServiceStream:
    """What was received of one exchange. The sending half is of the subclasses."""

    __slots__ = (
        "_chunks",
        "_chunks_bytes",
        "_ended",
        "_error",
        "_head",
        "_release",
        "_waiters",
        "peer",
    )

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._head: ResponseHead | None = None
        self._chunks: list[bytes] = []
        self._chunks_bytes = 0
        """As the peer's flow control counts them."""
        self._ended = False
        self._error: ServiceError | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._release: asyncio.TimerHandle | None = None
        """Set once nobody wants the rest of the response."""

    # ------------------------------------------------------------ for callers

    async def response(self) -> ResponseHead:
        while self._head is None:
            if self._error is not None:
                raise self._error.with_traceback(None)
            await self._changed()
        return self._head

    async def receive(self) -> bytes:
        while not self._chunks:
            if self._error is not None:
                raise self._error.with_traceback(None)
            if self._ended:
                return b""
            await self._changed()
        chunks, self._chunks = self._chunks, []
        taken_bytes, self._chunks_bytes = self._chunks_bytes, 0
        self._taken(taken_bytes)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def drained(self) -> None:
        while self._must_wait():
            await self._changed()

    def release_within(self, timeout_ms: int) -> None:
        """`release` of the port; the subclass knows the limit."""
        if self.is_over:
            self.abort()
            return
        if self._release is not None:
            return
        loop = asyncio.get_running_loop()
        self._release = loop.call_later(timeout_ms / 1000, self.abort)
        self.finish()
        self._drop()

    @property
    def ended(self) -> bool:
        """The response came whole."""
        return self._ended

    @property
    def is_over(self) -> bool:
        """Nothing more will be received."""
        return self._ended or self._error is not None

    @property
    def has_head(self) -> bool:
        return self._head is not None

    @property
    def unread_bytes(self) -> int:
        """Received and not taken yet."""
        return self._chunks_bytes

    @property
    def backlog_bytes(self) -> int:
        raise AssertionError("of the subclass")

    def send(self, data: bytes) -> None:
        raise AssertionError("of the subclass")

    def finish(self) -> None:
        raise AssertionError("of the subclass")

    def release(self) -> None:
        raise AssertionError("of the subclass")

    def abort(self) -> None:
        raise AssertionError("of the subclass")

    def _must_wait(self) -> bool:
        raise AssertionError("of the subclass")

    def _taken(self, flow_bytes: int) -> None:
        raise AssertionError("of the subclass")

    # ------------------------------------------------------------ for connections

    def head_received(self, head: ResponseHead) -> None:
        self._head = head
        self.wake()

    def bytes_received(self, data: bytes, flow_bytes: int) -> None:
        """`flow_bytes` is what flow control counts: padding too."""
        if data:
            self._chunks.append(data)
        self._chunks_bytes += flow_bytes
        if self._release is not None:
            self._drop()
        self.wake()

    def end_received(self) -> None:
        self._ended = True
        self._over()

    def failed(self, error: ServiceError) -> None:
        """The exchange is over; the first reason counts, and an end that was seen stays one."""
        if not self.is_over:
            self._error = error
            self._over()

    def _over(self) -> None:
        if self._release is not None:
            self._release.cancel()
        self.wake()

    def _drop(self) -> None:
        self._chunks.clear()
        dropped_bytes, self._chunks_bytes = self._chunks_bytes, 0
        self._taken(dropped_bytes)

    def wake(self) -> None:
        if not self._waiters:
            return
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _changed(self) -> None:
        """Cancellation-safe: a cancelled waiter is skipped when the others wake up."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


class PoolSide(Protocol):
    """What a connection tells its pool."""

    def room_changed(self) -> None:
        """A place may have become free."""
        ...

    def connection_closed(self, connection: ServiceConnection) -> None:
        """Called exactly once."""
        ...


class ServiceConnection(Protocol):
    """One connection of a pool."""

    @property
    def room(self) -> int:
        """Exchanges that may be opened now."""
        ...

    @property
    def capacity(self) -> int:
        """Exchanges that such a connection holds at a time."""
        ...

    async def ready(self) -> None:
        """Wait until exchanges may be opened; raises ServiceUnreachable."""
        ...

    def open_stream(self, head: RequestHead) -> ServiceStream:
        """`room` MUST be positive. The path of `head` is complete."""
        ...

    def close(self, reason: str) -> None:
        """Break what runs, and hang up."""
        ...
