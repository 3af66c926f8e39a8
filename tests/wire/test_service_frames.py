"""Frames of the service protocol: any cutting of a stream, and lengths that are looked at first."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restate_node.types.attempts import MalformedMessage, MessageTooLarge, ServiceFrame
from restate_node.wire.service_frames import (
    REQUESTED_ACK,
    FrameDecoder,
    encode_frame,
    encode_head,
)

U16 = st.integers(0, 2**16 - 1)
FRAMES = st.lists(st.builds(ServiceFrame, U16, U16, st.binary(max_size=40)), max_size=8)


def test_the_header_is_that_of_the_protocol() -> None:
    """Goal: other programs read it. How: a frame byte for byte."""
    frame = encode_frame(0x0411, b"abc", REQUESTED_ACK)
    assert frame == bytes.fromhex("0411 8000 00000003") + b"abc"
    assert encode_head(0x0411, 3, REQUESTED_ACK) + b"abc" == frame


@given(FRAMES, st.lists(st.integers(0, 400)))
def test_a_stream_may_be_cut_anywhere(frames: list[ServiceFrame], cuts: list[int]) -> None:
    """Goal: pieces do not matter. How: cut the same bytes at drawn places."""
    stream = b"".join(encode_frame(kind, payload, flags) for kind, flags, payload in frames)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    decoder, found = FrameDecoder(40), list[ServiceFrame]()
    for start, end in pairwise(places):
        found += decoder.receive(stream[start:end])
    assert found == frames
    assert decoder.is_between_frames


@pytest.mark.parametrize("missing", range(1, 11))
def test_a_stream_that_stops_within_a_frame_is_noticed(missing: int) -> None:
    """Goal: a broken stream is told from one that ended. How: leave out bytes at the end."""
    decoder = FrameDecoder(100)
    assert list(decoder.receive(encode_frame(3, b"abc")[:-missing])) == []
    assert not decoder.is_between_frames


def test_an_announced_length_is_refused_before_it_is_there() -> None:
    """Goal: a number fills no memory. How: a header only, behind a good frame; then more bytes."""
    decoder = FrameDecoder(5)
    frames = decoder.receive(encode_frame(1, b"12345") + encode_head(2, 6) + b"1")
    assert next(frames).payload == b"12345"
    with pytest.raises(MessageTooLarge, match="0x0002 and 6 bytes: at most 5"):
        next(frames)
    with pytest.raises(MalformedMessage, match="given up"):
        list(decoder.receive(b"23456"))
