"""Rows as Arrow record batches, and the Arrow types of columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from restate_node.roles.admin.sql.arrow import DataType, RecordBatch, Schema, pa
from restate_node.types.introspection import Column, ColumnType, Table

_UTC = "+00:00"
_NARROW: Mapping[ColumnType, Any] = {
    ColumnType.TEXT: pa.string(),
    ColumnType.BYTES: pa.binary(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.UINT32: pa.uint32(),
    ColumnType.UINT64: pa.uint64(),
    ColumnType.TIME: pa.timestamp("ms", _UTC),
    ColumnType.DURATION: pa.duration("ms"),
    ColumnType.TEXTS: pa.list_(pa.string()),
    ColumnType.UINT32S: pa.list_(pa.uint32()),
}
_WIDE: Mapping[ColumnType, Any] = {
    ColumnType.TEXT: pa.large_string(),
    ColumnType.BYTES: pa.large_binary(),
    ColumnType.TEXTS: pa.list_(pa.large_string()),
}


def type_of(column: Column, is_wide: bool) -> DataType:
    """The Arrow type of a column."""
    return (_WIDE if is_wide else _NARROW).get(column.type, _NARROW[column.type])


def schema_of(table: Table) -> Schema:
    """The Arrow schema of a table."""
    return pa.schema([(c.name, type_of(c, table.is_wide)) for c in table.columns])


def batch_of(table: Table, rows: Sequence[Sequence[Any]], names: frozenset[str]) -> RecordBatch:
    """These columns of the rows, at least one, as a batch.

    A node of another release may send fewer columns, or more: they are only ever appended.
    """
    wanted = [(at, c) for at, c in enumerate(table.columns) if c.name in names]
    wanted = wanted or [(0, table.columns[0])]
    arrays = [
        pa.array([row[at] if at < len(row) else None for row in rows], type_of(c, table.is_wide))
        for at, c in wanted
    ]
    return pa.RecordBatch.from_arrays(arrays, names=[column.name for _, column in wanted])
