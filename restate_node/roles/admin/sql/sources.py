"""Where the rows of a query come from.

    table + restriction ─▶ RowSource.open ─▶ RowScan ─▶ some rows, some rows, …, None

A restriction says which values certain columns must have. A source may use it to read less, and
MUST still give out every row that meets it; rows that do not meet it are dropped by the reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from restate_node.types.introspection import Table


@dataclass(frozen=True, slots=True)
class Restriction:
    """The only values that the columns of a table can have in rows that count. None: any."""

    ids: frozenset[str] | None = None
    services: frozenset[str] | None = None
    keys: frozenset[str] | None = None
    partition_keys: frozenset[int] | None = None


UNRESTRICTED = Restriction()


class RowsUnavailable(Exception):
    """A part of the rows cannot be read now. The message says why; try again later."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A node whose rows are not in the answer, and why."""

    node: str
    reason: str


class RowScan(Protocol):
    """One pass over a table."""

    @property
    def missing(self) -> Sequence[Missing]:
        """Who could not be asked, if that is no failure; complete at the end of the scan."""
        ...

    async def next_rows(self) -> list[list[Any]] | None:
        """At least one row, or None at the end. Raises RowsUnavailable.

        Cancellation ends the scan: it MUST NOT be used afterwards.
        """
        ...


class RowSource(Protocol):
    """The rows of all tables of a catalog."""

    def open(self, table: Table, restriction: Restriction) -> RowScan:
        """Begin a pass. Raises RowsUnavailable."""
        ...


class KnownRows:
    """A scan of rows that are in memory already."""

    missing: Sequence[Missing] = ()

    def __init__(self, rows: list[list[Any]]) -> None:
        self._rows = rows

    async def next_rows(self) -> list[list[Any]] | None:
        rows, self._rows = self._rows, []
        return rows or None
