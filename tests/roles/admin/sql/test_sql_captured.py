"""What Restate's command line asks, and the JSON that a Restate node answered: the same here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sql_world import CAPTURED_QUERIES, CAPTURED_ROWS, CapturedRows, engine_of, rows_of, whole

from restate_node.roles.admin.sql.arrow import pa
from restate_node.roles.admin.sql.forms import Format

REPORTS = {
    "invocations list --status running,backing-off,suspended": 3,
    "invocations list --virtual-objects-only": 4,
    "invocations list --zombie": 0,
    "kv get Mapping cap": 2,
    "invocations kill Suspending --yes": 1,
    "rules list": 0,
}
"""How many rows the last query of a command found on that node."""


@pytest.mark.parametrize("table", sorted(CAPTURED_ROWS))
async def test_json_is_that_of_restate(table: str) -> None:
    """Goal: clients parse times, durations, bytes and lists. How: rows read back from the JSON of a
    Restate node come out as that JSON again, null columns left out.
    """
    answer = json.loads(await whole(engine_of(CapturedRows()), f"select * from {table}"))
    assert answer == {"rows": CAPTURED_ROWS[table]}


@pytest.mark.parametrize("asked", CAPTURED_QUERIES, ids=lambda asked: asked["command"])
async def test_every_query_of_the_command_line_runs(asked: dict[str, str]) -> None:
    """Goal: every table, column and function that `restate` relies on is there. How: its queries,
    as captured, in both formats.
    """
    engine = engine_of(CapturedRows())
    rows = await rows_of(engine, asked["query"])
    stream = await whole(engine, asked["query"], Format.ARROW)
    assert pa.ipc.open_stream(stream).read_all().num_rows == len(rows)


@pytest.mark.parametrize(("command", "count"), REPORTS.items())
async def test_the_command_line_finds_what_it_found(command: str, count: int) -> None:
    """Goal: the answers are right as well. How: rows that the Restate node found."""
    asked = [
        asked["query"]
        for asked in CAPTURED_QUERIES
        if asked["command"] == command and not asked["query"].startswith("SELECT COUNT")
    ]
    assert len(await rows_of(engine_of(CapturedRows()), asked[-1])) == count


async def test_description_of_an_invocation_asks_one_partition() -> None:
    """Goal: looking at one invocation costs the same in a large cluster. How: what was asked of the
    source by every query of `invocations describe`.
    """
    source = CapturedRows()
    commands = [q for q in CAPTURED_QUERIES if q["command"].startswith("invocations describe")]
    for asked in commands:
        await whole(engine_of(source), asked["query"])
    assert len(commands) >= 3
    narrowed = [restriction.ids for table, restriction in source.asked if table != "sys_deployment"]
    assert all(ids is not None and len(ids) == 1 for ids in narrowed)


async def test_arrow_has_the_types_that_clients_expect() -> None:
    """Goal: the command line decodes into columns of fixed types. How: the schema of an answer with
    and without rows.
    """
    engine = engine_of(CapturedRows())
    columns = "id, journal_size, created_at, completion_retention, suspended_waiting_for_signals"
    for condition in ("true", "false"):
        sql = f"select {columns} from sys_invocation where {condition}"
        stream = await whole(engine, sql, Format.ARROW)
        assert stream[:4] == b"\xff\xff\xff\xff"
        types: list[Any] = pa.ipc.open_stream(stream).schema.types
        assert [str(kind) for kind in types] == [
            "large_string",
            "uint32",
            "timestamp[ms, tz=+00:00]",
            "duration[ms]",
            "list<item: uint32>",
        ]
