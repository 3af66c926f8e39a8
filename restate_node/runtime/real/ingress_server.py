"""The port of the ingress: HTTP/1.1 and cleartext HTTP/2 (prior knowledge), one application.

    accept ─▶ first four bytes ─┬─ "PRI " ─▶ HTTP/2: spliced to ingress.sock, hypercorn
                                └─ others ─▶ HTTP/1.1: uvicorn's protocol, in place

uvicorn takes seven times as many requests per core as hypercorn, which is why HTTP/1.1, what most
clients speak, does not share the slower way. Local clients may use the socket itself.

Invariants: a connection that says nothing is closed after `identify_timeout_ms`; requests and
connections are bounded; after a cancellation nothing is accepted, what is in flight has
`drain_s`, then the application is asked to answer whatever it can, and the rest is cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restate_node.runtime.real.front import Front, FrontOptions
from restate_node.runtime.real.front_address import ListenAddress
from restate_node.runtime.real.front_splice import SpliceAcceptor
from restate_node.runtime.real.http_server import AsgiApplication, HttpServerOptions, uvicorn_server
from restate_node.runtime.real.joined_writes import JoinedWrites
from restate_node.runtime.real.unix_http_connection import AsgiMessage, Receive, Send
from restate_node.runtime.real.unix_http_server import UnixHttpOptions, UnixHttpServer

STOP_MARGIN_S = 1.0
HTTP2_PREFACE = b"PRI "
"""HTTP/2 begins with `PRI * HTTP/2.0`; no method of HTTP/1.1 does."""


@dataclass(frozen=True, slots=True)
class IngressServerOptions:
    """Limits of the port."""

    http1: HttpServerOptions = field(
        default_factory=lambda: HttpServerOptions(requests_max=8192, stop_grace_s=2)
    )
    drain_s: float = 0.5
    """What requests in flight have to end by themselves when the server stops."""
    http2_connections_max: int = 512
    http2_streams_max: int = 1000
    """Requests at once on one connection."""
    silent_connections_max: int = 4096
    """That have not sent anything yet: browsers open some in advance."""
    identify_timeout_ms: int = 60_000
    rest_bytes_max: int = 64 * 1024 * 1024
    """Of a body that nobody reads, because the request was refused."""
    rest_timeout_s: float = 10.0


class IngressServer:
    """Serves one application until cancelled."""

    def __init__(
        self,
        application: AsgiApplication,
        address: ListenAddress,
        socket_path: Path,
        options: IngressServerOptions | None = None,
        on_drained: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_drained` is called when those that still wait should be answered at once."""
        options = options or IngressServerOptions()
        self._options = options
        self._on_drained = on_drained
        self._http1 = uvicorn_server(application, options.http1, lambda: None)
        self._http2 = UnixHttpServer(
            "ingress",
            _Multiplexed(application, options),
            socket_path,
            UnixHttpOptions(
                connections_max=options.http2_connections_max,
                concurrent_calls_max=options.http2_streams_max,
                idle_timeout_ms=options.http1.keep_alive_s * 1000,
                stop_grace_ms=800,
            ),
        )
        self._splices = SpliceAcceptor(socket_path, options.http2_connections_max)
        self._front = Front(
            address,
            self._splices.accept,
            self._accept_http1,
            FrontOptions(
                unidentified_max=options.silent_connections_max,
                identify_timeout_ms=options.identify_timeout_ms,
                backlog_max=options.http1.backlog_max,
            ),
            magic=HTTP2_PREFACE,
        )

    @property
    def started(self) -> asyncio.Event:
        """Set once the port accepts connections."""
        return self._front.started

    @property
    def bound(self) -> ListenAddress:
        """Where it listens. Valid after `started`."""
        return self._front.bound

    async def run(self) -> None:
        """Serve until cancelled; raises AddressUnusable."""
        http1 = asyncio.ensure_future(self._http1.serve(sockets=[]))
        http2 = asyncio.ensure_future(self._http2.run())
        front = asyncio.ensure_future(self._front.run())
        try:
            done, _ = await asyncio.wait((http1, http2, front), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            asyncio.get_running_loop().call_later(self._options.drain_s, self._on_drained)
            front.cancel()
            http2.cancel()
            self._http1.should_exit = True
            grace_s = self._options.http1.stop_grace_s + STOP_MARGIN_S
            await asyncio.wait((http1, http2, front), timeout=grace_s)
            http1.cancel()
            self._splices.close()

    def _accept_http1(self, transport: asyncio.Transport, head: bytes) -> asyncio.BaseProtocol:
        """What uvicorn does for a socket of its own, and then the bytes that were peeked at."""
        protocol: Any = self._http1.config.http_protocol_class(
            config=self._http1.config, server_state=self._http1.server_state, app_state={}
        )
        protocol.connection_made(JoinedWrites(transport))
        protocol.data_received(head)
        return protocol


class _Multiplexed:
    """Requests that share a connection: none may leave its body unread, see `Serves`."""

    def __init__(self, application: AsgiApplication, options: IngressServerOptions) -> None:
        self._application = application
        self._options = options

    async def serve(
        self, scope: AsgiMessage, receive: Receive, send: Send, abort: Callable[[], None]
    ) -> None:
        body = _Body(receive)
        await self._application(scope, body.receive, send)  # pyright: ignore[reportArgumentType]
        try:
            async with asyncio.timeout(self._options.rest_timeout_s):
                if not await body.skip(self._options.rest_bytes_max):
                    abort()
        except TimeoutError:
            abort()


class _Body:
    """Knows whether the body of a request has ended."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def receive(self) -> AsgiMessage:
        message = await self._receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            self._ended = True
        return message

    async def skip(self, bytes_max: int) -> bool:
        """Read to the end; False when there is more than that."""
        while not self._ended:
            message = await self.receive()
            bytes_max -= len(message.get("body", b""))
            if bytes_max < 0:
                return False
        return True
