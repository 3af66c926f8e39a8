"""A table as DataFusion takes it: something that looks like a pyarrow data set of one fragment.

    DataFusion ─▶ get_fragments(filter) ─▶ scanner(columns, filter) ─▶ to_batches() ─▶ batches
                                                                           │
                      the loop: RowSource.open, RowScan.next_rows ◀────────┘ this thread waits

Rows are fetched while the query runs, so a `limit` reads little and a `count(*)` keeps nothing.
DataFusion leaves to a scan whatever part of the filter it could express, and does not look at it
again: every batch is filtered here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from restate_node.roles.admin.sql.arrow import RecordBatch, Schema, ds, pa
from restate_node.roles.admin.sql.arrow_tables import batch_of, schema_of
from restate_node.roles.admin.sql.pushdown import restriction_of
from restate_node.roles.admin.sql.sources import Restriction
from restate_node.types.introspection import Table

ReadTable = Callable[[Table, Restriction], Iterator[list[list[Any]]]]
"""Rows of a table in portions, for a thread that may wait."""


class TableDataset(ds.Dataset):  # pyright: ignore[reportUntypedBaseClass]
    """One table during one query."""

    def __init__(self, table: Table, read: ReadTable) -> None:  # the base has no initialiser
        self._table = table
        self._read = read
        self._schema = schema_of(table)

    @property
    def schema(self) -> Schema:
        return self._schema

    def get_fragments(self, filter: Any = None) -> list[TableDataset]:
        """The table is its only fragment."""
        return [self]

    @property
    def physical_schema(self) -> Schema:
        return self._schema

    def scanner(
        self, schema: Any = None, columns: list[str] | None = None, filter: Any = None, **_: Any
    ) -> TableScanner:
        """A pass over these columns of the rows that the filter lets pass."""
        return TableScanner(self._table, self._schema, self._read, columns, filter)


class TableScanner:
    """One pass."""

    def __init__(
        self,
        table: Table,
        schema: Schema,
        read: ReadTable,
        columns: list[str] | None,
        expression: Any,
    ) -> None:
        self.dataset_schema = schema
        self._table = table
        self._read = read
        self._columns = list(table.names) if columns is None else columns
        self._expression = expression

    @property
    def projected_schema(self) -> Schema:
        return pa.schema([self.dataset_schema.field(name) for name in self._columns])

    def to_batches(self) -> Iterator[RecordBatch]:
        """What passes, in the order of the source. Raises what the source raises."""
        restriction = restriction_of(self._table, self.dataset_schema, self._expression)
        mentioned = str(self._expression)
        names = {name for name in self._table.names if name in mentioned}.union(self._columns)
        for rows in self._read(self._table, restriction):
            found = pa.Table.from_batches([batch_of(self._table, rows, frozenset(names))])
            if self._expression is not None:
                found = found.filter(self._expression)
            yield from found.select(self._columns).to_batches()
