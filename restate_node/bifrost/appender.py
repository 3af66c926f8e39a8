"""Appends to a log, whatever becomes of its segments, and keeps the order of what it is given.

    STREAMING ──a submission fails──▶ SETTLING ──all submissions ended──▶ RECOVERING ──▶ STREAMING
                                                          the next segment is found, or made

While streaming, what is submitted in one turn of the loop goes to the loglet as one joined batch,
at the end of that turn: no task, and all below pays per turn instead of per batch (with 1024 small
batches under way, 2 µs of processor for each instead of 10). When a loglet ends, every batch
that it did not acknowledge is appended again to the next one, in the old order. So a batch
can be in the log twice (written, and the acknowledgement was lost), but it is never overtaken by a
later one: the dedup of the readers relies on exactly that.

A loglet that does not keep the order of its submissions gets one such batch at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Final

import structlog

from restate_node.bifrost.errors import AppendFailed, LogUnavailable
from restate_node.bifrost.loglet import AppendResult, Loglet
from restate_node.types.ids import LogId, SegmentIndex
from restate_node.types.log_messages import AppendStatus
from restate_node.types.offsets import LogletOffset, Lsn, to_lsn
from restate_node.types.records import RECORD_BYTES_MAX, RecordBatch, join

logger = structlog.get_logger(__name__)

PENDING_BYTES_MAX: Final = 128 * 1024 * 1024
FULL_BYTES: Final = 32 * 1024 * 1024
JOINED_BYTES_MAX: Final = 1024 * 1024
JOINED_BATCHES_MAX: Final = 4096
WINDOW_PAUSE_S: Final = 0.001
BATCH_BYTES_MAX: Final = RECORD_BYTES_MAX + 64 * 1024
"""A larger batch is refused: a store of it would not fit into a frame."""
BATCH_OVERHEAD_BYTES: Final = 400
"""What a waiting batch costs besides its body."""


@dataclass(frozen=True, slots=True)
class OpenSegment:
    """Where to append now."""

    index: SegmentIndex
    base: Lsn
    loglet: Loglet


Reopen = Callable[[SegmentIndex | None], Awaitable[OpenSegment]]
"""The open segment; a new one when the chain still ends with the given, failed one.

Raises LogUnavailable when there is none to be had now.
"""

OnCommitted = Callable[[Lsn | AppendFailed], None]


@dataclass(slots=True, eq=False)
class _Pending:
    batch: RecordBatch
    on_committed: OnCommitted
    maybe_written: bool = False


class _State(Enum):
    STREAMING = "streaming"
    SETTLING = "settling"
    RECOVERING = "recovering"
    CLOSED = "closed"


class Appender:
    """Appends to one log. `run` is a task of its owner; nothing recovers without it."""

    def __init__(
        self, log: LogId, reopen: Reopen, rng: Random, retry_s: tuple[float, float]
    ) -> None:
        """`retry_s`: shortest and longest pause between attempts to find an open segment."""
        self._log = log
        self._reopen = reopen
        self._rng = rng
        self._retry_s = retry_s
        self._loop = asyncio.get_running_loop()
        self._segment: OpenSegment | None = None
        self._failed: SegmentIndex | None = None
        self._state = _State.RECOVERING
        self._sent: deque[list[_Pending]] = deque()
        self._unsent: deque[_Pending] = deque()
        self._outstanding = 0
        self._must_pause = False
        self._bytes = 0
        self._send_scheduled = False
        self._retry_send: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()

    @property
    def is_full(self) -> bool:
        """True when callers should wait before they append more."""
        return self._bytes >= FULL_BYTES

    @property
    def segment(self) -> OpenSegment | None:
        """The segment in use; None while there is none."""
        return self._segment if self._state is _State.STREAMING else None

    def submit(self, batch: RecordBatch, on_committed: OnCommitted) -> None:
        """Append; the callback comes exactly once, later, with the LSN of the first record."""
        refusal = self._refusal(batch)
        if refusal is not None:
            failure = AppendFailed(f"log {self._log}: {refusal}", maybe_written=False)
            self._loop.call_soon(on_committed, failure)
            return
        self._unsent.append(_Pending(batch, on_committed))
        self._bytes += len(batch.body) + BATCH_OVERHEAD_BYTES
        if self._state is not _State.STREAMING:
            self._wake.set()
        elif not self._send_scheduled:
            self._send_scheduled = True
            self._loop.call_soon(self._send_gathered)

    async def append(self, batch: RecordBatch) -> Lsn:
        """Append and wait for the commit; raises AppendFailed when it is refused or closed.

        Cancellation leaves the records on their way: they may be committed all the same.
        """
        committed: asyncio.Future[Lsn] = self._loop.create_future()

        def resolve(result: Lsn | AppendFailed) -> None:
            if committed.done():
                return
            if isinstance(result, AppendFailed):
                committed.set_exception(result)
            else:
                committed.set_result(result)

        self.submit(batch, resolve)
        return await committed

    async def run(self) -> None:
        """Find an open segment whenever there is none; what is pending at the end fails."""
        try:
            while True:
                if self._state is _State.RECOVERING and self._unsent:
                    await self._recover()
                await self._wake.wait()
                self._wake.clear()
        finally:
            self._close()

    def _refusal(self, batch: RecordBatch) -> str | None:
        if self._state is _State.CLOSED:
            return "the appender is closed"
        if batch.count < 1:
            return "the batch is empty"
        if len(batch.body) > BATCH_BYTES_MAX:
            return f"a batch of {len(batch.body)} bytes is above {BATCH_BYTES_MAX}: split it"
        if self._bytes > PENDING_BYTES_MAX:
            return "too much is waiting; retry after a while"
        return None

    # ------------------------------------------------------------ streaming

    def _send_gathered(self) -> None:
        """What was submitted in one turn of the loop goes as one batch."""
        self._send_scheduled = False
        if self._state is _State.STREAMING:
            self._send()

    def _send(self) -> None:
        segment = self._segment
        assert segment is not None
        while self._unsent and self._state is _State.STREAMING:
            if self._outstanding and not segment.loglet.keeps_order:
                return
            if not self._submit(segment, self._joinable()):
                return

    def _submit(self, segment: OpenSegment, members: list[_Pending]) -> bool:
        """False when the loglet's window is full; then the next acknowledgement tries again."""
        batch = join([pending.batch for pending in members])
        taken = segment.loglet.append(batch, lambda result: self._ended(segment, members, result))
        if not taken:
            if self._outstanding == 0 and self._retry_send is None:
                self._retry_send = self._loop.call_later(WINDOW_PAUSE_S, self._send_again)
            return False
        self._outstanding += 1
        self._sent.append(members)
        for _ in members:
            self._unsent.popleft()
        return True

    def _send_again(self) -> None:
        self._retry_send = None
        if self._state is _State.STREAMING:
            self._send()

    def _joinable(self) -> list[_Pending]:
        members: list[_Pending] = []
        size = 0
        for pending in self._unsent:
            size += len(pending.batch.body)
            if members and (size > JOINED_BYTES_MAX or len(members) == JOINED_BATCHES_MAX):
                break
            members.append(pending)
        return members

    # ------------------------------------------------------------ ends of submissions

    def _ended(self, segment: OpenSegment, members: list[_Pending], result: AppendResult) -> None:
        if self._state is _State.CLOSED:
            return
        self._outstanding -= 1
        if result.status is AppendStatus.OK:
            self._acknowledge(segment.base, members, result.first_offset)
        else:
            for pending in members:
                pending.maybe_written = pending.maybe_written or result.maybe_written
            self._must_pause = result.status is AppendStatus.OVERLOADED
            self._fall_back(None if self._must_pause else segment.index)
        if self._state is _State.SETTLING and self._outstanding == 0:
            self._settled()
        elif self._state is _State.STREAMING and self._unsent:
            self._send()

    def _acknowledge(self, base: Lsn, members: list[_Pending], offset: LogletOffset) -> None:
        first = self._sent.popleft()
        assert first is members, "a loglet acknowledged out of order"
        lsn = to_lsn(base, offset)
        for pending in members:
            batch = pending.batch
            self._bytes -= len(batch.body) + BATCH_OVERHEAD_BYTES
            pending.on_committed(lsn)
            lsn = Lsn(lsn + batch.count)

    def _fall_back(self, failed: SegmentIndex | None) -> None:
        """Stop sending; what is under way decides when to recover."""
        if failed is not None:
            self._failed = failed
        if self._state is not _State.STREAMING:
            return
        self._state = _State.SETTLING
        self._segment = None
        if self._outstanding == 0:
            self._settled()

    def _settled(self) -> None:
        for members in reversed(self._sent):
            self._unsent.extendleft(reversed(members))
        self._sent.clear()
        self._state = _State.RECOVERING
        self._wake.set()

    # ------------------------------------------------------------ recovery

    async def _recover(self) -> None:
        pause, longest = self._retry_s
        if self._must_pause:
            self._must_pause = False
            await asyncio.sleep(pause * self._rng.uniform(0.7, 1.3))
        while True:
            try:
                self._segment = await self._reopen(self._failed)
                break
            except LogUnavailable as error:
                logger.warning("log cannot be appended to now", log=self._log, reason=str(error))
            await asyncio.sleep(pause * self._rng.uniform(0.7, 1.3))
            pause = min(longest, pause * 2)
        self._state = _State.STREAMING
        self._send()

    def _close(self) -> None:
        self._state = _State.CLOSED
        if self._retry_send is not None:
            self._retry_send.cancel()
        sent = [pending for members in self._sent for pending in members]
        for pending in sent:
            pending.maybe_written = True
        for pending in (*sent, *self._unsent):
            maybe = pending.maybe_written
            failure = AppendFailed(f"log {self._log}: the appender closed", maybe_written=maybe)
            self._loop.call_soon(pending.on_committed, failure)
        self._sent.clear()
        self._unsent.clear()
        self._bytes = 0
