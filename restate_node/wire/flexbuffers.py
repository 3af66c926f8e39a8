"""Reads FlexBuffers, the schema-less binary format in which Restate's own tools write metadata.

A value is read from its end: the last byte is the width of the root, the byte before it the
root's type, then the root itself. Scalars stand in place; everything else is an unsigned distance
*back* to where it lies:

    vector         [size] elements…, one type byte for each
    typed vector   [size] elements…
    fixed vector   elements… (2, 3 or 4 of them)
    map            [distance to keys] [width of keys], then as a vector
    string         [size] bytes
    key            bytes, NUL

The `flatbuffers` package has a reader, but it trusts its input: distances wrap around to the
other end of the buffer, sizes are believed, and every key search copies the rest of the buffer.
Metadata comes from the network, so this reader checks every position, bounds depth and the number
of values (shared references could otherwise unfold without end), and fails with one exception
only.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

FlexValue: TypeAlias = (
    "bool | int | float | str | bytes | list[FlexValue] | dict[str, FlexValue] | None"
)

DEPTH_MAX = 32
"""Levels of nesting."""
VALUES_MAX = 4_000_000
"""Values in one buffer, keys included."""

_NULL, _INT, _UINT, _FLOAT, _KEY, _STRING = range(6)
_INDIRECT_INT, _INDIRECT_UINT, _INDIRECT_FLOAT, _MAP, _VECTOR = range(6, 11)
_VECTOR_INT, _VECTOR_STRING = 11, 15
_FIXED_FIRST, _FIXED_LAST = 16, 24
_BLOB, _BOOL, _VECTOR_BOOL = 25, 26, 36

_INT_FORMAT: Final = {1: "<b", 2: "<h", 4: "<i", 8: "<q"}
_FLOAT_FORMAT: Final = {4: "<f", 8: "<d"}


class FlexError(ValueError):
    """The bytes are not a FlexBuffer, or exceed a limit of this reader."""


def read_flexbuffer(data: bytes) -> FlexValue:
    """The root value; FlexError for anything that is not one."""
    if len(data) < 3:
        raise FlexError(f"a flexbuffer has at least 3 bytes, this one {len(data)}")
    width, packed = data[-1], data[-2]
    if width not in _INT_FORMAT:
        raise FlexError(f"the root is {width} bytes wide; expected 1, 2, 4 or 8")
    return _Reader(data).value(len(data) - 2 - width, width, packed, DEPTH_MAX)


class _Reader:
    """One pass over one buffer; counts what it has read."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._values_left = min(VALUES_MAX, 16 + 4 * len(data))
        self._keys: dict[int, str] = {}

    def value(self, at: int, width: int, packed: int, depth: int) -> FlexValue:
        """The value whose slot of `width` bytes is at `at`."""
        self._spend(1)
        kind, own_width = packed >> 2, 1 << (packed & 3)
        if kind <= _FLOAT or kind == _BOOL:
            return self._scalar(kind, at, width)
        return self._referred(kind, self._follow(at, width), own_width, depth - 1)

    def _scalar(self, kind: int, at: int, width: int) -> FlexValue:
        if kind == _NULL:
            return None
        if kind == _BOOL:
            return self._unsigned(at, width) != 0
        if kind == _UINT:
            return self._unsigned(at, width)
        formats = _INT_FORMAT if kind == _INT else _FLOAT_FORMAT
        if width not in formats:
            raise FlexError(f"a number of kind {kind} cannot be {width} bytes wide")
        return struct.unpack(formats[width], self._bytes(at, width))[0]

    def _referred(self, kind: int, at: int, width: int, depth: int) -> FlexValue:
        if depth < 0:
            raise FlexError(f"nested deeper than {DEPTH_MAX} levels")
        if kind == _STRING:
            return _text(self._sized(at, width))
        if kind == _MAP:
            return self._map(at, width, depth)
        if kind == _VECTOR:
            return self._vector(at, width, depth)
        if kind == _KEY:
            return self._key(at)
        if kind == _BLOB:
            return self._sized(at, width)
        if kind in (_INDIRECT_INT, _INDIRECT_UINT, _INDIRECT_FLOAT):
            return self._scalar(kind - _INDIRECT_INT + _INT, at, width)
        return self._typed(kind, at, width)

    def _typed(self, kind: int, at: int, width: int) -> FlexValue:
        if _FIXED_FIRST <= kind <= _FIXED_LAST:
            sort = kind - _FIXED_FIRST
            return self._same(sort % 3 + _INT, at, width, sort // 3 + 2)
        if kind == _VECTOR_BOOL:
            return self._same(_BOOL, at, width, self._size(at, width))
        if _VECTOR_INT <= kind <= _VECTOR_STRING:
            element = kind - _VECTOR_INT + _INT
            return self._same(element, at, width, self._size(at, width))
        raise FlexError(f"unknown type {kind}")

    def _same(self, element: int, at: int, width: int, size: int) -> FlexValue:
        self._spend(size)
        slots = range(at, at + size * width, width)
        if element in (_KEY, _STRING):
            return [self._key(self._follow(slot, width)) for slot in slots]
        return [self._scalar(element, slot, width) for slot in slots]

    def _vector(self, at: int, width: int, depth: int) -> list[FlexValue]:
        size = self._size(at, width)
        types = self._bytes(at + size * width, size)
        return [self.value(at + i * width, width, packed, depth) for i, packed in enumerate(types)]

    def _map(self, at: int, width: int, depth: int) -> dict[str, FlexValue]:
        keys_at = self._follow(at - 3 * width, width)
        keys_width = self._unsigned(at - 2 * width, width)
        if keys_width not in _INT_FORMAT:
            raise FlexError(f"map keys are {keys_width} bytes wide; expected 1, 2, 4 or 8")
        size = self._size(at, width)
        if self._size(keys_at, keys_width) != size:
            raise FlexError("a map has not as many keys as values")
        values = self._vector(at, width, depth)
        self._spend(size)
        slots = range(keys_at, keys_at + size * keys_width, keys_width)
        keys = [self._key(self._follow(slot, keys_width)) for slot in slots]
        return dict(zip(keys, values, strict=True))

    def _key(self, at: int) -> str:
        known = self._keys.get(at)
        if known is None:
            end = self._data.find(b"\0", at)
            if end < 0:
                raise FlexError("a key has no end")
            known = self._keys[at] = _text(self._bytes(at, end - at))
            self._spend((end - at) // 8)
        return known

    def _sized(self, at: int, width: int) -> bytes:
        size = self._unsigned(at - width, width)
        found = self._bytes(at, size)
        self._spend(size // 8)  # one long string, referred to often, must not unfold either
        return found

    def _size(self, at: int, width: int) -> int:
        size = self._unsigned(at - width, width)
        self._bytes(at, size * width)
        return size

    def _follow(self, at: int, width: int) -> int:
        return at - self._unsigned(at, width)

    def _unsigned(self, at: int, width: int) -> int:
        return int.from_bytes(self._bytes(at, width), "little")

    def _bytes(self, at: int, length: int) -> bytes:
        if at < 0 or at + length > len(self._data):
            raise FlexError(f"position {at} (+{length}) lies outside of {len(self._data)} bytes")
        return self._data[at : at + length]

    def _spend(self, values: int) -> None:
        self._values_left -= values
        if self._values_left < 0:
            raise FlexError("more values than so many bytes can hold")


def _text(encoded: bytes) -> str:
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        raise FlexError(f"a string is not UTF-8: {error}") from error
