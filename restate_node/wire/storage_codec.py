"""The frame around every metadata object: one byte that names the encoding, then the object.

    02 <length, u32 little-endian> <flexbuffer>      what Restate's own servers and tools write
    05 <JSON text until the end>                     what we write: a hundred times faster to make

Both are read everywhere; the shape of the value is the same. Encodings 1, 3, 6 and 7 exist but no
metadata object uses them. A *shape* here is a `msgspec.Struct` that mirrors the JSON; the modules
`nodes`, `logs` and `partitions` turn shapes into the values of `types`.

Invariant: whatever the bytes, decoding returns a value or raises CodecError. Unknown fields are
ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

from restate_node.types.ids import Version
from restate_node.wire.flexbuffers import FlexError, read_flexbuffer

BLOB_BYTES_MAX = 64 * 1024 * 1024
"""Size of one metadata object."""

_FLEXBUFFERS = 2
_JSON = 5
_LENGTH_BYTES = 4

U16 = Annotated[int, msgspec.Meta(ge=0, le=(1 << 16) - 1)]
U32 = Annotated[int, msgspec.Meta(ge=0, le=(1 << 32) - 1)]
U63 = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
"""LSNs and timestamps never reach the top bit; keys and fingerprints may: see `u64`."""

Shape = TypeVar("Shape")
Value = TypeVar("Value")


class CodecError(ValueError):
    """The bytes are not the expected object. Do not retry: the writer is at fault."""


def decode_shape(data: bytes, shape: type[Shape]) -> Shape:
    """Decode either encoding and check it against `shape`."""
    codec, body = _frame(data)
    try:
        if codec == _JSON:
            return msgspec.json.decode(body, type=shape)
        return msgspec.convert(read_flexbuffer(body), type=shape)
    except (msgspec.MsgspecError, FlexError, RecursionError, UnicodeDecodeError) as error:
        raise CodecError(f"metadata object cannot be decoded: {error}") from error


def decode_object(data: bytes, shape: type[Shape], build: Callable[[Shape], Value]) -> Value:
    """Decode, check, and build the value; a ValueError of the builder becomes a CodecError."""
    return built(decode_shape(data, shape), build)


def decode_text(text: str, shape: type[Shape], build: Callable[[Shape], Value]) -> Value:
    """The same for JSON inside a string, without a frame."""
    try:
        decoded = msgspec.json.decode(text, type=shape)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise CodecError(f"metadata object cannot be decoded: {error}") from error
    return built(decoded, build)


def built(shape: Shape, build: Callable[[Shape], Value]) -> Value:
    """Apply a builder; its ValueErrors become CodecErrors."""
    try:
        return build(shape)
    except CodecError:
        raise
    except (ValueError, OverflowError) as error:
        raise CodecError(f"metadata object is inconsistent: {error}") from error


def u64(value: int) -> int:
    """The value if it fits in 64 bits; ValueError if not."""
    if not 0 <= value < 1 << 64:
        raise ValueError(f"{value} is not a 64-bit number")
    return value


def decode_any(data: bytes) -> dict[str, Any]:
    """Decode an object of any kind to plain dicts and lists."""
    return decode_shape(data, dict[str, Any])


def encode_shape(shape: msgspec.Struct | dict[str, Any]) -> bytes:
    """The JSON frame."""
    return bytes((_JSON,)) + msgspec.json.encode(shape)


class _Versioned(msgspec.Struct):
    version: int


def decode_version(data: bytes) -> Version:
    """The version inside an object of any kind."""
    return Version(decode_shape(data, _Versioned).version)


def _frame(data: bytes) -> tuple[int, bytes]:
    if not data:
        raise CodecError("metadata object is empty; expected a codec byte")
    if len(data) > BLOB_BYTES_MAX:
        raise CodecError(f"metadata object has {len(data)} bytes; the limit is {BLOB_BYTES_MAX}")
    if data[0] == _JSON:
        return _JSON, data[1:]
    if data[0] != _FLEXBUFFERS:
        raise CodecError(
            f"metadata object has codec {data[0]}; expected 2 (flexbuffers) or 5 (JSON)"
        )
    start = 1 + _LENGTH_BYTES
    length = int.from_bytes(data[1:start], "little")
    if len(data) < start + length:
        raise CodecError(
            f"metadata object is cut: {length} bytes announced, {len(data) - start} came"
        )
    return _FLEXBUFFERS, data[start : start + length]
