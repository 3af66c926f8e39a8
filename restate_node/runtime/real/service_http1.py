"""One HTTP/1.1 connection to a service: one exchange at a time, then the next.

    request    head and whole body in one write if the caller had finished by then (content-length),
               else chunked, a chunk per turn of the loop
    response   content-length, chunked, or until the service hangs up

What is received ahead of `receive` stops the reading of the socket at the size of a stream's
window. Giving up an exchange closes the connection: HTTP/1.1 has no other way.

Driven by the event loop; `service_pool` is the only user.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from restate_node.runtime.real.service_stream import (
    Peer,
    PoolSide,
    ServiceStream,
    ServiceTransportOptions,
)
from restate_node.runtime.services import (
    FailureCause,
    HttpVersion,
    RequestHead,
    ResponseHead,
    ServiceError,
)

LAST_CHUNK: Final = b"0\r\n\r\n"
NOT_IN_A_HEAD: Final = frozenset("\r\n\0")
FRAMING: Final = frozenset({"connection", "content-length", "host", "transfer-encoding"})
"""Headers that are decided here."""


class Http1Stream(ServiceStream):
    """One exchange."""

    __slots__ = ("_connection", "finished", "head", "out")

    def __init__(self, connection: Http1Connection, head: RequestHead) -> None:
        super().__init__(connection.peer)
        self._connection = connection
        self.head = head
        self.out = bytearray()
        self.finished = False

    @property
    def backlog_bytes(self) -> int:
        return len(self.out) + self._connection.socket_backlog_bytes(self)

    def send(self, data: bytes) -> None:
        assert not self.finished
        if self._connection.is_open(self):
            self.out += data
            self._connection.flush_soon()

    def finish(self) -> None:
        if not self.finished:
            self.finished = True
            self._connection.flush_soon()

    def release(self) -> None:
        self.release_within(self._connection.options.release_timeout_ms)

    def abort(self) -> None:
        self._connection.cancel(self)

    def _must_wait(self) -> bool:
        return len(self.out) > self._connection.options.backlog_high_bytes

    def _taken(self, flow_bytes: int) -> None:
        self._connection.taken(self)


class Http1Connection(asyncio.Protocol):
    """A `ServiceConnection`; it is its own asyncio protocol, and its parser's callbacks."""

    def __init__(self, peer: Peer, options: ServiceTransportOptions, pool: PoolSide) -> None:
        self.peer = peer
        self.options = options
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._stream: Http1Stream | None = None
        self._parser = HttpResponseParser(self)
        self._used = False
        # Sending.
        self._head_sent = self._request_sent = self._chunked = False
        self._flush_is_due = self._write_paused = False
        # Receiving.
        self._fields: list[tuple[str, str]] = []
        self._head_bytes = 0
        self._has_length = self._interim = self._reading_paused = False
        """`_has_length`: the body says where it ends. `_interim`: a 1xx head, another follows."""
        self._idle: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ ServiceConnection

    @property
    def capacity(self) -> int:
        return 1

    @property
    def room(self) -> int:
        return int(self._transport is not None and self._stream is None)

    async def ready(self) -> None:
        """It may be used as soon as it is open."""
        if self._transport is None:
            raise self.peer.unreachable(FailureCause.CLOSED, "the service closed the connection")

    def open_stream(self, head: RequestHead) -> Http1Stream:
        assert self.room
        texts = (head.method, head.path, *(text for field in head.headers for text in field))
        if any(NOT_IN_A_HEAD & set(text) for text in texts):
            detail = "a header of the request contains a line break"
            raise self.peer.unreachable(FailureCause.PROTOCOL, detail)
        if self._idle is not None:
            self._idle.cancel()
        if self._used:
            self._parser = HttpResponseParser(self)
        self._used = True
        self._head_sent = self._request_sent = self._chunked = False
        self._fields, self._head_bytes = [], 0
        self._has_length = False
        self._stream = Http1Stream(self, head)
        self.flush_soon()
        return self._stream

    def close(self, reason: str) -> None:
        self._lost(self.peer.broken(FailureCause.CLOSED, reason))

    # ------------------------------------------------------------ for the stream

    def is_open(self, stream: Http1Stream) -> bool:
        return self._stream is stream

    def socket_backlog_bytes(self, stream: Http1Stream) -> int:
        if self._transport is None or self._stream is not stream:
            return 0
        return self._transport.get_write_buffer_size()

    def cancel(self, stream: Http1Stream) -> None:
        """Close the connection, unless the exchange is through."""
        if self._stream is stream:
            detail = "the exchange was aborted"
            self._lost(self.peer.broken(FailureCause.ABORTED, detail), at_once=True)

    def taken(self, stream: Http1Stream) -> None:
        """The caller took what there was: read on."""
        if self._reading_paused and self._stream is stream and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()

    # ------------------------------------------------------------ sending

    def flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        stream = self._stream
        if self._transport is None or stream is None or self._write_paused or self._request_sent:
            return
        size = min(len(stream.out), self.options.write_bytes_max)
        parts: list[bytes] = []
        if not self._head_sent:
            self._head_sent = True
            self._chunked = not stream.finished
            parts.append(self._request_head(stream))
        body = bytes(memoryview(stream.out)[:size])
        del stream.out[:size]
        if body:
            parts.extend((f"{size:x}\r\n".encode(), body, b"\r\n") if self._chunked else (body,))
        if stream.finished and not stream.out:
            self._request_sent = True
            if self._chunked:
                parts.append(LAST_CHUNK)
        if parts:
            self._transport.write(b"".join(parts))
        if len(stream.out) <= self.options.backlog_low_bytes:
            stream.wake()
        if self._request_sent:
            self._through_perhaps()
        elif stream.out and not self._write_paused:
            self.flush_soon()

    def _request_head(self, stream: Http1Stream) -> bytes:
        head, uri = stream.head, self.peer.uri
        lines = [f"{head.method} {head.path} HTTP/1.1", f"host: {uri.authority}"]
        lines += [f"{name}: {value}" for name, value in head.headers if name not in FRAMING]
        if self._chunked:
            lines.append("transfer-encoding: chunked")
        elif stream.out or head.method not in ("GET", "HEAD"):
            lines.append(f"content-length: {len(stream.out)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self.flush_soon()

    # ------------------------------------------------------------ receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the base class.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(self.options.write_bytes_max)

    def data_received(self, data: bytes) -> None:
        stream = self._stream
        if stream is None:
            self._lost(self.peer.broken(FailureCause.PROTOCOL, "an answer to nothing"))
            return
        if not stream.has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            detail = f"violated HTTP/1.1: {error} ({data[:16]!r})"
            self._lost(self.peer.broken(FailureCause.PROTOCOL, " ".join(detail.split())))
            return
        if not stream.has_head and self._head_bytes > self.options.response_head_bytes_max:
            detail = f"response head above {self.options.response_head_bytes_max} bytes"
            self._lost(self.peer.broken(FailureCause.TOO_LARGE, detail))
        elif stream.unread_bytes >= self.options.stream_window_bytes and self._transport:
            self._reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        stream = self._stream
        if exc is None and stream is not None and stream.has_head and not self._has_length:
            # The end of the connection is the end of such a body.
            stream.end_received()
        detail = "the service closed the connection" if exc is None else f"connection lost: {exc}"
        self._lost(self.peer.broken(FailureCause.CLOSED, detail))

    # ------------------------------------------------------------ callbacks of the parser

    def on_header(self, name: bytes, value: bytes) -> None:
        key = name.decode("latin-1").lower()
        self._has_length = self._has_length or key in ("content-length", "transfer-encoding")
        self._fields.append((key, value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        fields, self._fields = self._fields, []
        self._interim = status < 200
        if self._stream is not None and not self._interim:
            head = ResponseHead(status, tuple(fields), HttpVersion.HTTP_1_1)
            self._stream.head_received(head)

    def on_body(self, body: bytes) -> None:
        if self._stream is not None:
            self._stream.bytes_received(body, len(body))

    def on_message_complete(self) -> None:
        if self._interim or self._stream is None:
            self._has_length = False
            return
        self._stream.end_received()
        self._through_perhaps()

    # ------------------------------------------------------------ ends

    def _through_perhaps(self) -> None:
        """Both sides have finished: keep the connection for the next, if the service agrees.

        A service that answers before it has the whole request is left alone until it has.
        """
        stream = self._stream
        if stream is None or not (stream.is_over and self._request_sent):
            return
        self._stream = None
        self._free_socket(stream)
        if not self._parser.should_keep_alive():
            self._lost(self.peer.broken(FailureCause.CLOSED, "the service closes after this"))
            return
        self._idle = self._loop.call_later(
            self.options.idle_timeout_ms / 1000, self.close, "connection was idle"
        )
        self._pool.room_changed()

    def _free_socket(self, stream: Http1Stream) -> None:
        """The stream keeps what was received; the socket is free for the next."""
        if self._reading_paused and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        stream.out.clear()
        stream.wake()

    def _lost(self, error: ServiceError, *, at_once: bool = False) -> None:
        """Hang up and tell everybody. Idempotent."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.abort() if at_once else transport.close()
        if self._idle is not None:
            self._idle.cancel()
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.failed(error)
            stream.out.clear()
            stream.wake()
        self._pool.connection_closed(self)
