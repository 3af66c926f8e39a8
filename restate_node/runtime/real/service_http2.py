"""One HTTP/2 connection to a service: many exchanges, each full duplex.

    callers ─ send ─▶ out buffers of streams ─┐ one frame per stream and round, until window,
                                              ├─ budget of the turn or socket says stop ─▶ one write
    callers ◀─ receive ─ chunks of streams ◀──┘
                             └─ taken ─▶ WINDOW_UPDATE of the stream, when half of it was used

Flow control, towards us: the window of the connection is given back as bytes arrive, the window of
a stream as they are taken. One exchange that nobody reads thus never stops the others, and memory
is bounded by streams × stream window.

GOAWAY: streams above the last one named were not begun and may be repeated elsewhere; those below
run to their end, new ones go elsewhere, then the connection closes. The peer is asked at once
whether it is still there: hypercorn forgets what it has begun when it says so, and only the next
frame makes it hang up.

Drives `http2_client`.

Invariants
    1. At most one write per turn of the loop, whatever number of exchanges spoke in it.
    2. Each stream is told one end: END_STREAM, reset, GOAWAY, or the loss of the connection.
    3. A connection that no longer takes streams and has none is closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final, assert_never, cast

from restate_node.runtime.real.http2_client import (
    WINDOW_BYTES,
    Data,
    Ended,
    Event,
    Goaway,
    Head,
    Http2Client,
    Http2Violation,
    Pong,
    RawField,
    Reset,
    SettingsChanged,
    Window,
)
from restate_node.runtime.real.http2_codes import ErrorCode, code_name
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

PING: Final = b"restate!"
USE_HTTP_1_1: Final = "the service does not speak HTTP/2: register it with use_http_11"


class Http2Stream(ServiceStream):
    """One exchange."""

    __slots__ = ("_connection", "finished", "is_queued", "number", "out", "uncredited_bytes")

    def __init__(self, connection: Http2Connection, number: int) -> None:
        super().__init__(connection.peer)
        self._connection = connection
        self.number = number
        self.out = bytearray()
        self.finished = False
        """Nothing follows what is in `out`."""
        self.is_queued = False
        self.uncredited_bytes = 0

    @property
    def backlog_bytes(self) -> int:
        return len(self.out)

    def send(self, data: bytes) -> None:
        assert not self.finished
        if self._connection.is_open(self):
            self.out += data
            self._connection.wants_to_send(self)

    def finish(self) -> None:
        if not self.finished:
            self.finished = True
            self._connection.wants_to_send(self)

    def release(self) -> None:
        self.release_within(self._connection.options.release_timeout_ms)

    def abort(self) -> None:
        if self.ended:
            # The service has answered without the rest of the request: no reason for a reset.
            self.out.clear()
            self.finish()
        else:
            self._connection.cancel(self)

    def _must_wait(self) -> bool:
        # The low mark, once above the high one, is judged by the connection when it sends.
        return len(self.out) > self._connection.options.backlog_high_bytes

    def _taken(self, flow_bytes: int) -> None:
        self.uncredited_bytes += flow_bytes
        if self.uncredited_bytes >= self._connection.options.stream_window_bytes // 2:
            self._connection.give_back(self)


class Http2Connection(asyncio.Protocol):
    """A `ServiceConnection`; it is its own asyncio protocol."""

    def __init__(self, peer: Peer, options: ServiceTransportOptions, pool: PoolSide) -> None:
        self.peer = peer
        self.options = options
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._client = Http2Client(options.stream_window_bytes, options.response_head_bytes_max)
        self._streams: dict[int, Http2Stream] = {}
        self._opened_count = 0
        self._sending: deque[Http2Stream] = deque()
        self._blocked: dict[Http2Stream, None] = {}
        """Have bytes and no window."""
        self._flush_is_due = False
        self._write_paused = False
        self._uncredited_bytes = 0
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._leaving = False
        """Takes no more streams."""
        self._farewell = ""
        """What the peer's GOAWAY said."""
        self._tick: asyncio.TimerHandle | None = None
        self._idle_since = self._last_heard = self._loop.time()
        self._ping_sent = 0.0

    # ------------------------------------------------------------ ServiceConnection

    @property
    def capacity(self) -> int:
        return min(self._client.streams_max, self.options.streams_max)

    @property
    def room(self) -> int:
        if self._leaving or not self._ready.done():
            return 0
        return max(0, self.capacity - len(self._streams))

    @property
    def is_asking(self) -> bool:
        """A ping is under way."""
        return bool(self._ping_sent)

    async def ready(self) -> None:
        """The peer's settings are here: it speaks HTTP/2, and says how many streams it takes."""
        # Shielded, because a caller that goes away must not take the result from the connection.
        await asyncio.shield(self._ready)

    def open_stream(self, head: RequestHead) -> Http2Stream:
        assert self.room > 0
        fields = [
            (":method", head.method),
            (":scheme", self.peer.uri.scheme),
            (":authority", self.peer.uri.authority),
            (":path", head.path),
            *head.headers,
        ]
        number = self._client.open_stream(fields)
        stream = self._streams[number] = Http2Stream(self, number)
        # A connection that was idle may have died unheard.
        self._ping_after_silence()
        self._opened_count += 1
        if self._opened_count >= self.options.exchanges_per_connection_max:
            self._leaving = True
        self._flush_soon()
        return stream

    def close(self, reason: str) -> None:
        self._lost(self.peer.broken(FailureCause.CLOSED, reason))

    # ------------------------------------------------------------ for streams

    def is_open(self, stream: Http2Stream) -> bool:
        return self._streams.get(stream.number) is stream

    def wants_to_send(self, stream: Http2Stream) -> None:
        if self.is_open(stream) and not stream.is_queued:
            stream.is_queued = True
            self._sending.append(stream)
            self._flush_soon()

    def cancel(self, stream: Http2Stream) -> None:
        """RST_STREAM, unless both sides have finished."""
        if not self.is_open(stream):
            return
        self._reset(stream, ErrorCode.CANCEL)
        stream.failed(self.peer.broken(FailureCause.ABORTED, "the exchange was aborted"))

    def give_back(self, stream: Http2Stream) -> None:
        """Let the peer send as much again as was taken."""
        count, stream.uncredited_bytes = stream.uncredited_bytes, 0
        if stream.is_over or not self.is_open(stream):
            return
        self._client.give_back(count, stream.number)
        self._flush_soon()

    # ------------------------------------------------------------ sending

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._transport is None:
            return
        budget = self.options.write_bytes_max
        while self._sending and budget > 0 and not self._write_paused:
            budget -= self._send_frame(self._sending.popleft())
        data = self._client.data_to_send()
        if data:
            self._transport.write(data)
        if self._sending and not self._write_paused:
            self._flush_soon()

    def _send_frame(self, stream: Http2Stream) -> int:
        """One frame of a stream, and the stream back in its queue; the bytes sent."""
        stream.is_queued = False
        if not self.is_open(stream):
            return 0
        out, client, number = stream.out, self._client, stream.number
        if not out:
            if stream.finished:
                client.send_data(number, b"", last=True)
                self._sent_all(stream)
            return 0
        size = min(client.window(number), client.frame_bytes_max, len(out))
        if size <= 0:
            self._blocked[stream] = None
            return 0
        last = stream.finished and size == len(out)
        was_high = len(out) > self.options.backlog_low_bytes
        client.send_data(number, bytes(memoryview(out)[:size]), last)
        del out[:size]
        if was_high and len(out) <= self.options.backlog_low_bytes:
            stream.wake()
        if last:
            self._sent_all(stream)
        elif out:
            stream.is_queued = True
            self._sending.append(stream)
        return size

    def _sent_all(self, stream: Http2Stream) -> None:
        if stream.is_over:
            self._forget(stream)

    def _unblock(self) -> None:
        blocked, self._blocked = self._blocked, {}
        for stream in blocked:
            self.wants_to_send(stream)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._flush_soon()

    # ------------------------------------------------------------ receiving

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods but not the base class.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(self.options.write_bytes_max)
        self._client.initiate()
        more = self.options.connection_window_bytes - WINDOW_BYTES
        if more > 0:
            self._client.give_back(more)
        self._flush_soon()
        self._tick_later()

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._last_heard = self._loop.time()
        try:
            events = self._client.receive(data)
        except Http2Violation as violation:
            self._violated(data, violation)
            return
        for event in events:
            self._happened(event)
        self._flush_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        cause = FailureCause.GOAWAY if self._farewell else FailureCause.CLOSED
        detail = "the service closed the connection" if exc is None else f"connection lost: {exc}"
        self._lost(self.peer.broken(cause, self._farewell or detail))

    def _happened(self, event: Event) -> None:
        match event:
            case Head(number, fields):
                self._head(number, fields)
            case Data():
                self._data(event)
            case Ended(number):
                self._end(number)
            case Reset(number, code):
                self._was_reset(number, code)
            case Window(number):
                self._window(number)
            case SettingsChanged():
                self._settings()
            case Pong():
                self._ping_sent = 0.0
            case Goaway():
                self._goaway_received(event)
            case _:
                assert_never(event)

    def _head(self, number: int, raw_fields: list[RawField]) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        status, fields = 0, list[tuple[str, str]]()
        for name, value, _ in raw_fields:
            if name == b":status" and value.isdigit():
                status = int(value)
            elif not name.startswith(b":"):
                fields.append((name.decode("latin-1"), value.decode("latin-1")))
        if not 100 <= status <= 999:
            self._reset(stream, ErrorCode.PROTOCOL_ERROR)
            detail = "response without a status"
            stream.failed(self.peer.broken(FailureCause.PROTOCOL, detail))
            return
        stream.head_received(ResponseHead(status, tuple(fields), HttpVersion.HTTP_2))

    def _data(self, event: Data) -> None:
        count = event.flow_bytes
        self._uncredited_bytes += count
        if self._uncredited_bytes >= self.options.connection_window_bytes // 2:
            self._client.give_back(self._uncredited_bytes)
            self._uncredited_bytes = 0
        stream = self._streams.get(event.stream)
        if stream is not None:
            stream.bytes_received(event.data, count)

    def _end(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.end_received()
        if stream.finished and not stream.out and not stream.is_queued:
            self._forget(stream)

    def _was_reset(self, number: int, code: int) -> None:
        stream = self._streams.get(number)
        if stream is None:
            return
        stream.failed(self._reset_error(code))
        self._forget(stream)

    def _reset_error(self, code: int) -> ServiceError:
        if code == ErrorCode.REFUSED_STREAM:
            detail = "the service refused the stream (REFUSED_STREAM)"
            return self.peer.unreachable(FailureCause.RESET, detail)
        if code == ErrorCode.HTTP_1_1_REQUIRED:
            return self.peer.unreachable(FailureCause.PROTOCOL, USE_HTTP_1_1)
        return self.peer.broken(
            FailureCause.RESET, f"the service reset the stream ({code_name(code)})"
        )

    def _window(self, number: int) -> None:
        if number == 0:
            self._unblock()
            return
        stream = self._streams.get(number)
        if stream is not None and stream in self._blocked:
            del self._blocked[stream]
            self.wants_to_send(stream)

    def _settings(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)
        self._unblock()
        self._pool.room_changed()

    def _goaway_received(self, goaway: Goaway) -> None:
        self._leaving = True
        name = code_name(goaway.code)
        detail = " ".join(f"the service is leaving (GOAWAY {name}) {goaway.text}".split())
        self._farewell = detail
        refused = [s for n, s in self._streams.items() if n > goaway.last_stream]
        for stream in refused:
            stream.failed(self.peer.unreachable(FailureCause.GOAWAY, detail))
            self._forget(stream)
        if not self._ready.done():
            self._ready.set_exception(self.peer.unreachable(FailureCause.GOAWAY, detail))
            self._ready.exception()
        if not self._streams:
            self._lost(self.peer.broken(FailureCause.GOAWAY, detail))
        elif not self._ping_sent:
            self._ping()

    # ------------------------------------------------------------ ends

    def _violated(self, data: bytes, violation: Http2Violation) -> None:
        """What the peer said makes no sense; a GOAWAY is ready for it."""
        detail = f"the service violated HTTP/2: {violation}"
        if not self._ready.done():
            detail = f"{USE_HTTP_1_1} (it answered {data[:16]!r})"
        # Only the farewell may leave.
        self._sending.clear()
        self._flush()
        self._lost(self.peer.broken(FailureCause.PROTOCOL, " ".join(detail.split())))

    def _reset(self, stream: Http2Stream, code: ErrorCode) -> None:
        self._client.reset(stream.number, code)
        self._forget(stream)
        self._flush_soon()

    def _forget(self, stream: Http2Stream) -> None:
        """The stream is over in both directions, or reset."""
        self._streams.pop(stream.number, None)
        self._blocked.pop(stream, None)
        stream.out.clear()
        stream.wake()
        if not self._streams:
            self._idle_since = self._loop.time()
            if self._leaving:
                self._flush()
                self._lost(self.peer.broken(FailureCause.CLOSED, "connection used up"))
                return
        self._pool.room_changed()

    def _lost(self, error: ServiceError) -> None:
        """Hang up and tell everybody. Idempotent."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        transport.close()
        self._leaving = True
        if self._tick is not None:
            self._tick.cancel()
        if not self._ready.done():
            detail = error.detail
            if USE_HTTP_1_1 not in detail:
                detail += " before it spoke HTTP/2: if it cannot, register it with use_http_11"
            self._ready.set_exception(self.peer.unreachable(error.cause, detail))
            self._ready.exception()
        streams, self._streams = self._streams, {}
        self._sending.clear()
        self._blocked.clear()
        for stream in streams.values():
            # One error each: raised in many tasks, one would gather all their tracebacks.
            stream.failed(self.peer.broken(error.cause, error.detail))
            stream.out.clear()
            stream.wake()
        self._pool.connection_closed(self)

    # ------------------------------------------------------------ time

    def _tick_later(self) -> None:
        options = self.options
        waits = (options.keep_alive_interval_ms, options.keep_alive_timeout_ms)
        wait_ms = min(*waits, options.idle_timeout_ms)
        self._tick = self._loop.call_later(wait_ms / 1000, self._judge)

    def _judge(self) -> None:
        """Is the peer still there, and is the connection still needed?"""
        now, options = self._loop.time(), self.options
        if not self._streams and (now - self._idle_since) * 1000 >= options.idle_timeout_ms:
            self._lost(self.peer.broken(FailureCause.CLOSED, "connection was idle"))
            return
        if self._ping_sent and (now - self._ping_sent) * 1000 >= options.keep_alive_timeout_ms:
            detail = f"no answer to a ping for {options.keep_alive_timeout_ms} ms"
            self._lost(self.peer.broken(FailureCause.TIMEOUT, detail))
            return
        if self._streams:
            self._ping_after_silence()
        self._tick_later()

    def _ping_after_silence(self) -> None:
        """Ask whether the peer is there, unless it was heard lately or is being asked."""
        silent_ms = (self._loop.time() - self._last_heard) * 1000
        if not self._ping_sent and silent_ms >= self.options.keep_alive_interval_ms:
            self._ping()

    def _ping(self) -> None:
        self._ping_sent = self._loop.time()
        self._client.ping(PING)
        self._flush_soon()
