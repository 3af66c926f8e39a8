"""HTTP/2 from the client's side: what a real server says is understood in any pieces, and what no
server may say ends the connection."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from hypothesis import given
from hypothesis import strategies as st

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
    Reset,
    SettingsChanged,
    Window,
)
from restate_node.runtime.real.http2_codes import ErrorCode, FrameType

FIELDS = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/")]
ANSWER = [(":status", "200"), ("content-type", "text/plain")]
STREAM_WINDOW = 100_000
HEAD_BYTES = 2_000
WIDE = 0x8


class Pair:
    """A client, and a server of another library."""

    def __init__(self) -> None:
        self.client = Http2Client(STREAM_WINDOW, HEAD_BYTES)
        self.server = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.client.initiate()
        self.server.initiate_connection()
        self.to_server()
        self.to_client()
        self.to_server()

    def to_server(self) -> list[object]:
        return list(self.server.receive_data(self.client.data_to_send()))

    def to_client(self) -> list[Event]:
        return self.client.receive(self.server.data_to_send())


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    head = len(payload).to_bytes(3, "big") + bytes((kind, flags))
    return head + stream.to_bytes(4, "big") + payload


SETTINGS = frame(FrameType.SETTINGS)
HEAD_200 = b"\x88"


def opened() -> Http2Client:
    """With one exchange, of stream 1."""
    client = Http2Client(STREAM_WINDOW, HEAD_BYTES)
    client.initiate()
    client.receive(SETTINGS)
    assert client.open_stream(FIELDS) == 1
    client.data_to_send()
    return client


@given(cuts=st.lists(st.integers(1, 40), max_size=60), size=st.integers(0, 3000))
def test_a_server_is_understood_in_any_pieces(cuts: list[int], size: int) -> None:
    """Goal: exchanges with informational heads, bodies and trailers, whatever a read returns.
    Method: a server of another library answers two streams; its bytes are cut at random."""
    pair = Pair()
    numbers = [pair.client.open_stream(FIELDS) for _ in range(2)]
    for number in numbers:
        pair.client.send_data(number, b"ask", last=True)
    heard = pair.to_server()
    assert [type(event) for event in heard] == [RequestReceived] * 2 + [
        DataReceived,
        StreamEnded,
    ] * 2
    for number in numbers:
        pair.server.send_headers(number, [(":status", "103")])
        pair.server.send_headers(number, ANSWER)
        pair.server.send_data(number, b"x" * size, pad_length=7)
        pair.server.send_headers(number, [("x-sum", "1")], end_stream=True)
    wire, events, position = pair.server.data_to_send(), list[Event](), 0
    for step in [*cuts, len(wire)]:
        events += pair.client.receive(wire[position : position + step])
        position += step
    fields = [(name.encode(), value.encode(), False) for name, value in ANSWER]
    assert events == [
        event
        for number in numbers
        for event in (Head(number, fields), Data(number, b"x" * size, size + 8), Ended(number))
    ]


def test_large_heads_and_bodies_keep_to_frames_and_windows() -> None:
    """Goal: nothing is sent that the server did not allow. Method: a head of several frames; a body
    up to the window, and on after the server has given it back."""
    pair = Pair()
    number = pair.client.open_stream([*FIELDS, ("x-long", "~" * 40_000)])
    assert isinstance(pair.to_server()[0], RequestReceived)
    assert pair.client.window(number) == WINDOW_BYTES
    while window := pair.client.window(number):
        pair.client.send_data(number, b"x" * min(window, pair.client.frame_bytes_max), last=False)
    pair.to_server()
    pair.server.increment_flow_control_window(10)
    pair.server.increment_flow_control_window(10, number)
    assert pair.to_client() == [Window(0), Window(number)]
    pair.client.send_data(number, b"y" * 10, last=True)
    assert isinstance(pair.to_server()[-1], StreamEnded)


def test_windows_follow_the_settings() -> None:
    """Goal: a changed initial window holds for open streams. Method: shrink it below what was sent,
    then widen it."""
    client = opened()
    client.send_data(1, b"x" * 1000, last=False)
    client.receive(frame(FrameType.SETTINGS, b"\0\4" + (400).to_bytes(4, "big")))
    assert client.window(1) == -600
    events = client.receive(frame(FrameType.SETTINGS, b"\0\4" + (1400).to_bytes(4, "big")))
    assert events == [SettingsChanged()]
    assert client.window(1) == 400
    client.receive(frame(FrameType.SETTINGS, b"\0\3\0\0\0\5"))
    assert client.streams_max == 5


def test_what_a_peer_says_about_the_connection() -> None:
    """Goal: pings are answered, resets and farewells told. Method: one frame of each, and one of a
    type that nobody knows."""
    client = opened()
    assert client.receive(frame(FrameType.PING, b"12345678")) == []
    assert client.data_to_send() == frame(FrameType.PING, b"12345678", flags=1)
    assert client.receive(frame(FrameType.PING, b"12345678", flags=1)) == [Pong()]
    assert client.receive(frame(0x42, b"what?", stream=77)) == []
    farewell = (1).to_bytes(4, "big") + (11).to_bytes(4, "big") + b"calm down"
    assert client.receive(frame(FrameType.GOAWAY, farewell)) == [Goaway(1, 11, "calm down")]
    reset = frame(FrameType.RST_STREAM, (7).to_bytes(4, "big"), stream=1)
    assert client.receive(reset) == [Reset(1, 7)]
    assert client.receive(reset) == []


def test_what_comes_late_changes_nothing() -> None:
    """Goal: a stream that was given up is over, and its bytes still count for the connection.
    Method: reset it, then let the server answer as if it had not heard."""
    pair = Pair()
    number = pair.client.open_stream(FIELDS)
    pair.to_server()
    pair.server.send_headers(number, ANSWER)
    pair.server.send_data(number, b"late", end_stream=True)
    pair.client.reset(number, ErrorCode.CANCEL)
    assert pair.to_client() == [Data(number, b"late", 4)]
    pair.client.send_data(number, b"nobody hears this", last=True)
    pair.client.give_back(4, number)
    assert [type(event) for event in pair.to_server()] == [StreamReset]
    again = pair.client.open_stream(FIELDS)
    pair.to_server()
    pair.server.send_headers(again, ANSWER, end_stream=True)
    assert [type(event) for event in pair.to_client()] == [Head, Ended]


@pytest.mark.parametrize(
    ("wire", "code"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorCode.FRAME_SIZE_ERROR),
        (frame(FrameType.DATA, b"x", stream=1), ErrorCode.PROTOCOL_ERROR),
        (frame(FrameType.HEADERS, HEAD_200, 4, stream=3), ErrorCode.PROTOCOL_ERROR),
        (frame(FrameType.HEADERS, HEAD_200, 4, stream=2), ErrorCode.PROTOCOL_ERROR),
        (frame(FrameType.HEADERS, HEAD_200, 0, stream=1) + SETTINGS, ErrorCode.PROTOCOL_ERROR),
        (frame(FrameType.HEADERS, b"\x09" + HEAD_200, 4 | WIDE, 1), ErrorCode.PROTOCOL_ERROR),
        (frame(FrameType.HEADERS, b"\xff" * 9, 4, stream=1), ErrorCode.COMPRESSION_ERROR),
        (frame(FrameType.HEADERS, HEAD_200, 5, stream=1) * 2, ErrorCode.PROTOCOL_ERROR),
        (
            frame(FrameType.HEADERS, HEAD_200, 0, stream=1)
            + frame(FrameType.CONTINUATION, b"x" * HEAD_BYTES, 0, stream=1),
            ErrorCode.ENHANCE_YOUR_CALM,
        ),
        (frame(FrameType.CONTINUATION, HEAD_200, 4, stream=1), ErrorCode.PROTOCOL_ERROR),
        (frame(FrameType.PUSH_PROMISE, b"\0\0\0\2" + HEAD_200, 4, 1), ErrorCode.PROTOCOL_ERROR),
        (frame(FrameType.WINDOW_UPDATE, bytes(4), stream=1), ErrorCode.PROTOCOL_ERROR),
        (frame(FrameType.WINDOW_UPDATE, b"\x7f" + b"\xff" * 3), ErrorCode.FLOW_CONTROL_ERROR),
        (frame(FrameType.WINDOW_UPDATE, b"\0"), ErrorCode.FRAME_SIZE_ERROR),
        (frame(FrameType.RST_STREAM, b"\0", stream=1), ErrorCode.FRAME_SIZE_ERROR),
        (frame(FrameType.SETTINGS, b"\0"), ErrorCode.FRAME_SIZE_ERROR),
        (frame(FrameType.SETTINGS, b"\0\5\0\0\0\1"), ErrorCode.PROTOCOL_ERROR),
        (frame(FrameType.SETTINGS, b"\0\4\xff\xff\xff\xff"), ErrorCode.FLOW_CONTROL_ERROR),
        (frame(FrameType.PING, b"short"), ErrorCode.FRAME_SIZE_ERROR),
        (frame(FrameType.GOAWAY, b"short"), ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_violations_are_named_to_the_peer(wire: bytes, code: ErrorCode) -> None:
    """Goal: nothing wrong is taken for something else, and the peer learns why. Method: one
    violation each, in an exchange that has begun."""
    client = opened()
    with pytest.raises(Http2Violation) as caught:
        client.receive(wire)
    assert caught.value.code is code
    assert client.data_to_send().endswith(
        frame(FrameType.GOAWAY, bytes(4) + bytes((0, 0, 0, code)))
    )


def test_a_peer_has_to_begin_with_settings() -> None:
    """Goal: what merely looks like frames is refused. Method: a ping first."""
    client = Http2Client(STREAM_WINDOW, HEAD_BYTES)
    client.initiate()
    with pytest.raises(Http2Violation):
        client.receive(frame(FrameType.PING, b"12345678"))


@pytest.mark.parametrize("given_back", [0, 1000])
def test_no_more_than_the_window_is_taken(given_back: int) -> None:
    """Goal: memory is bounded whatever a peer sends. Method: fill the window of the stream, that of
    the connection being wide, and go one byte further."""
    client = opened()
    client.give_back(1_000_000)
    client.receive(frame(FrameType.HEADERS, HEAD_200, 4, stream=1))
    client.give_back(given_back, 1)
    for left in range(STREAM_WINDOW + given_back, 0, -10_000):
        client.receive(frame(FrameType.DATA, b"x" * min(left, 10_000), stream=1))
    with pytest.raises(Http2Violation) as caught:
        client.receive(frame(FrameType.DATA, b"x", stream=1))
    assert caught.value.code is ErrorCode.FLOW_CONTROL_ERROR
