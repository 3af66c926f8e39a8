"""`Transport` over TCP and unix sockets: length-prefixed frames, many per system call.

    connecting side    "RSTN" version:u8 │ length:u32le frame │ length:u32le frame │ ...
    accepting side                         length:u32le frame │ ...

The port is shared with the control plane: the front listener reads the first bytes, and when they
are the magic it hands the open connection over with what it has read
(`DataPlane.accept_connection`).

Where the speed comes from, since at 128 bytes a message costs more to carry than to make:

    sending      frames of one turn of the loop are joined: one system call, no copy of large ones
    receiving    every complete frame of a read goes up in one call
    partial      chunks wait in a list until the frame is whole: no buffer to grow or to shrink

Invariants
    1. A length is judged as soon as its four bytes are there, before anything is kept for it. The
    first frame comes
       from a peer that nobody has vouched for, and has a limit of its own.
    2. `connection_lost` is called exactly once, and no frame afterwards.
    3. A closed connection ends: a peer that does not take what is left is cut off.

Liveness is not judged here: half-open connections are found by the pings of the layer above.

Driven by the event loop; `fabric` is the only user.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import Final, cast
from urllib.parse import urlsplit

from restate_node.runtime.ports import (
    FrameAcceptor,
    FrameConnection,
    FrameLimits,
    FrameReceiver,
    Swimlane,
    Unreachable,
)

__all__ = ["MAGIC", "DataPlane", "DataPlaneOptions", "Endpoint", "parse_address"]

MAGIC: Final = b"RSTN"
VERSION: Final = 1
PREFACE: Final = MAGIC + bytes((VERSION,))
DEFAULT_PORT: Final = 5122

LENGTH: Final = Struct("<I")
LENGTH_BYTES: Final = LENGTH.size


@dataclass(frozen=True, slots=True)
class DataPlaneOptions:
    """Limits of the connections of a node."""

    frames: FrameLimits = field(default_factory=FrameLimits)
    connect_timeout_ms: int = 3_000
    close_timeout_ms: int = 3_000
    """How long a closed connection may take to send what is queued."""
    backlog_high_bytes: int = 4 * 1024 * 1024
    """Above it `drained` waits..."""
    backlog_low_bytes: int = 1024 * 1024
    """...until the backlog is below this."""
    joined_bytes_max: int = 64 * 1024
    """Frames are copied together up to this size; what is queued beyond it is sent at once."""

    def validate(self) -> None:
        """Check how the limits relate."""
        assert 0 < self.backlog_low_bytes < self.backlog_high_bytes
        assert 0 < self.joined_bytes_max <= self.backlog_high_bytes
        assert 0 < self.frames.first_frame_bytes_max <= self.frames.frame_bytes_max < 2**32


# ---------------------------------------------------------------- addresses


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect: a unix socket if `path` is set, else host and port."""

    host: str = ""
    port: int = 0
    path: str = ""


def parse_address(address: str) -> Endpoint:
    """Understand `http://host:port/`, `host:port` and `unix:/path`; raises ValueError."""
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        return Endpoint(path="/" + path.lstrip("/"))
    parts = urlsplit(address if "://" in address else f"http://{address}")
    if parts.scheme != "http":
        raise ValueError(f"address {address}: use http://host:port, host:port or unix:/path")
    if not parts.hostname:
        raise ValueError(f"address {address} names no host")
    return Endpoint(parts.hostname, parts.port or DEFAULT_PORT)


# ---------------------------------------------------------------- one connection


class _Connection(asyncio.Protocol):
    """A `FrameConnection` that is its own asyncio protocol: one call less per read and write."""

    def __init__(self, options: DataPlaneOptions, peer: str) -> None:
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._peer = peer
        self._transport: asyncio.Transport | None = None
        self._receiver: FrameReceiver | None = None
        self._close_reason = ""
        self._cut_off: asyncio.TimerHandle | None = None
        # Receiving.
        self._chunks: list[bytes] = []
        self._chunks_bytes = 0
        self._wanted_bytes = LENGTH_BYTES
        self._frame_bytes_max = options.frames.first_frame_bytes_max
        # Sending.
        self._queue: list[bytes] = []
        self._queue_bytes = 0
        self._paused = False
        self._drain_waiters: list[asyncio.Future[None]] = []

    # ------------------------------------------------------------ FrameConnection

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def backlog_bytes(self) -> int:
        if self._transport is None:
            return 0
        return self._queue_bytes + self._transport.get_write_buffer_size()

    def send(self, frame: bytes) -> None:
        if self._transport is None or self._close_reason:
            return
        length = len(frame)
        if length > self._options.frames.frame_bytes_max:
            raise ValueError(f"frame of {length} bytes: split it, the limit of the peer is lower")
        queue = self._queue
        if not queue:
            self._loop.call_soon(self._flush)
        queue.append(LENGTH.pack(length))
        queue.append(frame)
        self._queue_bytes += LENGTH_BYTES + length
        if self._queue_bytes > self._options.joined_bytes_max:
            self._flush()

    async def drained(self) -> None:
        while self._paused:
            waiter = self._loop.create_future()
            self._drain_waiters.append(waiter)
            # A cancelled waiter stays listed until the next wake-up, which skips it.
            await waiter

    def close(self, reason: str) -> None:
        if self._transport is None or self._close_reason:
            return
        self._flush()
        self._close_reason = reason or "closed"
        self._chunks.clear()
        self._cut_off = self._loop.call_later(
            self._options.close_timeout_ms / 1000, self._transport.abort
        )
        self._transport.close()

    # ------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the base class.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(
            self._options.backlog_high_bytes, self._options.backlog_low_bytes
        )

    def deliver_to(self, receiver: FrameReceiver) -> None:
        """Frames go there; MUST be set before any is read."""
        self._receiver = receiver

    def data_received(self, data: bytes) -> None:
        if self._chunks:
            self._chunks.append(data)
            self._chunks_bytes += len(data)
            if self._chunks_bytes < self._wanted_bytes:
                return
            data = b"".join(self._chunks)
            self._chunks.clear()
        if self._close_reason:
            return
        frames, position = self._split(data)
        if position < len(data):
            # A copy of the tail: a slice of nothing but the tail, so that a read is not kept for 3
            # bytes.
            self._chunks.append(data[position:])
            self._chunks_bytes = len(data) - position
        if frames:
            assert self._receiver is not None
            self._receiver.frames_received(frames)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._wake_drain_waiters()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        self._paused = False
        self._queue.clear()
        self._chunks.clear()
        if self._cut_off is not None:
            self._cut_off.cancel()
        self._wake_drain_waiters()
        if self._receiver is not None:
            self._receiver.connection_lost(self._close_reason or _why(exc))

    # ------------------------------------------------------------ small parts

    def _split(self, data: bytes) -> tuple[list[bytes], int]:
        """Complete frames and where the rest begins; closes the connection at a frame too large."""
        frames: list[bytes] = []
        position = 0
        available = len(data)
        self._wanted_bytes = LENGTH_BYTES
        while available - position >= LENGTH_BYTES:
            (length,) = LENGTH.unpack_from(data, position)
            if length > self._frame_bytes_max:
                self.close(f"frame of {length} bytes, {self._frame_bytes_max} allowed")
                return frames, available
            start = position + LENGTH_BYTES
            if available - start < length:
                self._wanted_bytes = LENGTH_BYTES + length
                break
            position = start + length
            frames.append(data[start:position])
            self._frame_bytes_max = self._options.frames.frame_bytes_max
        return frames, position

    def _flush(self) -> None:
        """Hand the queue to the transport; again without effect when it has been done already."""
        if self._transport is None or not self._queue:
            return
        queue, self._queue = self._queue, []
        queue_bytes, self._queue_bytes = self._queue_bytes, 0
        if queue_bytes <= self._options.joined_bytes_max:
            self._transport.write(b"".join(queue))
        else:
            self._transport.writelines(queue)

    def _wake_drain_waiters(self) -> None:
        waiters, self._drain_waiters = self._drain_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def _why(error: Exception | None) -> str:
    return "the peer closed the connection" if error is None else f"connection failed: {error}"


class _Initiated(_Connection):
    """The connecting side: says first what it speaks."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast("asyncio.Transport", transport).write(PREFACE)


class _Accepted(_Connection):
    """The accepting side: the preface comes before the first frame."""

    def __init__(
        self, options: DataPlaneOptions, peer: str, acceptor: FrameAcceptor | None
    ) -> None:
        super().__init__(options, peer)
        self._acceptor = acceptor
        self._preface = b""
        self._opened = False

    def data_received(self, data: bytes) -> None:
        if self._opened:
            super().data_received(data)
            return
        self._preface += data
        if len(self._preface) >= len(PREFACE):
            self._open(self._preface)

    def _open(self, received: bytes) -> None:
        self._preface = b""
        self._opened = True
        if self._acceptor is None:
            self.close("this node does not take connections yet")
        elif not received.startswith(PREFACE):
            self.close(f"expected preface {PREFACE!r}: run the same version on all nodes")
        else:
            self.deliver_to(self._acceptor(self))
            if rest := received[len(PREFACE) :]:
                super().data_received(rest)


# ---------------------------------------------------------------- the transport


class DataPlane:
    """Connections of one node: outgoing are made here, incoming come from the front listener."""

    def __init__(self, options: DataPlaneOptions | None = None) -> None:
        self._options = options or DataPlaneOptions()
        self._options.validate()
        self._acceptor: FrameAcceptor | None = None

    async def connect(
        self, address: str, lane: Swimlane, receiver: FrameReceiver
    ) -> FrameConnection:
        """Open a connection of its own for `lane`; raises Unreachable within the connect timeout.

        The lane is not written to the wire: the handshake, which is the first frame, names it.
        """
        connection = _Initiated(self._options, address)
        connection.deliver_to(receiver)
        try:
            async with asyncio.timeout(self._options.connect_timeout_ms / 1000):
                await _open(parse_address(address), lambda: connection)
        except TimeoutError as error:
            raise Unreachable(
                f"{address} does not answer within {self._options.connect_timeout_ms} ms"
            ) from error
        except (OSError, ValueError) as error:
            raise Unreachable(f"cannot connect to {address}: {error}") from error
        return connection

    def accept(self, acceptor: FrameAcceptor) -> None:
        """Hand every incoming connection to `acceptor` from now on."""
        self._acceptor = acceptor

    def accept_connection(
        self, transport: asyncio.Transport, already_read: bytes
    ) -> asyncio.Protocol:
        """Take over an open connection whose first bytes, the magic among them, have been read.

        The returned protocol is already the transport's; setting it once more does no harm.
        """
        connection = _Accepted(self._options, _peer_name(transport), self._acceptor)
        connection.connection_made(transport)
        transport.set_protocol(connection)
        if already_read:
            connection.data_received(already_read)
        return connection


async def _open(endpoint: Endpoint, factory: Callable[[], asyncio.Protocol]) -> None:
    loop = asyncio.get_running_loop()
    if endpoint.path:
        await loop.create_unix_connection(factory, endpoint.path)
    else:
        # Both event loops set TCP_NODELAY on their own.
        await loop.create_connection(factory, endpoint.host, endpoint.port)


def _peer_name(transport: asyncio.Transport) -> str:
    name: object = transport.get_extra_info("peername")
    if isinstance(name, tuple):
        host, port = cast("tuple[object, ...]", name)[:2]
        return f"{host}:{port}"
    return "unix socket"
