"""Queries from SQL to rows: what comes out, what goes wrong, what it may cost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from sql_world import CapturedRows, Portions, engine_of, rows_of, whole

from restate_node.roles.admin.sql.errors import QueryFailed, QueryRefused, TooManyQueries
from restate_node.roles.admin.sql.forms import Format
from restate_node.roles.admin.sql.sources import Restriction, RowScan
from restate_node.types.introspection import STATE, Table

ROWS = [STATE.row({"service_key": str(n), "value_length": n}) for n in range(10)]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("select 1 as one", [{"one": 1}]),
        (
            "select key from state where service_name == 'Mapping' and service_key in ('cap') "
            "order by key",
            [{"key": "a"}, {"key": "b"}],
        ),
        ("select key from state where key like 'sta%'", [{"key": "stage"}]),
        ("select cast(value_length as bigint) as n from state where key = 'b'", [{"n": 15}]),
        ("select count(*) from state", [{"count(*)": 5}]),
        ("select sum(value_length) as n from state where scope is null", [{"n": 27}]),
        ("select key from state where false", []),
        (
            "select service_name s, first_value(key order by key desc) k from state "
            "where service_name in ('Mapping', 'Counter') group by 1 order by 1",
            [{"s": "Counter", "k": "value"}, {"s": "Mapping", "k": "b"}],
        ),
        (
            "select s.name, d.ty from sys_service s join sys_deployment d "
            "on s.deployment_id = d.id where s.name = 'Mapping'",
            [{"name": "Mapping", "ty": "http"}],
        ),
        (
            "select id from sys_invocation where completed_at > created_at and now() > created_at "
            "and target_service_name in (select name from sys_service where ty = 'service')",
            [{"id": "inv_1fJpnoDcIequ2ZrhnDeCat1iH9Ga7jbNAw"}],
        ),
        (
            "select column_name, data_type, is_nullable from information_schema.columns "
            "where table_name = 'sys_invocation' and column_name in ('id', 'created_at')",
            [
                {"column_name": "id", "data_type": "LargeUtf8", "is_nullable": "YES"},
                {
                    "column_name": "created_at",
                    "data_type": 'Timestamp(ms, "+00:00")',
                    "is_nullable": "YES",
                },
            ],
        ),
        (
            "select key as k from state where key = 'a' union all select name from sys_service "
            "where name = 'Flow' union all select 'x' order by k desc",
            [{"k": "x"}, {"k": "a"}, {"k": "Flow"}],
        ),
        (
            "with s as (select distinct service_name n from state) select count(*) as c from s a "
            "join s b on a.n = b.n left join s c on b.n = c.n",
            [{"c": 4}],
        ),
        (
            "select key from state where value_length = (select max(value_length) from state)",
            [{"key": "b"}],
        ),
        ("select id from sys_vqueues", []),
        ("set datafusion.execution.batch_size = 7", []),
    ],
)
async def test_sql_is_understood(sql: str, rows: list[dict[str, Any]]) -> None:
    """Goal: the dialect that clients write. How: table over captured rows."""
    assert await rows_of(engine_of(CapturedRows()), sql) == rows


@pytest.mark.parametrize(
    ("sql", "error", "text"),
    [
        ("selekt 1", QueryRefused, "SQL error: ParserError"),
        ("", QueryRefused, "No SQL statements"),
        ("select 1; select 2", QueryRefused, "single SQL statement"),
        ("select * from nope", QueryRefused, "table 'restate.public.nope' not found"),
        ("select nope from state", QueryRefused, "No field named nope"),
        ("create table t as select 1", QueryRefused, "DDL not supported"),
        ("insert into state (key) values ('a')", QueryRefused, "DML not supported"),
        ("copy (select 1) to 'file.csv'", QueryRefused, "DML not supported"),
        ("create external table t stored as csv location '/'", QueryRefused, "DDL not supported"),
        ("select * from '/etc/hosts'", QueryRefused, "not found"),
        ("select 1/0", QueryFailed, "Divide by zero"),
    ],
)
async def test_wrong_queries_are_refused(sql: str, error: type[Exception], text: str) -> None:
    """Goal: the reason on one line; nothing but reading is possible. How: table."""
    with pytest.raises(error) as raised:
        await whole(engine_of(CapturedRows()), sql)
    assert text in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.type is error


async def test_rows_that_cannot_be_read_fail_the_query_in_their_own_words() -> None:
    """Goal: the operator reads which partition it was. How: a source that fails after a portion,
    before anything was sent, and after.
    """
    reason = "rows of partition 3 cannot be read: it has no leader; try again later"
    with pytest.raises(QueryFailed) as raised:
        await whole(engine_of(Portions(ROWS, failure=reason)), "select count(*) from state")
    assert str(raised.value) == reason
    chunks = engine_of(Portions(ROWS, failure=reason)).query("select * from state", Format.JSON)
    assert (await anext(chunks)).startswith(b'{"rows":[{')
    with pytest.raises(QueryFailed):
        await anext(chunks)


async def test_what_is_not_wanted_is_not_read() -> None:
    """Goal: a limit ends the scan. How: portions that are left over."""
    source = Portions(*([ROWS] * 200))
    assert len(await rows_of(engine_of(source), "select * from state limit 3")) == 3
    assert len(source.left) > 150


async def test_rows_are_bounded() -> None:
    """Goal: a query that reads too much ends, and says what to do. How: a small limit."""
    source = Portions(*([ROWS] * 10))
    with pytest.raises(QueryFailed, match="more than 25 rows: narrow it"):
        await whole(engine_of(source, rows_max=25), "select count(*) from state")
    assert len(source.left) == 7


class Stalled(Portions):
    """Gives one portion, and then nothing until it is cancelled."""

    def __init__(self) -> None:
        super().__init__(ROWS)
        self.waits = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def next_rows(self) -> list[list[Any]] | None:
        if self.left:
            return await super().next_rows()
        self.waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


async def test_time_is_bounded() -> None:
    """Goal: a query over rows that never come ends. How: a short deadline; the scan is cancelled
    and the place is free for the next query.
    """
    source = Stalled()
    engine = engine_of(source, deadline_s=0.05, queries_max=1, wait_s=30)
    with pytest.raises(QueryFailed, match="took longer"):
        await whole(engine, "select count(*) from state")
    await source.cancelled.wait()
    with pytest.raises(QueryFailed, match="took longer"):
        await whole(engine, "select count(*) from state")


async def test_a_client_that_leaves_ends_its_query() -> None:
    """Goal: no thread and no scan is left behind. How: close the answer while rows are awaited, and
    take the only place again.
    """
    source = Stalled()
    engine = engine_of(source, queries_max=1, wait_s=30)
    chunks = engine.query("select * from state", Format.JSON)
    await anext(chunks)
    await source.waits.wait()
    await chunks.aclose()
    await source.cancelled.wait()
    assert await rows_of(engine, "select 1 as one") == [{"one": 1}]


async def test_several_scans_of_one_query_are_given_up_together() -> None:
    """Goal: nothing waits on. How: a union, whose tables are scanned side by side."""
    sources = [Stalled(), Stalled()]

    class Both:
        def open(self, table: Table, restriction: Restriction) -> RowScan:
            return sources[table is STATE]

    engine = engine_of(Both(), queries_max=1, wait_s=30)
    query = asyncio.ensure_future(
        whole(engine, "select key from state union all select id from sys_inbox")
    )
    for source in sources:
        await source.waits.wait()
    query.cancel()
    for source in sources:
        await source.cancelled.wait()
    assert await rows_of(engine, "select 1 as one") == [{"one": 1}]


async def test_queries_at_once_are_bounded() -> None:
    """Goal: who finds no place waits a while and is refused. How: one place, which is taken."""
    engine = engine_of(Stalled(), queries_max=1, wait_s=0.05)
    first = engine.query("select * from state", Format.JSON)
    await anext(first)
    with pytest.raises(TooManyQueries, match="try again later"):
        await whole(engine, "select 1")
    await first.aclose()


async def test_the_loop_is_free_while_a_query_computes() -> None:
    """Goal: nothing synchronous holds the loop. How: count its turns during a join of nine million
    rows.
    """
    sql = (
        "select count(*) as n from generate_series(1, 3000) a "
        "cross join generate_series(1, 3000) b where a.value < b.value"
    )
    query = asyncio.ensure_future(rows_of(engine_of(CapturedRows()), sql))
    turns = 0
    while not query.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert query.result() == [{"n": 3000 * 2999 // 2}]
    assert turns > 3


def test_nothing_is_loaded_before_the_first_query() -> None:
    """Goal: a node without queries pays nothing. How: import a whole node, look what came along."""
    program = (
        "import sys, restate_node.node.edges, restate_node.roles.admin.sql.endpoint\n"
        "print([name for name in ('datafusion', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
