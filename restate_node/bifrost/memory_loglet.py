"""A loglet in the memory of one process: for tests, and for worlds that have no disks.

It passes the same contract suite as the replicated one, commits an append in the next turn of the
loop, and forgets everything with the process.
"""

from __future__ import annotations

import asyncio
from collections import deque

from restate_node.bifrost.loglet import AppendResult, OnAppended
from restate_node.protocol.loglet_runs import Span, answer
from restate_node.runtime.watch import Watch
from restate_node.types.ids import LogletId
from restate_node.types.log_messages import (
    AppendStatus,
    LogletHeader,
    Records,
    Status,
    StoredRun,
)
from restate_node.types.offsets import OLDEST_OFFSET, LogletOffset, LogletTail, TailState
from restate_node.types.records import RecordBatch


class MemoryLoglet:
    """Implements `bifrost.loglet.Loglet`."""

    keeps_order = True
    tells_tail = True

    def __init__(self, loglet: LogletId) -> None:
        self._id = loglet
        self._runs: list[StoredRun] = []
        self._tail = Watch(LogletTail(TailState.OPEN, OLDEST_OFFSET))
        self._trim_point = LogletOffset(0)
        self._loop = asyncio.get_running_loop()
        self._answers: deque[tuple[OnAppended, AppendResult]] = deque()

    @property
    def id(self) -> LogletId:
        return self._id

    @property
    def known_tail(self) -> Watch[LogletTail]:
        return self._tail

    def append(self, batch: RecordBatch, on_appended: OnAppended) -> bool:
        tail = self._tail.value
        if tail.is_sealed:
            self._answer(on_appended, AppendResult(AppendStatus.SEALED))
            return True
        self._runs.append(StoredRun(tail.offset, batch.count, batch.body))
        self._tail.set(LogletTail(TailState.OPEN, LogletOffset(tail.offset + batch.count)))
        self._answer(on_appended, AppendResult(AppendStatus.OK, tail.offset))
        return True

    def _answer(self, on_appended: OnAppended, result: AppendResult) -> None:
        self._answers.append((on_appended, result))
        if len(self._answers) == 1:
            self._loop.call_soon(self._send_answers)

    def _send_answers(self) -> None:
        """All at once: two callbacks of one turn have no order."""
        answers, self._answers = self._answers, deque()
        for on_appended, result in answers:
            on_appended(result)

    async def find_tail(self) -> LogletTail:
        return self._tail.value

    async def seal(self) -> LogletTail:
        self._tail.set(LogletTail(TailState.SEALED, self._tail.value.offset))
        return self._tail.value

    async def read(
        self, from_offset: LogletOffset, to_offset: LogletOffset, bytes_max: int
    ) -> Records:
        first = LogletOffset(max(from_offset, self._trim_point + 1))
        window = Span(first, LogletOffset(max(first, min(to_offset, self._tail.value.offset))))
        runs, next_offset = answer(self._runs, window, bytes_max)
        tail = self._tail.value
        header = LogletHeader(Status.OK, tail.offset, tail.offset, tail.is_sealed)
        return Records(header, self._trim_point, next_offset, runs)

    async def wait_for_tail(self, offset: LogletOffset) -> None:
        await self._tail.until(lambda tail: tail.offset >= offset or tail.is_sealed)

    async def trim(self, trim_point: LogletOffset) -> LogletOffset:
        self._trim_point = max(
            self._trim_point, min(trim_point, LogletOffset(self._tail.value.offset - 1))
        )
        self._runs = [r for r in self._runs if r.first_offset + r.count > self._trim_point + 1]
        return self._trim_point

    async def trim_point(self) -> LogletOffset:
        return self._trim_point
