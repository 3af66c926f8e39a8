"""The client's side of one HTTP/2 connection, as far as services need it: frames in, frames out,
no I/O. Header compression is `jh2`'s, in Rust.

    receive ─▶ bytes ─▶ frames ─▶ what happened: Head, Data, Ended, Reset, Window, Goaway …
    send_… ───▶ frames ─▶ data_to_send ─▶ the socket, once in a turn of the loop

The libraries keep a machine for each stream, an object for each frame and flag, and undo much of it
in the next step: 70 µs of an exchange, which is a tenth of a call; this takes 18. It is short,
because there is one user of it: no server's side, no push, no priorities, no trailers to send.

What a peer does wrong ends the connection, with a GOAWAY that says why: a service that violates the
protocol in one exchange is not trusted with the others. GOAWAY of the peer is an event and no end,
for its streams are to be finished.

Invariants
    1. Memory is bounded by the windows that were given: a peer that exceeds one is cut off.
    2. No frame above `FRAME_BYTES_MAX`, no head above `head_bytes_max`, is waited for.
    3. A stream that is over is forgotten; frames that come late for it change nothing.

Driven by `service_http2`.
"""

# pyright: reportMissingTypeStubs=false
from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from jh2 import _hazmat as hpack

from restate_node.runtime.real.http2_codes import ErrorCode, Flag, FrameType, Setting

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
FRAME_BYTES_MAX: Final = 16 * 1024
"""Of any frame: the default of the standard, which this side never raises."""
WINDOW_BYTES: Final = 65_535
WINDOW_BYTES_MAX: Final = 2**31 - 1
STREAM_ID_MASK: Final = 0x7FFF_FFFF
STREAMS_MAX: Final = 2**31 - 1
"""Until the peer says how many it takes."""
HEADER_BYTES: Final = 9
PING_BYTES: Final = 8

_HEADER = Struct(">BHBBI")
_SETTING = Struct(">HI")
_U32 = Struct(">I")
_GOAWAY = Struct(">II")

RawField: TypeAlias = tuple[bytes, bytes, bool]
"""Name, value, and whether it must not be kept by those who compress it."""


class Head(NamedTuple):
    """The response begins. Of informational ones and of trailers nothing is said."""

    stream: int
    fields: list[RawField]


class Data(NamedTuple):
    """`flow_bytes` is what flow control counts: padding too."""

    stream: int
    data: bytes
    flow_bytes: int


class Ended(NamedTuple):
    """The peer says nothing more on it."""

    stream: int


class Reset(NamedTuple):
    """The peer gave it up."""

    stream: int
    code: int


class Window(NamedTuple):
    """More may be sent on the stream; 0: on the connection."""

    stream: int


class SettingsChanged(NamedTuple):
    """What the peer takes has changed, windows perhaps too."""


class Pong(NamedTuple):
    """The peer has answered a ping."""


class Goaway(NamedTuple):
    """The peer is leaving: it did, or will do, nothing for streams above `last_stream`."""

    last_stream: int
    code: int
    text: str


Event: TypeAlias = Head | Data | Ended | Reset | Window | SettingsChanged | Pong | Goaway


class Http2Violation(Exception):
    """The peer does not keep to the standard, or does not speak it. A GOAWAY is ready to be sent;
    nothing else is to be done with the connection.
    """

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class _Stream:
    """What may yet be said in either direction."""

    __slots__ = ("ended", "finished", "has_head", "receive_window", "send_window")

    def __init__(self, send_window: int, receive_window: int) -> None:
        self.send_window = send_window
        self.receive_window = receive_window
        self.has_head = False
        self.finished = False
        """This side has said all."""
        self.ended = False
        """The peer has."""


class Http2Client:
    """One connection. Calls for streams that are over have no effect."""

    def __init__(self, stream_window_bytes: int, head_bytes_max: int) -> None:
        self.streams_max = STREAMS_MAX
        self.frame_bytes_max = FRAME_BYTES_MAX
        """What the peer takes."""
        self._stream_window = stream_window_bytes
        self._head_bytes_max = head_bytes_max
        self._encoder = hpack.Encoder()
        self._decoder = hpack.Decoder(head_bytes_max)
        self._streams: dict[int, _Stream] = {}
        self._next_stream = 1
        self._their_stream_window = WINDOW_BYTES
        self._send_window = self._receive_window = WINDOW_BYTES
        self._out: list[bytes] = []
        self._in = b""
        self._has_settings = False
        self._head_under_way: tuple[int, int, bytes] | None = None
        """Stream, flags and block of a head that has not come whole."""

    # ------------------------------------------------------------ sending

    def data_to_send(self) -> bytes:
        """All that was said since the last time."""
        out, self._out = self._out, []
        return b"".join(out)

    def initiate(self) -> None:
        """The first bytes of the connection."""
        settings = (
            (Setting.ENABLE_PUSH, 0),
            (Setting.INITIAL_WINDOW_SIZE, self._stream_window),
            (Setting.MAX_HEADER_LIST_SIZE, self._head_bytes_max),
        )
        self._out.append(PREFACE)
        self._frame(FrameType.SETTINGS, 0, 0, b"".join(_SETTING.pack(*one) for one in settings))

    def open_stream(self, fields: list[tuple[str, str]]) -> int:
        """Begin a request; the number of its stream."""
        number, self._next_stream = self._next_stream, self._next_stream + 2
        self._streams[number] = _Stream(self._their_stream_window, self._stream_window)
        block = self._encoder.encode([(n.encode(), v.encode(), False) for n, v in fields])
        kind, size = FrameType.HEADERS, self.frame_bytes_max
        while len(block) > size:
            self._frame(kind, 0, number, block[:size])
            kind, block = FrameType.CONTINUATION, block[size:]
        self._frame(kind, Flag.END_HEADERS, number, block)
        return number

    def window(self, number: int) -> int:
        """How much may be sent on a stream now."""
        stream = self._streams.get(number)
        return 0 if stream is None else min(stream.send_window, self._send_window)

    def send_data(self, number: int, data: bytes, last: bool) -> None:
        """At most the window and one frame; `last`: nothing follows."""
        stream = self._streams.get(number)
        if stream is None:
            return
        assert len(data) <= self.frame_bytes_max, "a frame that the peer does not take"
        stream.send_window -= len(data)
        self._send_window -= len(data)
        assert min(stream.send_window, self._send_window) >= 0 or not data, "the window is closed"
        self._frame(FrameType.DATA, Flag.END_STREAM if last else 0, number, data)
        stream.finished = last
        if last and stream.ended:
            del self._streams[number]

    def reset(self, number: int, code: ErrorCode) -> None:
        """Give a stream up."""
        if self._streams.pop(number, None) is not None:
            self._frame(FrameType.RST_STREAM, 0, number, _U32.pack(code))

    def ping(self, payload: bytes) -> None:
        assert len(payload) == PING_BYTES
        self._frame(FrameType.PING, 0, 0, payload)

    def give_back(self, count: int, number: int = 0) -> None:
        """Let the peer send that much more on a stream; 0: on the connection."""
        if number == 0:
            self._receive_window += count
        elif number in self._streams:
            self._streams[number].receive_window += count
        else:
            return
        self._frame(FrameType.WINDOW_UPDATE, 0, number, _U32.pack(count))

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        size = len(payload)
        self._out.append(_HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream))
        if payload:
            self._out.append(payload)

    # ------------------------------------------------------------ receiving

    def receive(self, data: bytes) -> list[Event]:
        """What the bytes say, in their order; raises Http2Violation. Pieces may be of any size."""
        data = self._in + data if self._in else data
        events: list[Event] = []
        position = 0
        try:
            while position + HEADER_BYTES <= len(data):
                high, low, kind, flags, stream = _HEADER.unpack_from(data, position)
                size = high << 16 | low
                if size > FRAME_BYTES_MAX:
                    raise Http2Violation(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {size} bytes")
                end = position + HEADER_BYTES + size
                if end > len(data):
                    break
                payload = data[position + HEADER_BYTES : end]
                self._take(kind, flags, stream & STREAM_ID_MASK, payload, events)
                position = end
        except Http2Violation as violation:
            self._frame(FrameType.GOAWAY, 0, 0, _GOAWAY.pack(0, violation.code))
            raise
        self._in = data[position:]
        return events

    def _take(
        self, kind: int, flags: int, stream: int, payload: bytes, events: list[Event]
    ) -> None:
        if not self._has_settings and kind != FrameType.SETTINGS:
            raise _violation("it does not begin with its settings")
        if self._head_under_way is not None and kind != FrameType.CONTINUATION:
            raise _violation("a frame within a head")
        take = _TAKES.get(kind)
        if take is not None:
            take(self, flags, stream, payload, events)

    def _data(self, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
        stream, size = self._known(number), len(payload)
        self._receive_window -= size
        if stream is not None:
            stream.receive_window -= size
            if not stream.has_head or stream.ended:
                raise _violation("a body out of place")
        if self._receive_window < 0 or (stream is not None and stream.receive_window < 0):
            raise Http2Violation(ErrorCode.FLOW_CONTROL_ERROR, "more than its window")
        data = _unpadded(payload) if flags & Flag.PADDED else payload
        events.append(Data(number, data, size))
        if flags & Flag.END_STREAM and stream is not None:
            self._ended(number, stream, events)

    def _headers(self, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
        block = _unpadded(payload) if flags & Flag.PADDED else payload
        if flags & Flag.PRIORITY:
            block = block[5:]
        if flags & Flag.END_HEADERS:
            self._whole_head(flags, number, block, events)
        else:
            self._head_under_way = number, flags, block

    def _continuation(self, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
        if self._head_under_way is None or self._head_under_way[0] != number:
            raise _violation("a continuation of nothing")
        _, first_flags, block = self._head_under_way
        block += payload
        if len(block) > self._head_bytes_max:
            raise Http2Violation(ErrorCode.ENHANCE_YOUR_CALM, "a head without an end")
        if flags & Flag.END_HEADERS:
            self._head_under_way = None
            self._whole_head(first_flags, number, block, events)
        else:
            self._head_under_way = number, first_flags, block

    def _whole_head(self, flags: int, number: int, block: bytes, events: list[Event]) -> None:
        """Decoded also for a stream that is over: what it says of the compression counts."""
        try:
            fields: Any = self._decoder.decode(block, True)
        except (hpack.HPACKError, hpack.OversizedHeaderListError) as error:
            raise Http2Violation(ErrorCode.COMPRESSION_ERROR, str(error)) from None
        stream = self._known(number)
        if stream is None:
            return
        if stream.ended:
            raise _violation("a head out of place")
        ends = bool(flags & Flag.END_STREAM)
        if not stream.has_head and (ends or not _is_informational(fields)):
            stream.has_head = True
            events.append(Head(number, fields))
        if ends:
            self._ended(number, stream, events)

    def _ended(self, number: int, stream: _Stream, events: list[Event]) -> None:
        stream.ended = True
        if stream.finished:
            del self._streams[number]
        events.append(Ended(number))

    def _reset(self, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
        code = _u32(payload)
        if self._known(number) is not None:
            del self._streams[number]
            events.append(Reset(number, code))

    def _settings(self, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) % _SETTING.size:
            raise Http2Violation(ErrorCode.FRAME_SIZE_ERROR, "settings that are cut off")
        if flags & Flag.ACK:
            return
        self._has_settings = True
        for name, value in _SETTING.iter_unpack(payload):
            self._set(name, value)
        self._frame(FrameType.SETTINGS, Flag.ACK, 0, b"")
        events.append(SettingsChanged())

    def _set(self, name: int, value: int) -> None:
        match name:
            case Setting.HEADER_TABLE_SIZE:
                self._encoder.header_table_size = min(value, self._encoder.header_table_size)
            case Setting.MAX_CONCURRENT_STREAMS:
                self.streams_max = value
            case Setting.MAX_FRAME_SIZE:
                if not FRAME_BYTES_MAX <= value < 1 << 24:
                    raise _violation(f"frames of {value} bytes")
                self.frame_bytes_max = min(value, 4 * FRAME_BYTES_MAX)
            case Setting.INITIAL_WINDOW_SIZE:
                if value > WINDOW_BYTES_MAX:
                    raise Http2Violation(ErrorCode.FLOW_CONTROL_ERROR, f"a window of {value}")
                for stream in self._streams.values():
                    stream.send_window += value - self._their_stream_window
                self._their_stream_window = value
            case _:
                pass

    def _push(self, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
        raise _violation("it pushes what nobody wants")

    def _ping(self, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) != PING_BYTES:
            raise Http2Violation(ErrorCode.FRAME_SIZE_ERROR, "a ping that is none")
        if flags & Flag.ACK:
            events.append(Pong())
        else:
            self._frame(FrameType.PING, Flag.ACK, 0, payload)

    def _goaway(self, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
        if len(payload) < _GOAWAY.size:
            raise Http2Violation(ErrorCode.FRAME_SIZE_ERROR, "a GOAWAY that is cut off")
        last_stream, code = _GOAWAY.unpack_from(payload)
        text = payload[_GOAWAY.size : _GOAWAY.size + 200].decode("utf-8", "replace")
        events.append(Goaway(last_stream & STREAM_ID_MASK, code, text))

    def _window_update(self, flags: int, number: int, payload: bytes, events: list[Event]) -> None:
        count = _u32(payload) & STREAM_ID_MASK
        if count == 0:
            raise _violation("a window that does not grow")
        if number == 0:
            self._send_window += count
            window = self._send_window
        else:
            stream = self._known(number)
            if stream is None:
                return
            stream.send_window += count
            window = stream.send_window
        if window > WINDOW_BYTES_MAX:
            raise Http2Violation(ErrorCode.FLOW_CONTROL_ERROR, "a window without an end")
        events.append(Window(number))

    def _known(self, number: int) -> _Stream | None:
        """None for one that is over; a violation for one that was never opened."""
        stream = self._streams.get(number)
        if stream is None and (number % 2 == 0 or number >= self._next_stream):
            raise _violation(f"a stream {number} that nobody opened")
        return stream


_Take: TypeAlias = Callable[[Http2Client, int, int, bytes, list[Event]], None]
_TAKES: Final[dict[int, _Take]] = {
    FrameType.DATA: Http2Client._data,  # pyright: ignore[reportPrivateUsage]
    FrameType.HEADERS: Http2Client._headers,  # pyright: ignore[reportPrivateUsage]
    FrameType.RST_STREAM: Http2Client._reset,  # pyright: ignore[reportPrivateUsage]
    FrameType.SETTINGS: Http2Client._settings,  # pyright: ignore[reportPrivateUsage]
    FrameType.PUSH_PROMISE: Http2Client._push,  # pyright: ignore[reportPrivateUsage]
    FrameType.PING: Http2Client._ping,  # pyright: ignore[reportPrivateUsage]
    FrameType.GOAWAY: Http2Client._goaway,  # pyright: ignore[reportPrivateUsage]
    FrameType.WINDOW_UPDATE: Http2Client._window_update,  # pyright: ignore[reportPrivateUsage]
    FrameType.CONTINUATION: Http2Client._continuation,  # pyright: ignore[reportPrivateUsage]
}
"""Of frames of other types nothing is known: they are passed over, as the standard wants it."""


def _violation(text: str) -> Http2Violation:
    return Http2Violation(ErrorCode.PROTOCOL_ERROR, text)


def _u32(payload: bytes) -> int:
    if len(payload) != _U32.size:
        raise Http2Violation(ErrorCode.FRAME_SIZE_ERROR, "a frame that is cut off")
    return _U32.unpack(payload)[0]


def _unpadded(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise _violation("more padding than frame")
    return payload[1 : len(payload) - payload[0]]


def _is_informational(fields: list[RawField]) -> bool:
    return any(name == b":status" and value[:1] == b"1" for name, value, _ in fields[:1])
