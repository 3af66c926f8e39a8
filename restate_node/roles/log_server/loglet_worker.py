"""Drives one `protocol.loglet_store.LogletState`: asks it what to do, stages what it says, answers
when durable.

Stores and seals of one loglet are staged in the order in which they were admitted, and the writer
reports them durable in that order; the state machine relies on it. Answers that must wait (for a
write under way, for a seal, for a tail) are kept as plain callbacks, bounded, and are dropped when
their asker has given up long ago.
"""

from __future__ import annotations

from typing import Final, TypeVar, assert_never

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
from restate_node.roles.log_server.log_store import LogStore, Put, persisted_row, run_row
from restate_node.roles.log_server.writer import Writer
from restate_node.types.ids import GenerationalNodeId
from restate_node.types.log_messages import (
    Digest,
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

WAITERS_MAX: Final = 4096
READ_BYTES_MAX: Final = 8 * 1024 * 1024
"""Whatever a reader asks for, one answer is no larger (save for a single larger run)."""


Waited = TypeVar("Waited", LogletOffset, Status, WaitForTail)


class LogletWorker:
    """One loglet of this log server."""

    def __init__(self, state: LogletState, store: LogStore, writer: Writer) -> None:
        self.state = state
        self._store = store
        self._writer = writer
        self._tail_waiters: list[tuple[WaitForTail, Reply]] = []
        self._in_flight_waiters: list[tuple[LogletOffset, Reply]] = []
        self._seal_waiters: list[tuple[Status, Reply]] = []

    @property
    def is_idle(self) -> bool:
        """Nothing under way and nobody waiting: may be forgotten and loaded again."""
        waiting = self._tail_waiters or self._in_flight_waiters or self._seal_waiters
        return not waiting and self.state.staged_tail == self.state.local_tail

    # ------------------------------------------------------------ writes

    def handle_store(
        self, store: Store, sender: GenerationalNodeId, now_ms: int, reply: Reply
    ) -> None:
        """Answered when durable, or at once when refused."""
        if self._writer.is_full:
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
                self._writer.stage([row], self._seal_written)
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
                self._writer.stage([row], lambda done: self._trim_written(point, reply, done))
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

    def wait_for_tail(self, request: WaitForTail, reply: Reply) -> None:
        """Answered when the tail is reached or the loglet is sealed."""
        self._wait(self._tail_waiters, (request, reply), reply)
        self._wake_tail_waiters()

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
        """Which offsets are here. Inclusive window, clipped to what can exist."""
        tail = LogletOffset(min(request.to_offset + 1, self.state.local_tail))
        window = Span(request.from_offset, LogletOffset(max(request.from_offset, tail)))
        spans = [loglet_runs.span(run) for run in self._store.runs(self.state.loglet, window)]
        entries = loglet_runs.digest(spans, window, self.state.trim_point)
        return Digest(self.state.header(), entries)

    # ------------------------------------------------------------ inside

    def _stage(self, store: Store, admit: Admit, reply: Reply) -> None:
        rows = self._rows(store, admit)
        if admit.persist is not None:
            rows.append(persisted_row(self.state.loglet, admit.persist))
        self._writer.stage(rows, lambda done: self._store_written(admit.tail, reply, done))

    def _rows(self, store: Store, admit: Admit) -> list[Put]:
        loglet, known = self.state.loglet, self.state.known_global_tail
        if not admit.backfill and admit.skip == 0:
            run = StoredRun(store.first_offset, store.count, store.body)
            return [run_row(loglet, run, known)]
        window = Span(admit.first_offset, admit.tail)
        missing = [window]
        if admit.backfill:
            stored = (loglet_runs.span(run) for run in self._store.runs(loglet, window))
            missing = loglet_runs.holes(stored, window)
        return [run_row(loglet, _part(store, span), known) for span in missing]

    def _store_written(self, tail: LogletOffset, reply: Reply, done: bool) -> None:
        if not done:
            reply(self.state.header(Status.DISABLED))
            return
        self.state.durable(tail)
        reply(self.state.header())
        ready = [wait for wait in self._in_flight_waiters if wait[0] <= self.state.local_tail]
        if ready:
            self._in_flight_waiters = [w for w in self._in_flight_waiters if w not in ready]
        for _, waiting in ready:
            waiting(self.state.header())
        self._wake_tail_waiters()

    def _seal_written(self, done: bool) -> None:
        if done:
            self.state.seal_durable()
        waiting, self._seal_waiters = self._seal_waiters, []
        for status, reply in waiting:
            reply(self.state.header(status if done else Status.DISABLED))
        self._wake_tail_waiters()

    def _trim_written(self, trim_point: LogletOffset, reply: Reply, done: bool) -> None:
        if done:
            self._store.delete_below(self.state.loglet, trim_point)
        status = Status.OK if done else Status.DISABLED
        reply(Trimmed(self.state.header(status), self.state.trim_point))

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
        committed = self.state.known_global_tail
        tail = max(self.state.local_tail, committed)
        still: list[tuple[WaitForTail, Reply]] = []
        ready: list[Reply] = []
        for wait, reply in self._tail_waiters:
            if wait.offset <= (committed if wait.committed else tail) or self.state.sealed:
                ready.append(reply)
            else:
                still.append((wait, reply))
        self._tail_waiters = still
        for reply in ready:
            reply(self.state.header())


def _part(store: Store, span: Span) -> StoredRun:
    batch = RecordBatch(store.count, store.body)
    kept = cut(batch, span.first - store.first_offset, span.tail - span.first)
    return StoredRun(span.first, kept.count, kept.body)
