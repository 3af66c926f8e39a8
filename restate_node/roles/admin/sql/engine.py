"""Runs queries: each in a thread of its own, its rows fetched by the loop.

    loop     query ─▶ thread ────────────────────────────────────────────────▶ chunks ─▶ client
    thread              plan ─▶ scan: wait for rows ─▶ … ─▶ encode ─▶ wait for room ─┘
    loop                         RowScan.next_rows ─┘

Planning, joining and encoding take as long as they take; the loop must not wait for them, so
DataFusion has a thread that does nothing but this query. Between two batches the thread looks
whether anybody still wants the answer.

Bounds: `queries_max` at once, the time and the rows that a query may read, a few chunks between
thread and client, and the memory that DataFusion may use. A thread that computes on after its
query was given up keeps its place until it is done: so those who come later are refused, and the
node goes on.

Invariant: whatever ends a query, its thread ends at the next batch and nothing of it waits on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

from restate_node.roles.admin.sql.errors import QueryError, QueryFailed, TooManyQueries
from restate_node.roles.admin.sql.forms import Format
from restate_node.roles.admin.sql.sources import (
    Missing,
    Restriction,
    RowScan,
    RowSource,
    RowsUnavailable,
)
from restate_node.types.introspection import Table

CHUNKS_MAX: Final = 4
"""Between the thread and the client: it waits when the client is slow."""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What queries of one catalog may cost."""

    queries_max: int = 4
    wait_s: float = 10.0
    """For a place among them."""
    deadline_s: float = 60.0
    """From the start to the last chunk."""
    rows_max: int = 5_000_000
    """Read by one query, of all its tables together."""


class _End(Enum):
    """What comes after the last chunk."""

    END = 0


class QueryEngine:
    """Queries over the tables of one catalog."""

    def __init__(
        self, tables: Sequence[Table], source: RowSource, limits: QueryLimits | None = None
    ) -> None:
        self._tables = tuple(tables)
        self._source = source
        self._limits = limits or QueryLimits()
        self._places = asyncio.Semaphore(self._limits.queries_max)

    async def query(
        self, sql: str, form: Format, missing: list[Missing] | None = None
    ) -> AsyncGenerator[bytes]:
        """The answer in pieces; close it when done. Raises QueryError: before the first piece if
        the query is wrong, later if rows cannot be read any more.

        At the end `missing` has those whose rows are not in it.
        """
        await self._take_place()
        wanted = _Wanted(sql, form, [] if missing is None else missing)
        run = _Run(wanted, self._tables, self._source, self._limits)
        run.start(on_end=self._places.release)
        try:
            while (chunk := await run.next_chunk()) is not None:
                yield chunk
        finally:
            run.give_up()

    async def _take_place(self) -> None:
        try:
            async with asyncio.timeout(self._limits.wait_s):
                await self._places.acquire()
        except TimeoutError:
            text = f"{self._limits.queries_max} queries are running already: try again later"
            raise TooManyQueries(text) from None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One query as it was asked."""

    sql: str
    form: Format
    missing: list[Missing]


class _Run:
    """One query on its way. Made on the loop; `_work` and what it calls are the thread."""

    def __init__(
        self,
        wanted: _Wanted,
        tables: Sequence[Table],
        source: RowSource,
        limits: QueryLimits,
    ) -> None:
        self._wanted = wanted
        self._tables = tables
        self._source = source
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + limits.deadline_s
        self._chunks: asyncio.Queue[bytes | QueryError | _End] = asyncio.Queue(CHUNKS_MAX)
        self._given_up = False
        self._waiting: set[Future[Any]] = set()
        """More than one when DataFusion scans several tables at a time."""
        self._rows = 0
        self._failure: QueryError | None = None
        """Why rows could not be read: DataFusion buries it in texts of its own."""

    # ------------------------------------------------------------ the loop

    def start(self, on_end: Callable[[], None]) -> None:
        def work() -> None:
            self._work()
            with suppress(RuntimeError):  # the loop is closed: nobody waits for a place
                self._loop.call_soon_threadsafe(on_end)

        threading.Thread(target=work, name="query", daemon=True).start()

    async def next_chunk(self) -> bytes | None:
        """None at the end. Raises QueryError."""
        try:
            async with asyncio.timeout_at(self._deadline):
                chunk = await self._chunks.get()
        except TimeoutError:
            raise QueryFailed(
                f"the query took longer than {self._limits.deadline_s:.0f} s: narrow it with where"
            ) from None
        if isinstance(chunk, QueryError):
            raise chunk
        return None if isinstance(chunk, _End) else chunk

    def give_up(self) -> None:
        """Nobody wants the answer. Idempotent; nothing to do once it is complete."""
        self._given_up = True
        for future in list(self._waiting):
            future.cancel()

    # ------------------------------------------------------------ the thread

    def _work(self) -> None:
        try:
            for chunk in self._encoded():
                self._wait(self._chunks.put(chunk))
            self._wait(self._chunks.put(_End.END))
        except CancelledError:
            return  # given up
        except Exception as error:
            self._report(error)

    def _encoded(self) -> Iterator[bytes]:
        # Here and not above: these load DataFusion and pyarrow, in this thread, when first needed.
        from restate_node.roles.admin.sql.formats import encode
        from restate_node.roles.admin.sql.session import run_query

        answer = run_query(self._wanted.sql, self._tables, self._read)
        return encode(answer, self._wanted.form)

    def _read(self, table: Table, restriction: Restriction) -> Iterator[list[list[Any]]]:
        scan: RowScan | None = None
        try:
            scan = self._source.open(table, restriction)
            while (rows := self._wait(scan.next_rows())) is not None:
                self._rows += len(rows)
                if self._rows > self._limits.rows_max:
                    raise RowsUnavailable(
                        f"the query reads more than {self._limits.rows_max} rows: "
                        "narrow it with where, or ask for one key or invocation"
                    )
                yield rows
        except RowsUnavailable as error:
            self._failure = QueryFailed(str(error))
            raise
        finally:  # also of a scan that a limit has ended
            if scan is not None:
                self._wanted.missing.extend(scan.missing)

    def _wait(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        """Have the loop run it. Raises CancelledError when the query was given up."""
        if self._given_up or self._loop.is_closed():
            coroutine.close()  # a loop that is about to end would never get to it
            raise CancelledError
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._waiting.add(future)
        if self._given_up:  # seen here, or give_up sees the future
            future.cancel()
        try:
            return future.result()
        finally:
            self._waiting.discard(future)

    def _report(self, error: Exception) -> None:
        failure = self._failure or error
        if not isinstance(failure, QueryError):
            failure = QueryFailed(f"{type(failure).__name__}: {failure}")
        try:
            self._wait(self._chunks.put(failure))
        except CancelledError:
            return  # given up
