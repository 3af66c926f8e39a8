"""Frames and what they carry: round trips, and decoders that garbage cannot surprise."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from restate_node.types.decoding import UNDECODABLE
from restate_node.types.fabric import Hello, Refused, Welcome
from restate_node.types.ids import GenerationalNodeId, PlainNodeId
from restate_node.types.metadata import MetadataVersions
from restate_node.wire import rpc_catalog
from restate_node.wire.frames import (
    FrameKind,
    MalformedFrame,
    decode_frame,
    decode_handshake,
    decode_versions,
    encode_call,
    encode_handshake,
    encode_reply,
    encode_versions,
)

U16 = st.integers(0, 2**16 - 1)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)


@given(U64, U16, st.binary(min_size=16, max_size=16), st.binary(max_size=64))
def test_frames_round_trip(rpc_id: int, code: int, versions: bytes, payload: bytes) -> None:
    """Goal: whatever is put into a call or a reply comes out again."""
    for kind, encode in ((FrameKind.CALL, encode_call), (FrameKind.REPLY, encode_reply)):
        frame = decode_frame(encode(rpc_id, code, versions, payload))
        assert (frame.kind, frame.rpc_id, frame.code) == (kind, rpc_id, code)
        assert (frame.versions, bytes(frame.payload)) == (versions, payload)


@given(U32, U32, U32, U32)
def test_versions_round_trip(a: int, b: int, c: int, d: int) -> None:
    """Goal: four versions in, four out."""
    versions = MetadataVersions(a, b, c, d)
    assert decode_versions(encode_versions(versions)) == versions


@pytest.mark.parametrize(
    "message",
    [
        Hello(1, "c", 7, GenerationalNodeId(PlainNodeId(1), 2), 3),
        Hello(1, "c", 0, None, 0),
        Welcome(1, 7, GenerationalNodeId(PlainNodeId(1), 2)),
        Refused("no"),
    ],
)
def test_handshakes_round_trip(message: Hello | Welcome | Refused) -> None:
    """Goal: each kind of greeting comes back as it was."""
    assert decode_handshake(encode_handshake(message)) == message


MSGPACK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
).map(msgspec.msgpack.encode)
GARBAGE = st.binary(max_size=200) | MSGPACK


@given(GARBAGE)
def test_garbage_is_a_malformed_frame_and_nothing_else(raw: bytes) -> None:
    """Goal: no byte string makes the decoders raise anything but MalformedFrame."""
    for decode in (decode_frame, decode_handshake):
        with contextlib.suppress(MalformedFrame):
            decode(raw)


@given(GARBAGE)
@example(b"\x91\xa1\x80")
def test_garbage_is_a_decode_error_of_every_message_and_nothing_else(raw: bytes) -> None:
    """Goal: requests and answers of the whole catalog refuse garbage with what all of them
    catch, and nothing else. The example is a text that is no UTF-8.
    """
    for method in rpc_catalog.METHODS:
        for decode in (method.request_decoder, method.reply_decoder):
            try:
                if decode is not None:
                    decode.decode(raw)
            except UNDECODABLE:
                pass
