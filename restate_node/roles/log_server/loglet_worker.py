"""Drives one `protocol.loglet_store.LogletState`: asks it what to do, stages what it says, answers
when durable.

Stores and seals of one loglet are staged in the order in which they were admitted, and the writer
reports them durable in that order; the state machine relies on it. Answers that must wait (for a
write under way, for a seal, for a tail) are kept as plain callbacks, bounded; who waits for a tail
is answered early when it takes long, because by then the asker has given up or wants to look
elsewhere.

A backfill is visible in the store before it is durable, and may never become so. Digests leave out
what is in doubt, because a repair takes them for a promise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar, assert_never

import structlog

from restate_node.fabric.router import Reply
from restate_node.protocol import loglet_runs
from restate_node.protocol.loglet_runs import Span
from restate_node.protocol.loglet_store import (
    Admit,
    AlreadyDurable,
    AlreadySealed,
    AlreadyTrimmed,
    LogletState,
    PersistSeal,
    PersistTrim,
    Reject,
    WaitForSeal,
    WaitInFlight,
)
from restate_node.roles.log_server.log_store import (
    Change,
    CorruptStore,
    DeleteRange,
    LogStore,
    persisted_row,
    run_row,
)
from restate_node.roles.log_server.writer import OnDurable, Writer
from restate_node.runtime.ports import StoreError
from restate_node.types.ids import GenerationalNodeId, loglet_text
from restate_node.types.log_messages import (
    ChecksumRun,
    Checksums,
    Digest,
    GetChecksums,
    GetDigest,
    GetRecords,
    LogletInfo,
    Records,
    Release,
    Seal,
    Status,
    Store,
    StoredRun,
    TrimLoglet,
    Trimmed,
    WaitForTail,
)
from restate_node.types.offsets import LogletOffset
from restate_node.types.records import RecordBatch, cut

logger = structlog.get_logger(__name__)

WAITERS_MAX: Final = 4096
TAIL_WAIT_MAX_S: Final = 3.0
"""Longer than any asker waits for one answer."""
READ_BYTES_MAX: Final = 8 * 1024 * 1024
"""Whatever a reader asks for, one answer is no larger (save for a single larger run)."""
CHECKSUMS_MAX: Final = 2048
CHECKED_BYTES_MAX: Final = 2 * 1024 * 1024
"""Records that are summed up in one go; more would hold the loop for too long."""


Waited = TypeVar("Waited", LogletOffset, Status)


class _TailWaiter(NamedTuple):
    offset: LogletOffset
    committed: bool
    reply: Reply
    until: float


def _keep_quiet(_: DeleteRange) -> None:
    """Nobody wants to know."""


class LogletWorker:
    """One loglet of this log server."""

    def __init__(
        self,
        state: LogletState,
        store: LogStore,
        writer: Writer,
        on_deleted: Callable[[DeleteRange], None] = _keep_quiet,
    ) -> None:
        """`on_deleted` hears of trimmed rows when their deletion is durable."""
        self.state = state
        self._store = store
        self._writer = writer
        self._on_deleted = on_deleted
        self._writes = 0
        self._doubtful: list[Span] = []
        self._tail_waiters: list[_TailWaiter] = []
        self._in_flight_waiters: list[tuple[LogletOffset, Reply]] = []
        self._seal_waiters: list[tuple[Status, Reply]] = []

    @property
    def is_idle(self) -> bool:
        """Nothing under way and nobody waiting: may be forgotten and loaded again."""
        waiting = self._tail_waiters or self._in_flight_waiters or self._seal_waiters
        return not waiting and not self._writes and not self._doubtful

    @property
    def waiting(self) -> tuple[int, int]:
        """How many wait for a seal, and for a tail."""
        return len(self._seal_waiters), len(self._tail_waiters)

    # ------------------------------------------------------------ writes

    def handle_store(
        self, store: Store, sender: GenerationalNodeId, now_ms: int, reply: Reply
    ) -> None:
        """Answered when durable, or at once when refused."""
        if self._writer.is_full or not self._can_look(store):
            reply(self.state.header(Status.DROPPED))
            return
        decision = self.state.admit(store, sender, now_ms)
        match decision:
            case Admit():
                self._stage(store, decision, reply)
            case AlreadyDurable():
                reply(self.state.header())
            case WaitInFlight(tail):
                self._wait(self._in_flight_waiters, (tail, reply), reply)
            case WaitForSeal():
                self._wait(self._seal_waiters, (Status.SEALED, reply), reply)
            case Reject(status):
                reply(self.state.header(status))
            case _:
                assert_never(decision)
        self._wake_tail_waiters()

    def handle_release(self, message: Release) -> None:
        """The global tail moved."""
        self.state.release(message.known_global_tail)
        self._wake_tail_waiters()

    def handle_seal(self, seal: Seal, reply: Reply) -> None:
        """Answered when the seal, and all that was staged before it, is durable."""
        decision = self.state.begin_seal(seal)
        match decision:
            case PersistSeal(persist):
                self._wait(self._seal_waiters, (Status.OK, reply), reply)
                row = persisted_row(self.state.loglet, persist)
                self._write([row], self._seal_written)
            case AlreadySealed():
                reply(self.state.header())
            case WaitForSeal():
                self._wait(self._seal_waiters, (Status.OK, reply), reply)
            case Reject(status):
                reply(self.state.header(status))
            case _:
                assert_never(decision)

    def handle_trim(self, trim: TrimLoglet, reply: Reply) -> None:
        """Answered when the trim point is durable; the records go right after."""
        decision = self.state.trim(trim)
        match decision:
            case PersistTrim(persist):
                row = persisted_row(self.state.loglet, persist)
                point = persist.trim_point
                self._write([row], lambda done: self._trim_written(point, reply, done))
            case AlreadyTrimmed():
                reply(Trimmed(self.state.header(), self.state.trim_point))
            case Reject(status):
                reply(Trimmed(self.state.header(status), self.state.trim_point))
            case _:
                assert_never(decision)

    def fail_safe(self) -> None:
        """The disk failed: deny everything that waits for it."""
        self.state.fail_safe()
        waiting = [reply for _, reply in self._in_flight_waiters]
        waiting += [reply for _, reply in self._seal_waiters]
        self._in_flight_waiters, self._seal_waiters = [], []
        for reply in waiting:
            reply(self.state.header(Status.DISABLED))

    # ------------------------------------------------------------ reads

    def info(self) -> LogletInfo:
        return self.state.info()

    def wait_for_tail(self, request: WaitForTail, reply: Reply, now: float) -> None:
        """Answered when the tail is reached or the loglet is sealed, or at `expire_waits`."""
        waiter = _TailWaiter(request.offset, request.committed, reply, now + TAIL_WAIT_MAX_S)
        if self._is_due(waiter):
            reply(self.state.header())
        elif len(self._tail_waiters) >= WAITERS_MAX:
            reply(self.state.header(Status.DROPPED))
        else:
            self._tail_waiters.append(waiter)

    def expire_waits(self, now: float) -> bool:
        """Answer those who have waited too long for a tail; True while others still wait."""
        expired = [waiter for waiter in self._tail_waiters if waiter.until <= now]
        self._tail_waiters = [waiter for waiter in self._tail_waiters if waiter.until > now]
        for waiter in expired:
            waiter.reply(self.state.header())
        return bool(self._tail_waiters)

    def records(self, request: GetRecords) -> Records:
        """What is here of the requested window."""
        first, tail = self.state.readable(request)
        window = Span(first, tail)
        runs, next_offset = loglet_runs.answer(
            self._store.runs(self.state.loglet, window) if first < tail else [],
            window,
            min(request.bytes_max, READ_BYTES_MAX),
        )
        return Records(self.state.header(), self.state.trim_point, next_offset, runs)

    def digest(self, request: GetDigest) -> Digest:
        """Which offsets are here, and sound: rows that are damaged must not hide the others.
        Inclusive window, clipped to what can exist.
        """
        tail = LogletOffset(min(request.to_offset + 1, self.state.local_tail))
        window = Span(request.from_offset, LogletOffset(max(request.from_offset, tail)))
        runs = self._store.sound_runs(self.state.loglet, window)
        spans = [span for run in runs for span in self._certain(loglet_runs.span(run))]
        entries = loglet_runs.digest(spans, window, self.state.trim_point)
        return Digest(self.state.header(), entries)

    def checksums(self, request: GetChecksums) -> Checksums:
        """What is in the records of a first part of the window; leaves out what is in doubt."""
        first, stop = request.from_offset, max(request.from_offset, request.to_offset)
        stop = LogletOffset(min(stop, first + CHECKSUMS_MAX))
        trim_point = self.state.trim_point
        tail = LogletOffset(min(stop, self.state.local_tail))
        window = Span(LogletOffset(max(first, trim_point + 1)), tail)
        sums, answered = self._sums(window) if window.first < window.tail else ([], tail)
        next_offset = stop if answered >= tail else answered
        return Checksums(self.state.header(), trim_point, next_offset, sums)

    # ------------------------------------------------------------ inside

    def _sums(self, window: Span) -> tuple[list[ChecksumRun], LogletOffset]:
        """Of certain records, and where to go on; a damaged row ends what comes before it."""
        sums: list[ChecksumRun] = []
        position, room = window.first, CHECKED_BYTES_MAX
        try:
            for run in self._store.runs(self.state.loglet, window):
                if room <= 0:
                    return sums, run.first_offset
                room -= len(run.body)
                inside = loglet_runs.part(run, window)
                spans = self._certain(loglet_runs.span(inside))
                sums += [loglet_runs.checksums(loglet_runs.part(inside, span)) for span in spans]
                position = loglet_runs.span(inside).tail
        except CorruptStore:
            if position == window.first:
                raise
            return sums, position
        return sums, window.tail

    def _certain(self, span: Span) -> list[Span]:
        """The parts of a stored span that no crash can take back."""
        parts = [span]
        for doubt in self._doubtful:
            parts = [rest for one in parts for rest in loglet_runs.holes([doubt], one)]
        return parts

    def _stage(self, store: Store, admit: Admit, reply: Reply) -> None:
        try:
            rows = self._rows(store, admit)
        except (CorruptStore, StoreError):
            # It counts as staged and is not: nothing may be stored behind it any more.
            self.fail_safe()
            reply(self.state.header(Status.DISABLED))
            return
        if admit.persist is not None:
            rows.append(persisted_row(self.state.loglet, admit.persist))
        doubt = Span(admit.first_offset, admit.tail) if admit.backfill else None
        if doubt is not None:
            self._doubtful.append(doubt)
        self._write(rows, lambda done: self._store_written(admit.tail, doubt, reply, done))

    def _write(self, rows: Sequence[Change], on_durable: OnDurable) -> None:
        self._writes += 1
        self._writer.stage(rows, lambda done: self._written(on_durable, done))

    def _written(self, on_durable: OnDurable, done: bool) -> None:
        self._writes -= 1
        on_durable(done)

    def _can_look(self, store: Store) -> bool:
        """A store that may fill a hole must see what was staged a moment ago."""
        return store.first_offset >= self.state.unbroken_from or self._writer.settle()

    def _rows(self, store: Store, admit: Admit) -> list[Change]:
        loglet, known = self.state.loglet, self.state.known_global_tail
        if not admit.backfill and admit.skip == 0:
            run = StoredRun(store.first_offset, store.count, store.body)
            return [run_row(loglet, run, known)]
        window = Span(admit.first_offset, admit.tail)
        missing = [window]
        if admit.backfill:
            stored = (loglet_runs.span(run) for run in self._store.sound_runs(loglet, window))
            missing = loglet_runs.holes(stored, window)
        return [run_row(loglet, _part(store, span), known) for span in missing]

    def _store_written(
        self, tail: LogletOffset, doubt: Span | None, reply: Reply, done: bool
    ) -> None:
        if not done:
            reply(self.state.header(Status.DISABLED))
            return
        if doubt is not None:
            self._doubtful.remove(doubt)
        self.state.durable(tail)
        reply(self.state.header())
        self._wake_in_flight_waiters()
        self._wake_tail_waiters()

    def _wake_in_flight_waiters(self) -> None:
        if not self._in_flight_waiters:
            return
        waiting, self._in_flight_waiters = self._in_flight_waiters, []
        for tail, reply in waiting:
            if tail <= self.state.local_tail:
                reply(self.state.header())
            else:
                self._in_flight_waiters.append((tail, reply))

    def _seal_written(self, done: bool) -> None:
        if done:
            self.state.seal_durable()
        waiting, self._seal_waiters = self._seal_waiters, []
        for status, reply in waiting:
            reply(self.state.header(status if done else Status.DISABLED))
        self._wake_tail_waiters()

    def _trim_written(self, trim_point: LogletOffset, reply: Reply, done: bool) -> None:
        if done:
            self._delete_below(trim_point)
        status = Status.OK if done else Status.DISABLED
        reply(Trimmed(self.state.header(status), self.state.trim_point))

    def _delete_below(self, trim_point: LogletOffset) -> None:
        """The trim counts whether the rows go or not: one that cannot be read keeps them here, and
        must not take the log server down.
        """
        try:
            rows = self._store.rows_below(self.state.loglet, trim_point)
        except (CorruptStore, StoreError) as error:
            logger.warning(
                "trimmed records stay", loglet=loglet_text(self.state.loglet), reason=str(error)
            )
            return
        self._write([rows], lambda done: self._on_deleted(rows) if done else None)

    def _wait(
        self, waiters: list[tuple[Waited, Reply]], entry: tuple[Waited, Reply], reply: Reply
    ) -> None:
        if len(waiters) >= WAITERS_MAX:
            reply(self.state.header(Status.DROPPED))
        else:
            waiters.append(entry)

    def _wake_tail_waiters(self) -> None:
        if not self._tail_waiters:
            return
        due = [waiter for waiter in self._tail_waiters if self._is_due(waiter)]
        if not due:
            return
        self._tail_waiters = [waiter for waiter in self._tail_waiters if not self._is_due(waiter)]
        for waiter in due:
            waiter.reply(self.state.header())

    def _is_due(self, waiter: _TailWaiter) -> bool:
        tail = self.state.known_global_tail
        if not waiter.committed:
            tail = max(tail, self.state.local_tail)
        return waiter.offset <= tail or self.state.sealed


def _part(store: Store, span: Span) -> StoredRun:
    batch = RecordBatch(store.count, store.body)
    kept = cut(batch, span.first - store.first_offset, span.tail - span.first)
    return StoredRun(span.first, kept.count, kept.body)
