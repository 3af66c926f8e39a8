"""GOAWAY frames are taken out of a stream of bytes, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restate_node.runtime.http2_goaway import FrameTooLarge, Goaway, GoawayFilter


def frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, 0)) + b"\0\0\0\1" + payload


def goaway(last_stream_id: int, code: int, text: bytes = b"") -> bytes:
    return frame(7, last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + text)


FRAMES = st.lists(
    st.one_of(
        st.builds(lambda payload: (frame(0, payload), None), st.binary(max_size=30)),
        st.builds(
            lambda last, code: (goaway(last, code, b"bye"), Goaway(last, code, "bye")),
            st.integers(0, 2**31 - 1),
            st.integers(0, 20),
        ),
    ),
    max_size=8,
)


@given(frames=FRAMES, cuts=st.lists(st.integers(1, 12), max_size=80))
def test_any_frames_in_any_pieces(
    frames: list[tuple[bytes, Goaway | None]], cuts: list[int]
) -> None:
    """Goal: nothing but GOAWAY is missing, nothing is reordered. Method: random frames, cut at
    random places.
    """
    wire = b"".join(data for data, _ in frames)
    passing = b"".join(data for data, leaving in frames if leaving is None)
    told = [leaving for _, leaving in frames if leaving is not None]
    sieve, position = GoawayFilter(), 0
    visible, found = b"", []
    for size in [*cuts, len(wire)]:
        data, leaving = sieve.feed(wire[position : position + size])
        position += size
        visible += data
        found += leaving
    assert (visible, found) == (passing, told)


def test_short_goaway_says_nothing_was_done() -> None:
    """Goal: a damaged farewell is still one. Method: a payload of three bytes."""
    assert GoawayFilter().feed(frame(7, b"abc")) == (b"", [Goaway(0, 0, "")])


def test_frame_above_the_standard_is_refused_at_its_header() -> None:
    """Goal: text of another protocol is not waited for. Method: what an HTTP/1.1 server says."""
    with pytest.raises(FrameTooLarge):
        GoawayFilter().feed(b"HTTP/1.1 400 Bad Request")
