"""A splice: a connection that came in on the port, joined to a unix socket, byte for byte.

    client ⇄ transport ⇄ Half ⇄ peer ⇄ Half ⇄ transport ⇄ fabric.sock

Backpressure: when one side's write buffer is over its high-water mark, reading from the other side
pauses. The end of one direction travels on as a half-close while the other direction goes on; the
connection is over when both have ended or either is lost.

This is the path of operators and monitoring, never of node-to-node traffic.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import structlog

logger = structlog.get_logger(__name__)

SPLICES_MAX = 512


class SpliceAcceptor:
    """Joins accepted connections to a unix socket. Use `accept` as the front's acceptor."""

    def __init__(self, socket_path: Path, splices_max: int = SPLICES_MAX) -> None:
        self._socket_path = socket_path
        self._splices_max = splices_max
        self._joining: set[asyncio.Task[None]] = set()
        self._open: set[asyncio.Transport] = set()

    @property
    def open_count(self) -> int:
        """Connections from clients that are joined or about to be."""
        return len(self._open)

    def accept(self, transport: asyncio.Transport, head: bytes) -> asyncio.BaseProtocol:
        """Takes over a connection; too many at once are closed."""
        near = Half(self._open, transport)
        if len(self._open) >= self._splices_max:
            logger.warning("too many control plane connections", splices_max=self._splices_max)
            transport.abort()
            return near
        self._open.add(transport)
        transport.pause_reading()
        task = asyncio.ensure_future(self._join(near, head))
        self._joining.add(task)
        task.add_done_callback(self._joining.discard)
        return near

    async def _join(self, near: Half, head: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, far = await loop.create_unix_connection(
                lambda: Half(self._open, peer=near), str(self._socket_path)
            )
        except OSError as error:
            logger.warning("control plane is not reachable", error=repr(error))
            near.abort()
            return
        near.join(far, transport, head)

    def close(self) -> None:
        """Cut all splices."""
        for transport in list(self._open):
            transport.abort()


class Half(asyncio.Protocol):
    """One end of a splice: what it receives, the peer's transport sends."""

    def __init__(
        self,
        accepted: set[asyncio.Transport],
        transport: asyncio.Transport | None = None,
        peer: Half | None = None,
    ) -> None:
        self._accepted = accepted
        self._transport = transport
        self._peer = peer
        self._lost = False
        self._ended = False

    def join(self, peer: Half, peer_transport: asyncio.Transport, head: bytes) -> None:
        """Both transports are connected: bytes flow from now on. Called on the accepted end."""
        self._peer = peer
        if self._lost or peer._lost:
            self.abort()
            peer.abort()
            return
        peer_transport.write(head)
        self.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._peer is not None and self._peer._transport is not None
        self._peer._transport.write(data)

    def eof_received(self) -> bool:
        """Passes the half-close on; True keeps our writing side open."""
        self._ended = True
        if self._peer is None or self._peer._transport is None:
            return False
        if self._peer._transport.can_write_eof():
            self._peer._transport.write_eof()
        return not self._peer._ended

    def pause_writing(self) -> None:
        if self._peer is not None:
            self._peer.pause_reading()

    def resume_writing(self) -> None:
        if self._peer is not None:
            self._peer.resume_reading()

    def pause_reading(self) -> None:
        if self._transport is not None and not self._lost:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._transport is not None and not self._lost:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._transport is not None:
            self._accepted.discard(self._transport)
        if self._peer is not None:
            self._peer.finish(reset=exc is not None)

    def finish(self, *, reset: bool) -> None:
        """The other end is gone: send what is buffered, unless it was lost by force."""
        if self._transport is None or self._lost:
            return
        if reset:
            self._transport.abort()
        else:
            self._transport.close()

    def abort(self) -> None:
        """Cut this end, and with it the other."""
        if self._transport is not None:
            self._transport.abort()
