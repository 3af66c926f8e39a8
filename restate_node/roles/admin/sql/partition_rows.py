"""Rows of partitions: pages from their leaders, a few partitions at a time.

    reads of a scan ─┬▶ page of partition 0 ─▶ rows, go on behind `after`
                     ├▶ page of partition 1 ─▶ rows, that was the last
                     └▶ … at most PAGES_AT_ONCE_MAX under way

Reading changes nothing, so a page that did not come is asked for again, of whoever leads by then;
`after` means the same on every replica. A partition that cannot be read in time fails the query:
rows that are missing without a word would be worse.

A scan holds at most one round of pages; the next is read when the reader wants more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.roles.admin.liveness import Liveness
from restate_node.roles.admin.sql.read_plan import plan_reads
from restate_node.roles.admin.sql.sources import Missing, Restriction, RowScan, RowsUnavailable
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import GenerationalNodeId, PartitionId
from restate_node.types.introspection import Table
from restate_node.types.invocation_messages import ReadRows, Rows

PAGES_AT_ONCE_MAX: Final = 8
PAGE_TIMEOUT_S: Final = 5.0
PAGE_DEADLINE_S: Final = 10.0
"""For a page with all retries: a fail-over takes a few seconds."""
PAUSE_S: Final = 0.05


class PartitionRows:
    """Reads the tables of all partitions; a RowSource."""

    def __init__(
        self,
        metadata: MetadataCache,
        liveness: Liveness,
        fabric: Fabric,
        page_deadline_s: float = PAGE_DEADLINE_S,
    ) -> None:
        self._metadata = metadata
        self._liveness = liveness
        self._fabric = fabric
        self._page_deadline_s = page_deadline_s

    def open(self, table: Table, restriction: Restriction) -> RowScan:
        partitions = self._metadata.partition_table.value
        if not partitions.partitions:
            raise RowsUnavailable("the cluster is not provisioned yet")
        return _PartitionScan(self, plan_reads(table, restriction, partitions))

    async def page(self, request: ReadRows) -> Rows:
        """One page. Raises RowsUnavailable."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._page_deadline_s
        reason = "there was no time"
        while (left := deadline - loop.time()) > 0:
            answer = await self._try(request, min(left, PAGE_TIMEOUT_S))
            if isinstance(answer, Rows):
                return answer
            reason = answer
            await asyncio.sleep(min(PAUSE_S, max(0.0, deadline - loop.time())))
        text = f"rows of partition {request.partition} cannot be read: {reason}; try again later"
        raise RowsUnavailable(text)

    async def _try(self, request: ReadRows, timeout_s: float) -> Rows | str:
        leader = self._leader(request.partition)
        if leader is None:
            return "it has no leader"
        try:
            page = await self._fabric.call(leader, request, Rows, timeout_s=timeout_s)
        except RpcFailure as failure:
            return f"{leader} answered: {failure}"
        if page.after is not None and page.after <= request.after:
            return f"{leader} does not get on"
        return page

    def _leader(self, partition: PartitionId) -> GenerationalNodeId | None:
        leadership = self._liveness.leaders.value.get(partition)
        if leadership is None or leadership.node not in self._liveness.alive.value:
            return None
        return leadership.node


class _PartitionScan:
    """What is left to read: for each unfinished read, its next page."""

    missing: Sequence[Missing] = ()

    def __init__(self, source: PartitionRows, reads: list[ReadRows]) -> None:
        self._source = source
        self._reads = reads

    async def next_rows(self) -> list[list[Any]] | None:
        while self._reads:
            if rows := await self._round():
                return rows
        return None

    async def _round(self) -> list[list[Any]]:
        asked, rest = self._reads[:PAGES_AT_ONCE_MAX], self._reads[PAGES_AT_ONCE_MAX:]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._source.page(read)) for read in asked]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        pages = [task.result() for task in tasks]
        unfinished = [
            msgspec.structs.replace(read, after=page.after)
            for read, page in zip(asked, pages, strict=True)
            if page.after is not None
        ]
        self._reads = unfinished + rest
        return [row for page in pages for row in page.rows]
