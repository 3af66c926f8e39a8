"""Rows that were written a moment ago and are about to be read: invocations, and the numbers of
writers.

    record 1 ─▶ write invocation ─▶ read it to run it ─▶ read it for its report ─▶ write it …

A read of RocksDB costs as much as the rest of such a step. Only rows that are read one by one are
kept, only small ones, and the oldest go first; what is not here is in the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from restate_node.protocol.partition.invocation_table import INVOCATION
from restate_node.protocol.partition.tables import DEDUP, Mutation

ROWS_MAX: Final = 512
ROW_BYTES_MAX: Final = 1024
KINDS: Final = (INVOCATION, DEDUP)


class RecentRows:
    """Of one store; told of all that is written to it."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """The row as it is; None when it is not known here."""
        return self._rows.get(key)

    def note(self, mutations: Iterable[Mutation]) -> None:
        """These were written."""
        rows = self._rows
        for key, value in mutations:
            if not key.startswith(KINDS):
                continue
            rows.pop(key, None)
            if value is not None and len(value) <= ROW_BYTES_MAX:
                rows[key] = value
        while len(rows) > ROWS_MAX:
            del rows[next(iter(rows))]
