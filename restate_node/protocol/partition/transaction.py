"""Rows as they will be: what was read from the store, and over it what this transaction changes.

    store  a=1  b=2  c=3
    over        b=∅       d=4
    scan   a=1       c=3  d=4

Many records are applied in one transaction, and each must see what those before it did. The store
sees the result only, in one write.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from restate_node.protocol.partition.tables import Mutation, TableReader


class Transaction:
    """A TableReader over another one; collects mutations until it is committed."""

    __slots__ = ("_base", "_changes", "_keys", "size_bytes")

    def __init__(self, base: TableReader) -> None:
        self._base = base
        self._changes: dict[bytes, bytes | None] = {}
        self._keys: list[bytes] = []
        self.size_bytes = 0
        """Bytes put into it, of rows overwritten since too."""

    def put(self, mutations: Iterable[Mutation]) -> None:
        """Change rows; visible to reads at once."""
        for mutation in mutations:
            if mutation.key not in self._changes:
                insort(self._keys, mutation.key)
            self._changes[mutation.key] = mutation.value
            self.size_bytes += len(mutation.key) + len(mutation.value or b"")

    def mutations(self) -> list[Mutation]:
        """What to write, one mutation per changed row, in key order."""
        return [Mutation(key, self._changes[key]) for key in self._keys]

    def get(self, key: bytes) -> bytes | None:
        if key in self._changes:
            return self._changes[key]
        return self._base.get(key)

    def scan(self, start: bytes, end: bytes, *, rows_max: int) -> list[tuple[bytes, bytes]]:
        """Rows of `[start, end)`; skips what this transaction has deleted."""
        while True:
            stored = self._base.scan(start, end, rows_max=rows_max)
            # The store may have stopped early, at a limit: above its last row nothing is known.
            covered = stored[-1][0] + b"\x00" if stored else end
            found = self._merged(stored, start, covered)
            if found or not stored:
                return found[:rows_max]
            start = covered

    def _merged(
        self, stored: list[tuple[bytes, bytes]], start: bytes, end: bytes
    ) -> list[tuple[bytes, bytes]]:
        first, last = bisect_left(self._keys, start), bisect_left(self._keys, end)
        if first == last:
            return stored
        rows: dict[bytes, bytes | None] = dict(stored)
        for key in self._keys[first:last]:
            rows[key] = self._changes[key]
        return [(key, value) for key, value in sorted(rows.items()) if value is not None]
