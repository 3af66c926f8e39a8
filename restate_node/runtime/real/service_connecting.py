"""From an address to an open connection: resolve, refuse what the guard forbids, connect, TLS.

One time limit holds for all of it. Every way to fail becomes `ServiceUnreachable`: nothing was sent
yet, whatever it was.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Final, cast

from restate_node.runtime.real.service_http1 import Http1Connection
from restate_node.runtime.real.service_http2 import Http2Connection
from restate_node.runtime.real.service_stream import (
    Peer,
    PoolSide,
    ServiceConnection,
    ServiceTransportOptions,
)
from restate_node.runtime.service_addresses import is_forbidden
from restate_node.runtime.services import FailureCause, HttpVersion, ServiceUnreachable

PROBES: Final = 3
Address = tuple[int, str]
"""Family and numeric address."""


class _Chooser(asyncio.Protocol):
    """Which HTTP it is, is known when TLS is through; then the connection takes over."""

    def __init__(self, peer: Peer, options: ServiceTransportOptions, pool: PoolSide) -> None:
        self._peer = peer
        self._options = options
        self._pool = pool
        self.chosen: Http1Connection | Http2Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        kind = Http2Connection if self._speaks_http2(transport) else Http1Connection
        self.chosen = kind(self._peer, self._options, self._pool)
        transport.set_protocol(self.chosen)
        self.chosen.connection_made(transport)
        _keep_alive(transport, self._options)

    def _speaks_http2(self, transport: asyncio.BaseTransport) -> bool:
        wanted = self._peer.address.http_version
        if wanted is HttpVersion.HTTP_1_1 or not self._peer.uri.secure:
            return wanted is not HttpVersion.HTTP_1_1
        secured = cast("ssl.SSLObject", transport.get_extra_info("ssl_object"))
        agreed = secured.selected_alpn_protocol()
        return agreed == "h2" or (agreed is None and wanted is HttpVersion.HTTP_2)


async def connect(
    peer: Peer,
    options: ServiceTransportOptions,
    pool: PoolSide,
    security: ssl.SSLContext | None,
) -> ServiceConnection:
    """A connection that takes exchanges, over TLS if the address says so.

    Raises ServiceUnreachable within the connect timeout. Cancellation closes what was opened.
    """
    try:
        async with asyncio.timeout(options.connect_timeout_ms / 1000):
            addresses = await _resolve(peer)
            allowed = allowed_addresses(addresses, options)
            if not allowed:
                raise peer.unreachable(
                    FailureCause.FORBIDDEN,
                    f"{addresses[0][1]} is a link-local or metadata address; if services do live "
                    "there, set worker.invoker.allow-link-local-addresses = true",
                )
            return await _connect_to_first(peer, options, pool, allowed, security)
    except TimeoutError as error:
        detail = f"no answer within {options.connect_timeout_ms} ms"
        raise peer.unreachable(FailureCause.TIMEOUT, detail) from error


def allowed_addresses(addresses: list[Address], options: ServiceTransportOptions) -> list[Address]:
    """Those of a name that may be connected to."""
    if options.allow_link_local:
        return addresses
    return [address for address in addresses if not is_forbidden(address[1])]


async def _resolve(peer: Peer) -> list[Address]:
    uri = peer.uri
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(uri.host, uri.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        detail = f"cannot resolve {uri.host}: {_reason(error)}"
        raise peer.unreachable(FailureCause.NAME, detail) from error
    return [(family, str(where[0])) for family, _, _, _, where in found]


async def _connect_to_first(
    peer: Peer,
    options: ServiceTransportOptions,
    pool: PoolSide,
    addresses: list[Address],
    security: ssl.SSLContext | None,
) -> ServiceConnection:
    """The first address that takes a connection; the error of the last if none does.

    Each has its share of the time: a network without a way out for IPv6 answers nothing at all.
    """
    failure: ServiceUnreachable | None = None
    share_ms = options.connect_timeout_ms / len(addresses)
    for address in addresses:
        try:
            async with asyncio.timeout(share_ms / 1000):
                return await _connect_to(peer, options, pool, address, security)
        except ServiceUnreachable as error:
            failure = error
        except TimeoutError:
            detail = f"no answer from {address[1]} port {peer.uri.port} within {share_ms:.0f} ms"
            failure = peer.unreachable(FailureCause.TIMEOUT, detail)
    assert failure is not None
    raise failure


async def _connect_to(
    peer: Peer,
    options: ServiceTransportOptions,
    pool: PoolSide,
    address: Address,
    security: ssl.SSLContext | None,
) -> ServiceConnection:
    uri, chooser = peer.uri, _Chooser(peer, options, pool)
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: chooser,
            address[1],
            uri.port,
            family=address[0],
            ssl=security,
            server_hostname=uri.host if security else None,
        )
    except (ssl.SSLError, ssl.CertificateError) as error:
        raise peer.unreachable(FailureCause.TLS, f"TLS failed: {_reason(error)}") from error
    except ConnectionRefusedError as error:
        detail = f"connection to {address[1]} port {uri.port} refused"
        raise peer.unreachable(FailureCause.REFUSED, detail) from error
    except OSError as error:
        detail = f"cannot connect to {address[1]} port {uri.port}: {_reason(error)}"
        raise peer.unreachable(FailureCause.CLOSED, detail) from error
    connection = chooser.chosen
    assert connection is not None
    try:
        await connection.ready()
    except BaseException:
        connection.close("gave up while connecting")
        raise
    return connection


def _keep_alive(transport: asyncio.BaseTransport, options: ServiceTransportOptions) -> None:
    """The kernel finds out about dead peers, too: HTTP/1.1 has no ping."""
    connected = cast("socket.socket", transport.get_extra_info("socket"))
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if not hasattr(socket, "TCP_KEEPIDLE"):
        return
    idle_seconds = max(1, options.keep_alive_interval_ms // 1000)
    pause_seconds = max(1, options.keep_alive_timeout_ms // 1000 // PROBES)
    for option, value in (
        (socket.TCP_KEEPIDLE, idle_seconds),
        (socket.TCP_KEEPINTVL, pause_seconds),
        (socket.TCP_KEEPCNT, PROBES),
    ):
        connected.setsockopt(socket.IPPROTO_TCP, option, value)


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
