"""Bytes to bytes in key order: a dict for values, a sorted list for keys.

A tree would be faster for millions of rows; a simulation has thousands, mostly appended, and
inserting into a list is one memory move. Every change returns what it replaced, so that a crash
can take it back.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

Row = tuple[bytes, bytes]


class SortedMap:
    """An ordered map that says what each change replaced."""

    __slots__ = ("_keys", "_values")

    def __init__(self) -> None:
        self._keys: list[bytes] = []
        self._values: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, key: bytes) -> bytes | None:
        return self._values.get(key)

    def put(self, key: bytes, value: bytes) -> bytes | None:
        """Returns the former value."""
        former = self._values.get(key)
        if former is None:
            self._insert(key)
        self._values[key] = value
        return former

    def _insert(self, key: bytes) -> None:
        if not self._keys or key > self._keys[-1]:
            self._keys.append(key)
        else:
            insort(self._keys, key)

    def delete(self, key: bytes) -> bytes | None:
        """Returns the former value."""
        former = self._values.pop(key, None)
        if former is not None:
            del self._keys[bisect_left(self._keys, key)]
        return former

    def rows(self, start: bytes, end: bytes, rows_max: int, *, reverse: bool) -> Iterator[Row]:
        """The first rows of `[start, end)`, or the last ones backwards. Read at once."""
        first, last = bisect_left(self._keys, start), bisect_left(self._keys, end)
        if reverse:
            keys = self._keys[max(first, last - rows_max) : last][::-1]
        else:
            keys = self._keys[first : min(last, first + rows_max)]
        return ((key, self._values[key]) for key in keys)

    def delete_range(self, start: bytes, end: bytes) -> list[Row]:
        """Returns the rows that were in `[start, end)`."""
        first, last = bisect_left(self._keys, start), bisect_left(self._keys, end)
        if first >= last:
            return []
        rows = [(key, self._values.pop(key)) for key in self._keys[first:last]]
        del self._keys[first:last]
        return rows

    def key_at(self, index: int) -> bytes:
        return self._keys[index]
