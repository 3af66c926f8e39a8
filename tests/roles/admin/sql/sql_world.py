"""Rows to query, and queries of them: what the tests of SQL share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from restate_node.roles.admin.sql.engine import QueryEngine, QueryLimits
from restate_node.roles.admin.sql.forms import Format
from restate_node.roles.admin.sql.sources import (
    KnownRows,
    Missing,
    Restriction,
    RowScan,
    RowsUnavailable,
)
from restate_node.types.introspection import USER_TABLES, Column, ColumnType, Table

HERE = Path(__file__).parent
CAPTURED_ROWS: Mapping[str, list[dict[str, Any]]] = json.loads(
    (HERE / "captured_rows.json").read_text()
)
"""By table, as a Restate 1.7 node told them in JSON."""
CAPTURED_QUERIES: list[dict[str, str]] = json.loads((HERE / "captured_queries.json").read_text())
"""What the `restate` command asked that node, with the command line that made it ask."""


def stored(column: Column, told: Any) -> Any:
    """The value of a row of which JSON tells this."""
    if told is None:
        return None
    match column.type:
        case ColumnType.TIME:
            return round(datetime.fromisoformat(told).timestamp() * 1000)
        case ColumnType.DURATION:
            return int(told.removeprefix("PT").removesuffix("S")) * 1000
        case ColumnType.BYTES:
            return bytes.fromhex(told)
        case _:
            return told


def captured_rows(table: Table) -> list[list[Any]]:
    return [
        [stored(column, row.get(column.name)) for column in table.columns]
        for row in CAPTURED_ROWS[table.name]
    ]


class CapturedRows:
    """The captured rows as a source that remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Restriction]] = []

    def open(self, table: Table, restriction: Restriction) -> RowScan:
        self.asked.append((table.name, restriction))
        return KnownRows(captured_rows(table))


class Portions:
    """A source, and its only scan, that gives these portions of rows; then it fails, if told so."""

    missing: Sequence[Missing] = ()

    def __init__(self, *portions: list[list[Any]], failure: str | None = None) -> None:
        self.left = list(portions)
        self.failure = failure

    def open(self, table: Table, restriction: Restriction) -> RowScan:
        return self

    async def next_rows(self) -> list[list[Any]] | None:
        if self.left:
            return self.left.pop(0)
        if self.failure is not None:
            raise RowsUnavailable(self.failure)
        return None


def engine_of(source: Any, **limits: Any) -> QueryEngine:
    return QueryEngine(USER_TABLES, source, QueryLimits(**limits))


async def whole(engine: QueryEngine, sql: str, form: Format = Format.JSON) -> bytes:
    return b"".join([chunk async for chunk in engine.query(sql, form)])


async def rows_of(engine: QueryEngine, sql: str) -> list[dict[str, Any]]:
    return json.loads(await whole(engine, sql))["rows"]
