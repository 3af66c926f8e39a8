"""DataFusion, set up for one query: Restate's names, our tables, bounds.

It parses, plans and runs in the thread that calls it, and waits there for rows. Only reading is
allowed; there are no files to read and none to spill to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import datafusion

from restate_node.roles.admin.sql.arrow import RecordBatch, Schema
from restate_node.roles.admin.sql.datasets import ReadTable, TableDataset
from restate_node.roles.admin.sql.errors import QueryFailed, QueryRefused
from restate_node.types.introspection import Table

MEMORY_BYTES_MAX: Final = 128 * 1024 * 1024
"""Of one query: sorts, joins and groups fail beyond, scans need next to nothing."""
CATALOG: Final = "restate"
SCHEMA: Final = "public"


@dataclass(frozen=True, slots=True)
class Answer:
    """The columns of the result, and its batches as they are made."""

    schema: Schema
    batches: Iterator[RecordBatch]


def run_query(sql: str, tables: Sequence[Table], read: ReadTable) -> Answer:
    """Plan a query and begin to run it. Raises QueryRefused, QueryFailed, and what `read` raises
    while the batches are taken may come wrapped in QueryFailed.
    """
    context = _context()
    for table in tables:
        context.register_dataset(table.name, TableDataset(table, read))
    options = datafusion.SQLOptions().with_allow_ddl(False).with_allow_dml(False)
    try:
        frame = context.sql_with_options(sql, options)
    except Exception as error:
        raise QueryRefused(_text(error)) from None
    return Answer(frame.schema(), _batches(frame))


def _batches(frame: Any) -> Iterator[RecordBatch]:
    try:
        for batch in frame.execute_stream():
            yield batch.to_pyarrow()
    except Exception as error:
        raise QueryFailed(_text(error)) from error


def _context() -> Any:
    """One partition: more would only make threads that wait for the same leaders."""
    configuration = (
        datafusion.SessionConfig()
        .with_information_schema(True)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_target_partitions(1)
    )
    runtime = (
        datafusion.RuntimeEnvBuilder()
        .with_disk_manager_disabled()
        .with_greedy_memory_pool(MEMORY_BYTES_MAX)
    )
    return datafusion.SessionContext(configuration, runtime)


def _text(error: Exception) -> str:
    """What DataFusion says, on one line, without what its Python package puts before it."""
    return " ".join(str(error).removeprefix("DataFusion error: ").split())
