"""The tables that people query: their columns are an interface."""

from __future__ import annotations

from pathlib import Path

import pytest

from restate_node.types.cluster_tables import CLUSTER_TABLES
from restate_node.types.introspection import (
    PARTITION_TABLES,
    STATE,
    SYS_INBOX,
    SYS_INVOCATION,
    USER_TABLES,
    ColumnType,
    Source,
    Table,
    columns_of,
)

CAPTURED = Path(__file__).parent / "captured_sql_columns.txt"
"""Table, column and type of a Restate 1.7 node, users' tables first."""
NAMES = {
    ColumnType.TEXT: "Utf8",
    ColumnType.BYTES: "Binary",
    ColumnType.BOOLEAN: "Boolean",
    ColumnType.UINT32: "UInt32",
    ColumnType.UINT64: "UInt64",
    ColumnType.TIME: 'Timestamp(ms, "+00:00")',
    ColumnType.DURATION: "Duration(ms)",
    ColumnType.TEXTS: "List(Utf8)",
    ColumnType.UINT32S: "List(UInt32)",
}


def captured(part: int) -> dict[str, list[str]]:
    """`column type` of each table, in order."""
    found: dict[str, list[str]] = {}
    for line in CAPTURED.read_text().split("--- cluster ---\n")[part].splitlines():
        table, column = line.split(" ", 1)
        found.setdefault(table, []).append(column)
    return found


def told(table: Table) -> list[str]:
    def name(kind: ColumnType) -> str:
        text = NAMES[kind]
        if not table.is_wide:
            return text
        return text.replace("Utf8", "LargeUtf8").replace("Binary", "LargeBinary")

    return [f"{column.name} {name(column.type)}" for column in table.columns]


def test_users_tables_are_those_of_restate() -> None:
    """Goal: clients find every column, in place and of its type. How: against a capture."""
    assert {table.name: told(table) for table in USER_TABLES} == captured(0)


def test_cluster_tables_are_those_of_restate() -> None:
    """Goal: the same for operators."""
    assert {table.name: told(table) for table in CLUSTER_TABLES} == captured(1)


def test_every_table_of_partitions_can_be_narrowed() -> None:
    """Goal: a query for one invocation or key asks one partition. How: what locates a row."""
    for table in PARTITION_TABLES.values():
        assert table.source is Source.PARTITIONS
        assert table.id_column or table.key_column
    assert SYS_INVOCATION.key_column == "target_service_key"
    assert (SYS_INBOX.id_column, SYS_INBOX.partition_key_column) == ("id", "partition_key")
    assert SYS_INVOCATION.partition_key_column is None


def test_a_row_is_made_from_names() -> None:
    """Goal: whoever makes rows need not know the order. How: some values, and one too many."""
    row = STATE.row({"key": "a", "partition_key": 7})
    assert row == [7, None, None, None, "a", None, None, None, None]
    with pytest.raises(AssertionError, match="has no column"):
        STATE.row({"keys": "a"})


def test_columns_are_read_from_text() -> None:
    """Goal: the short form of a table means what it says. How: one of each kind."""
    read = columns_of("a b:u64\n c:texts")
    assert [(column.name, column.type) for column in read] == [
        ("a", ColumnType.TEXT),
        ("b", ColumnType.UINT64),
        ("c", ColumnType.TEXTS),
    ]
    with pytest.raises(ValueError, match="u65"):
        columns_of("a:u65")
