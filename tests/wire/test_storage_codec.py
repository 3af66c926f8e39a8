"""The frame and the flexbuffer reader: captured objects, hostile bytes, limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flatbuffers import flexbuffers
from hypothesis import given, settings
from hypothesis import strategies as st

from restate_node.types.ids import PartitionId
from restate_node.wire.flexbuffers import DEPTH_MAX, FlexError, read_flexbuffer
from restate_node.wire.logs import decode_chain, decode_logs
from restate_node.wire.metadata_keys import epoch_metadata_key, partition_of_key
from restate_node.wire.nodes import decode_nodes_configuration
from restate_node.wire.partitions import decode_epoch_metadata, decode_partition_table
from restate_node.wire.schema import decode_schema
from restate_node.wire.storage_codec import (
    CodecError,
    decode_any,
    decode_version,
    encode_shape,
)

BLOBS = Path(__file__).parent / "blobs"
CAPTURED = sorted(path.stem for path in BLOBS.glob("*.bin"))
DECODERS = (
    decode_any,
    decode_nodes_configuration,
    decode_logs,
    decode_chain,
    decode_partition_table,
    decode_epoch_metadata,
    decode_schema,
)


def framed(value: Any) -> bytes:
    """A flexbuffers frame made by an independent encoder."""
    body = bytes(flexbuffers.Dumps(value))
    return b"\x02" + len(body).to_bytes(4, "little") + body


@pytest.mark.parametrize("name", CAPTURED)
def test_captured_flexbuffers_read_as_their_json(name: str) -> None:
    """Goal: every captured object is read exactly.

    Method: compare with the JSON that came with it.
    """
    expected = json.loads((BLOBS / f"{name}.json").read_text())
    data = (BLOBS / f"{name}.bin").read_bytes()
    assert decode_any(data) == expected
    assert decode_any(data + b"what follows is not ours") == expected
    assert decode_any(encode_shape(expected)) == expected


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(-1e38, 1e38)
    | st.text(max_size=300)
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text("abcXYZ_", max_size=6), inner, max_size=5)
    ),
    max_leaves=25,
)


@settings(deadline=None)
@given(VALUES)
def test_reads_what_another_encoder_writes(value: Any) -> None:
    """Goal: the reader agrees with an independent encoder. Method: any nested value."""
    assert read_flexbuffer(bytes(flexbuffers.Dumps(value))) == value


@pytest.mark.parametrize("elements", [[], [0], [1, 2], [1, 2, 3], [1, 2, 3, 4], [1 << 63] * 9])
def test_reads_typed_vectors(elements: list[int]) -> None:
    """Goal: vectors without type bytes, sized and fixed. Method: one of each length."""
    builder = flexbuffers.Builder()
    if 2 <= len(elements) <= 4:
        builder.FixedTypedVectorFromElements(elements)
    else:
        with builder.TypedVector():
            for element in elements:
                builder.UInt(element)
    assert read_flexbuffer(bytes(builder.Finish())) == elements


def test_reads_indirect_scalars_and_key_vectors() -> None:
    """Goal: the rarer types of the format. Method: one value of each."""
    builder = flexbuffers.Builder()
    with builder.Vector():
        builder.IndirectInt(-70000)
        builder.IndirectUInt(1 << 63)
        builder.IndirectFloat(1.5)
        builder.Key("key")
        builder.TypedVectorFromElements([True, False])
        with builder.TypedVector():
            builder.Key("a")
            builder.Key("b")
    expected = [-70000, 1 << 63, 1.5, "key", [True, False], ["a", "b"]]
    assert read_flexbuffer(bytes(builder.Finish())) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        b"\x02\x03\x00",
        b"\x02\x00\x00\x00\x00",
        b"\x02\x03\x00\x00\x00\x01\x04",
        b"\x00abc",
        b"\x01abc",
        b"{}",
        b"\x05",
        b"\x05{",
        b"\x05[]",
        b'\x05{"a": \xff}',
        b"\x05" + b"[" * 100_000,
        framed([1, 2]),
    ],
)
def test_bad_frames_are_refused(data: bytes) -> None:
    """Goal: no frame error escapes as something else. Method: table, through every decoder."""
    for decode in DECODERS:
        with pytest.raises(CodecError):
            decode(data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x02", b"\x05"]), st.booleans())
def test_random_bytes_raise_codec_error_only(body: bytes, codec: bytes, sized: bool) -> None:
    """Goal: hostile bytes cannot break a node.

    Method: any bytes, with and without a right length.
    """
    length = len(body).to_bytes(4, "little") if sized else b""
    for decode in DECODERS:
        try:
            decode(codec + length + body)
        except CodecError:
            continue


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_mutated_objects_raise_codec_error_only(data: st.DataObject) -> None:
    """Goal: damage never surfaces as another exception.

    Method: overwrite bytes of captured objects.
    """
    name = data.draw(st.sampled_from(CAPTURED))
    damaged = bytearray((BLOBS / f"{name}.bin").read_bytes())
    position = st.integers(5, len(damaged) - 1)
    for at, byte in data.draw(st.lists(st.tuples(position, st.integers(0, 255)), max_size=8)):
        damaged[at] = byte
    for decode in DECODERS:
        try:
            decode(bytes(damaged))
        except CodecError:
            continue


@pytest.mark.parametrize("kind", [4, 5, 6, 9, 10, 11, 16, 25])
@pytest.mark.parametrize("distance", [3, 200, 255])
def test_positions_before_the_buffer_are_refused(kind: int, distance: int) -> None:
    """Goal: no distance wraps around to the end. Method: each referring type, too far back."""
    with pytest.raises(FlexError, match=r"lies outside|no end"):
        read_flexbuffer(bytes([0, 0, distance, kind << 2, 1]))


def test_depth_is_bounded() -> None:
    """Goal: nesting cannot exhaust the stack. Method: one level below the limit, and far above."""
    deep: Any = 1
    for _ in range(DEPTH_MAX):
        deep = [deep]
    assert read_flexbuffer(bytes(flexbuffers.Dumps(deep))) == deep
    for _ in range(30):
        deep = [deep]
    with pytest.raises(FlexError, match="nested deeper"):
        read_flexbuffer(bytes(flexbuffers.Dumps(deep)))


def test_shared_references_cannot_unfold_without_end() -> None:
    """Goal: a small buffer costs little.

    Method: thirty vectors, each naming the one before twice.
    """
    vector = 10 << 2
    data = bytearray([1, 7, 2 << 2])
    previous = 1
    for _ in range(30):
        data.append(2)
        start = len(data)
        data += bytes([start - previous, start + 1 - previous, vector, vector])
        previous = start
    data += bytes([len(data) - previous, vector, 1])
    with pytest.raises(FlexError, match="more values"):
        read_flexbuffer(bytes(data))


def test_version_and_keys() -> None:
    """Goal: the small helpers. Method: read back what is written."""
    assert decode_version((BLOBS / "unprov.GetMetadata.schema.bin").read_bytes()) == 0
    with pytest.raises(CodecError):
        decode_version(framed({"version": "1"}))
    assert partition_of_key(epoch_metadata_key(PartitionId(12))) == 12
    assert [partition_of_key(k) for k in ("nodes_config", "pp_epoch_", "pp_epoch_x")] == [None] * 3
