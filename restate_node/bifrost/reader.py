"""Reads a log from an LSN on, for ever: drives `protocol.read_cursor` over the loglets of the
chain.

    cursor ─ ReadFrom ──▶ loglet.read ─▶ runs, gaps ─▶ consumer
           ─ AwaitTail ─▶ loglet.wait_for_tail, or a change of the chain
                          sealed: the chain's word where it ends, else ─▶ close
           ─ AwaitChain ▶ a change of the chain

Only what is committed is delivered, in order, each LSN once. A reader that cannot go on (log
servers away) waits and tries again; it never skips. What was trimmed is delivered as a gap: the
consumer decides what that means.

Where a sealed loglet ends is for the chain to say, and the next writer has it say so. But a writer
may be missing just because nobody has read so far: a replica that takes over from one that is lost
leads when it has caught up. So a reader that has waited a while closes the log itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from random import Random
from typing import Any, Final, TypeAlias, assert_never

import structlog

from restate_node.bifrost.loglet import Loglet, LogletUnavailable
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.protocol.read_cursor import (
    AwaitChain,
    AwaitTail,
    Finished,
    Gap,
    ReadCursor,
    ReadFrom,
    Run,
)
from restate_node.runtime.watch import first_change
from restate_node.types.ids import LogId, SegmentIndex
from restate_node.types.logs import Chain, InMemorySegment, ReplicatedSegment, Segment
from restate_node.types.offsets import Lsn, to_lsn

logger = structlog.get_logger(__name__)

RETRY_PAUSE_S: Final = 0.1
COMPLAIN_AFTER_FAILURES: Final = 20
CLOSE_AFTER_S: Final = 2.0
"""How long the writers have to give a sealed loglet its end: they need a moment for a seal."""

Delivery: TypeAlias = Run | Gap
FindLoglet: TypeAlias = Callable[[ReplicatedSegment | InMemorySegment], Loglet]
CloseLog: TypeAlias = Callable[[LogId, SegmentIndex], Awaitable[None]]
"""End the log after this segment unless it goes on already; raises LogletUnavailable."""


class LogReader:
    """One reader's place in one log."""

    def __init__(
        self,
        log: LogId,
        position: Lsn,
        metadata: MetadataCache,
        find_loglet: FindLoglet,
        close: CloseLog,
        rng: Random,
    ) -> None:
        self._log = log
        self._start = position
        self._metadata = metadata
        self._find_loglet = find_loglet
        self._close = close
        self._rng = rng
        self._chain: Chain | None = None
        self._cursor: ReadCursor | None = None
        self._failures = 0
        self.is_abandoned = False
        """Its owner has stopped waiting for deliveries, and not begun again."""

    @property
    def log(self) -> LogId:
        return self._log

    @property
    def segment(self) -> Segment | None:
        """The segment that holds, or will hold, what comes next; None before the log exists."""
        return None if self._chain is None else self._chain.segment_for(self.position)

    @property
    def position(self) -> Lsn:
        """The next LSN to deliver."""
        return self._cursor.position if self._cursor is not None else self._start

    @property
    def tail(self) -> Lsn:
        """The committed tail as far as this node knows it without asking; never below position."""
        if self._chain is None or self._cursor is None:
            return self._start
        segment = self._chain.tail
        if not isinstance(segment, ReplicatedSegment | InMemorySegment):
            return max(segment.base_lsn, self._cursor.position)
        known = self._find_loglet(segment).known_tail.value.offset
        return max(to_lsn(segment.base_lsn, known), self._cursor.position)

    async def next(self, bytes_max: int) -> Sequence[Delivery]:
        """At least one delivery, as soon as there is one. Cancellation-safe: nothing is consumed
        before it is returned."""
        self.is_abandoned = False
        try:
            return await self._next(bytes_max)
        except asyncio.CancelledError:
            self.is_abandoned = True
            raise

    async def _next(self, bytes_max: int) -> Sequence[Delivery]:
        cursor = await self._open()
        while True:
            self._follow_chain(cursor)
            step = cursor.next_step()
            try:
                match step:
                    case Gap():
                        return [step]
                    case ReadFrom():
                        answer = await self._find_loglet(step.segment).read(
                            step.first, step.tail, bytes_max
                        )
                        delivered = cursor.received(step, answer).delivered
                        self._failures = 0
                        if delivered:
                            return delivered
                    case AwaitTail():
                        await self._await_tail(cursor, step)
                    case AwaitChain():
                        await self._chain_changed(self._metadata.logs.revision)
                    case Finished():
                        raise AssertionError("a reader without an end does not finish")
                    case _:
                        assert_never(step)
            except LogletUnavailable as error:
                await self._pause(str(error))

    async def _open(self) -> ReadCursor:
        """The cursor; waits for the log to be created."""
        while self._cursor is None:
            revision = self._metadata.logs.revision
            self._chain = self._metadata.logs.value.chain(self._log)
            if self._chain is not None:
                self._cursor = ReadCursor(self._chain, self._start)
            else:
                await self._chain_changed(revision)
        return self._cursor

    def _follow_chain(self, cursor: ReadCursor) -> None:
        chain = self._metadata.logs.value.chain(self._log)
        if chain is not None and chain is not self._chain:
            self._chain = chain
            cursor.chain_changed(chain)

    async def _await_tail(self, cursor: ReadCursor, step: AwaitTail) -> None:
        """Until the loglet passes the offset, or the chain tells where the segment ends."""
        loglet = self._find_loglet(step.segment)
        tail_revision, known = loglet.known_tail.revision, loglet.known_tail.value.offset
        if known >= step.offset:
            cursor.tail_moved(step.segment, known)
            return
        if loglet.known_tail.value.is_sealed:
            await self._await_end(step.segment)
            return
        revision = self._metadata.logs.revision
        if loglet.tells_tail:
            # No task for what is woken by every batch of the log.
            await first_change((loglet.known_tail, tail_revision), (self._metadata.logs, revision))
        else:
            await _first_of(loglet.wait_for_tail(step.offset), self._chain_changed(revision))
        cursor.tail_moved(step.segment, loglet.known_tail.value.offset)

    async def _await_end(self, segment: Segment) -> None:
        """Until the chain says where the sealed segment ends."""
        logs = self._metadata.logs
        try:
            async with asyncio.timeout(CLOSE_AFTER_S * self._rng.uniform(0.7, 1.3)):
                while (chain := logs.value.chain(self._log)) is None or chain.tail == segment:
                    await logs.changed(logs.revision)
        except TimeoutError:
            await self._close(self._log, segment.index)

    async def _chain_changed(self, revision: int) -> None:
        await self._metadata.logs.changed(revision)

    async def _pause(self, reason: str) -> None:
        self._failures += 1
        if self._failures % COMPLAIN_AFTER_FAILURES == 0:
            logger.warning(
                "log cannot be read now", log=self._log, lsn=self.position, reason=reason
            )
        await asyncio.sleep(RETRY_PAUSE_S * self._rng.uniform(0.7, 1.3))


async def _first_of(*waits: Coroutine[Any, Any, None]) -> None:
    """Return, or raise, with whichever ends first. Cancellation-safe: both are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
            task.add_done_callback(_heard)
    for task in tasks:
        if task in done:
            task.result()


def _heard(task: asyncio.Task[None]) -> None:
    """Nobody waits for it any more; its exception would be reported as forgotten."""
    if not task.cancelled():
        task.exception()
