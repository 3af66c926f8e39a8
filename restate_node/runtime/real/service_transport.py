"""`ServiceTransport` over sockets: HTTP/2 with prior knowledge or TLS, and HTTP/1.1.

    service_transport ─▶ service_pool ─▶ service_http2 | service_http1 ─▶ service_connecting
         exchanges        per address        streams                          sockets, TLS, guard
               └───────▶ service_lambda                  functions on AWS Lambda, by their ARN

A request that the service verifiably did nothing with (refused stream, GOAWAY) is sent once more
on another connection without its caller noticing: connections end all the time, and an invocation
that had to be retried for it would show an error to its user. What was sent so far is kept for
that, up to a limit, until the response begins.

The repetition runs in the task that waits for the response, so nothing runs in the background.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from restate_node.runtime.ports import Clock
from restate_node.runtime.real.service_identity import Ed25519Signer
from restate_node.runtime.real.service_lambda import LambdaTransport
from restate_node.runtime.real.service_lambda_clients import LambdaOptions
from restate_node.runtime.real.service_pool import ServicePool
from restate_node.runtime.real.service_stream import (
    Peer,
    ServiceConnection,
    ServiceStream,
    ServiceTransportOptions,
)
from restate_node.runtime.request_identity import RequestSigner, Unsigned
from restate_node.runtime.service_addresses import parse_service_uri
from restate_node.runtime.services import (
    EndpointAddress,
    Exchange,
    FailureCause,
    HttpVersion,
    RequestHead,
    ResponseHead,
    ServiceTransport,
    ServiceUnreachable,
)
from restate_node.types.function_arns import is_arn
from restate_node.types.options import NodeOptions

ALPN: Final = {
    HttpVersion.HTTP_1_1: ["http/1.1"],
    HttpVersion.HTTP_2: ["h2"],
    HttpVersion.NEGOTIATED: ["h2", "http/1.1"],
}
POOLS_SWEPT: Final = 64
"""Above this many addresses, pools without connections are forgotten before one is added."""
SESSION_NAME_CHARACTERS_MAX: Final = 64
"""Of AWS."""
WINDOW_BYTES_MAX: Final = 2**31 - 1
"""Of the standard."""
REPEATABLE: Final = frozenset({FailureCause.GOAWAY, FailureCause.RESET})


def transport_options(options: NodeOptions) -> ServiceTransportOptions:
    """What an operator may change about it."""
    invoker = options.worker.invoker
    return ServiceTransportOptions(
        connect_timeout_ms=invoker.connect_timeout_ms,
        keep_alive_interval_ms=invoker.http2_keep_alive_interval_ms,
        keep_alive_timeout_ms=invoker.http2_keep_alive_timeout_ms,
        idle_timeout_ms=invoker.http2_idle_connection_timeout_ms,
        streams_max=invoker.http2_streams_per_connection_limit,
        stream_window_bytes=min(invoker.http2_initial_stream_window_size_bytes, WINDOW_BYTES_MAX),
        connection_window_bytes=min(
            invoker.http2_initial_connection_window_size_bytes, WINDOW_BYTES_MAX
        ),
        allow_link_local=invoker.allow_link_local_addresses,
        additional_headers=(("x-restate-cluster-name", options.cluster_name),),
    )


def open_services(options: NodeOptions, clock: Clock) -> ServiceTransport:
    """As a node is configured. Raises IdentityKeyError."""
    invoker, signer = options.worker.invoker, request_signer(options, clock)
    over_http = transport_options(options)
    session_name = re.sub(r"[^\w+=,.@-]", "-", f"restate-{options.cluster_name}", flags=re.ASCII)
    functions = LambdaTransport(
        LambdaOptions(
            profile=invoker.aws_profile,
            external_id=invoker.aws_assume_role_external_id,
            session_name=session_name[:SESSION_NAME_CHARACTERS_MAX],
            connect_timeout_ms=invoker.connect_timeout_ms,
        ),
        signer,
        over_http.additional_headers,
        invoker.request_compression_threshold_bytes,
    )
    return ServicesAndFunctions(RealServiceTransport(over_http, signer), functions)


class ServicesAndFunctions:
    """Each by its address."""

    def __init__(self, services: ServiceTransport, functions: ServiceTransport) -> None:
        self._services = services
        self._functions = functions

    async def open(self, address: EndpointAddress, head: RequestHead) -> Exchange:
        """See the port."""
        chosen = self._functions if is_arn(address.uri) else self._services
        return await chosen.open(address, head)

    async def close(self) -> None:
        """See the port."""
        await asyncio.gather(self._services.close(), self._functions.close())


def request_signer(options: NodeOptions, clock: Clock) -> RequestSigner:
    """Reads the key that is configured; raises IdentityKeyError."""
    path = options.request_identity_private_key_pem_file
    if path is None:
        return Unsigned()
    seconds = options.worker.invoker.request_identity_expiration_ms // 1000
    return Ed25519Signer.from_pem_file(path, clock, seconds)


class RealServiceTransport:
    """The services of users, as one node reaches them."""

    def __init__(
        self,
        options: ServiceTransportOptions | None = None,
        signer: RequestSigner | None = None,
        security: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._options = options or ServiceTransportOptions()
        self._options.validate()
        self._signer = signer or Unsigned()
        self._make_security = security
        self._security: dict[HttpVersion, ssl.SSLContext] = {}
        self._pools: dict[EndpointAddress, ServicePool] = {}
        self._closed = False

    async def open(self, address: EndpointAddress, head: RequestHead) -> Exchange:
        """See the port."""
        assert head.path.startswith("/")
        pool = self._pools.get(address) or self._add_pool(address)
        headers = (
            *head.headers,
            *self._signer.headers(head.path, head.key),
            *self._options.additional_headers,
        )
        full = RequestHead(head.method, pool.peer.uri.prefix + head.path, headers)
        stream = await pool.stream(full)
        return _RepeatedOnce(pool, full, stream, self._options.replay_bytes_max)

    async def close(self) -> None:
        """See the port."""
        self._closed = True
        for pool in self._pools.values():
            pool.close("this node is stopping")
        # Transports tell their protocols in the next turn.
        await asyncio.sleep(0)

    @property
    def connection_count(self) -> int:
        """Over all addresses."""
        return sum(len(pool.connections) for pool in self._pools.values())

    def connections(self, address: EndpointAddress) -> Sequence[ServiceConnection]:
        """Those that are open to an address."""
        pool = self._pools.get(address)
        return () if pool is None else pool.connections

    def _add_pool(self, address: EndpointAddress) -> ServicePool:
        """Raises ServiceUnreachable for an address that is none."""
        if self._closed:
            raise ServiceUnreachable(address, FailureCause.CLOSED, "this node is stopping")
        try:
            peer = Peer(address, parse_service_uri(address.uri))
        except ValueError as error:
            raise ServiceUnreachable(address, FailureCause.BAD_ADDRESS, str(error)) from error
        if len(self._pools) >= POOLS_SWEPT:
            used = {where: pool for where, pool in self._pools.items() if not pool.is_unused}
            self._pools = used
        security = self._context(address.http_version) if peer.uri.secure else None
        pool = self._pools[address] = ServicePool(peer, self._options, security)
        return pool

    def _context(self, version: HttpVersion) -> ssl.SSLContext:
        """One per version for ever: it takes long to load the trusted authorities."""
        context = self._security.get(version)
        if context is None:
            context = self._security[version] = self._make_security()
            context.set_alpn_protocols(ALPN[version])
        return context


class _RepeatedOnce:
    """An `Exchange` that begins again, once, on another connection if the first took nothing."""

    __slots__ = ("_finished", "_head", "_kept", "_pool", "_repeating", "_stream")

    def __init__(
        self, pool: ServicePool, head: RequestHead, stream: ServiceStream, kept_bytes_max: int
    ) -> None:
        self._pool = pool
        self._head = head
        self._stream = stream
        self._kept: _Kept | None = _Kept(kept_bytes_max)
        """What was sent; None when it cannot or need not be sent again."""
        self._finished = False
        self._repeating: asyncio.Lock | None = None

    def send(self, data: bytes) -> None:
        if self._kept is not None and not self._kept.add(data):
            self._kept = None
        self._stream.send(data)

    @property
    def backlog_bytes(self) -> int:
        return self._stream.backlog_bytes

    async def drained(self) -> None:
        await self._stream.drained()

    def finish(self) -> None:
        self._finished = True
        self._stream.finish()

    def release(self) -> None:
        self._kept = None
        self._stream.release()

    def abort(self) -> None:
        self._kept = None
        self._stream.abort()

    async def response(self) -> ResponseHead:
        while True:
            stream = self._stream
            try:
                head = await stream.response()
            except ServiceUnreachable as error:
                await self._repeat(stream, error)
            else:
                self._kept = None
                return head

    async def receive(self) -> bytes:
        while True:
            stream = self._stream
            try:
                data = await stream.receive()
            except ServiceUnreachable as error:
                await self._repeat(stream, error)
            else:
                self._kept = None
                return data

    async def _repeat(self, failed: ServiceStream, error: ServiceUnreachable) -> None:
        """Replace the failed stream, or raise its error. Two tasks may come here for one stream.

        Cancellation-safe: the next call finds the failed stream again.
        """
        self._repeating = self._repeating or asyncio.Lock()
        async with self._repeating:
            if self._stream is not failed:
                return
            if self._kept is None or error.cause not in REPEATABLE:
                raise error
            try:
                stream = await self._pool.stream(self._head)
            except ServiceUnreachable:
                self._kept = None
                raise
            kept = self._take_kept()
            if kept is None:
                # Aborted, or outgrown, while the new stream was opened.
                stream.abort()
                raise error
            self._stream = stream
            if kept.data:
                stream.send(bytes(kept.data))
            if self._finished:
                stream.finish()

    def _take_kept(self) -> _Kept | None:
        kept, self._kept = self._kept, None
        return kept


class _Kept:
    """Bytes of a request, up to a limit."""

    __slots__ = ("_bytes_max", "data")

    def __init__(self, bytes_max: int) -> None:
        self.data = bytearray()
        self._bytes_max = bytes_max

    def add(self, data: bytes) -> bool:
        """False when it is too much to keep."""
        self.data += data
        return len(self.data) <= self._bytes_max
