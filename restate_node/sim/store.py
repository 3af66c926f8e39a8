"""A key-value store in memory that forgets what was not synced.

    write -> visible now, one entry in `pending`, with what it replaced
    sync  -> later, the entries that were pending at its start are durable (`flush` without a log)
    crash -> the log keeps a prefix of `pending`, whole batches only; the rest is undone

A prefix and not nothing, because the kernel may have written part of the log already; whole
batches, because the log's records carry checksums. A store without a log loses everything since
its last flush.

After a failed sync the handle accepts no more writes. The kernel drops dirty pages when fsync
fails, and a second fsync succeeds over the hole, so retrying would acknowledge what is not there.
Reopen after a restart and see.

`StoreImage` is what lies on the medium, `SimStore` is one process's handle on it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from restate_node.runtime.ports import StoreError, WriteBatch
from restate_node.sim.hosts import Incarnation
from restate_node.sim.sorted_map import Row, SortedMap

if TYPE_CHECKING:
    from restate_node.sim.disk import SimMedium


@dataclass(frozen=True, slots=True)
class Put:
    family: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    family: str
    key: bytes


@dataclass(frozen=True, slots=True)
class DeleteRange:
    family: str
    start: bytes
    end: bytes


Change = Put | Delete | DeleteRange


class SimBatch:
    """The WriteBatch port."""

    __slots__ = ("changes", "written")

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.written = False

    def put(self, family: str, key: bytes, value: bytes) -> None:
        self.changes.append(Put(family, bytes(key), bytes(value)))

    def delete(self, family: str, key: bytes) -> None:
        self.changes.append(Delete(family, bytes(key)))

    def delete_range(self, family: str, start: bytes, end: bytes) -> None:
        self.changes.append(DeleteRange(family, bytes(start), bytes(end)))

    @property
    def size_bytes(self) -> int:
        """What it adds to the log."""
        return sum(_size(change) for change in self.changes)


def _size(change: Change) -> int:
    match change:
        case Put(_, key, value):
            return len(key) + len(value)
        case Delete(_, key):
            return len(key)
        case DeleteRange(_, start, end):
            return len(start) + len(end)


Former = tuple[str, bytes, bytes | None]
"""Family, key and the value before a change."""


@dataclass(slots=True)
class StoreImage:
    """A store on the medium; `pending` is what a crash may still take back, oldest first."""

    write_ahead_log: bool
    families: dict[str, SortedMap] = field(default_factory=dict[str, SortedMap])
    pending: deque[list[Former]] = field(default_factory=deque[list[Former]])
    owner: Incarnation | None = None
    written: int = 0
    """Batches ever written; the newest pending batch is number `written`."""
    size_bytes: int = 0

    def apply(self, changes: list[Change]) -> None:
        """Make a batch visible."""
        undo: list[Former] = []
        for change in changes:
            undo.extend(self._apply(change))
        self.pending.append(undo)
        self.written += 1

    def _apply(self, change: Change) -> list[Former]:
        rows = self.families[change.family]
        match change:
            case Put(family, key, value):
                former = rows.put(key, value)
                self._resize(key, former, value)
                return [(family, key, former)]
            case Delete(family, key):
                former = rows.delete(key)
                self._resize(key, former, None)
                return [(family, key, former)]
            case DeleteRange(family, start, end):
                gone = rows.delete_range(start, end)
                for key, value in gone:
                    self._resize(key, value, None)
                return [(family, key, value) for key, value in gone]

    def _resize(self, key: bytes, former: bytes | None, value: bytes | None) -> None:
        self.size_bytes -= 0 if former is None else len(key) + len(former)
        self.size_bytes += 0 if value is None else len(key) + len(value)
        assert self.size_bytes >= 0

    def harden(self, written: int) -> int:
        """Batches up to number `written` are durable; returns how many became so."""
        count = max(0, len(self.pending) - (self.written - written))
        for _ in range(count):
            self.pending.popleft()
        return count

    def crash(self, survivors: int) -> None:
        """Keep the first `survivors` pending batches, take back the others, newest first."""
        while len(self.pending) > survivors:
            for family, key, former in reversed(self.pending.pop()):
                self._restore(self.families[family], key, former)
        self.pending.clear()
        self.owner = None

    def _restore(self, rows: SortedMap, key: bytes, former: bytes | None) -> None:
        present = rows.delete(key) if former is None else rows.put(key, former)
        self._resize(key, present, former)


class GroupCommit:
    """One fsync at a time; who comes while it runs shares the next."""

    def __init__(self, timing: Timing, begin: Callable[[], int], end: Finish) -> None:
        self._timing = timing
        self._begin = begin
        self._end = end
        self._waiting: list[asyncio.Future[None]] = []
        self._running = False
        # The fsync belongs to the kernel: it goes on while the process is paused.
        self._world = Context()

    async def wait(self) -> None:
        """Return when an fsync that started at or after this call is done; raises its error."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append(future)
        if not self._running:
            self._start(loop)
        # A future per caller: cancelling one caller must not take the fsync from the others.
        await future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._running = True
        served, self._waiting = self._waiting, []
        covered = self._begin()
        seconds = self._timing.seconds()
        loop.call_later(seconds, self._done, loop, covered, served, context=self._world)

    def _done(
        self, loop: asyncio.AbstractEventLoop, covered: int, served: list[asyncio.Future[None]]
    ) -> None:
        late = self._timing.stalled_seconds(loop.time())
        if late > 0:  # A stall began while the fsync was under way.
            loop.call_later(late, self._done, loop, covered, served, context=self._world)
            return
        settle(served, self._end(covered))
        self._running = False
        if self._waiting:
            self._start(loop)


def settle(futures: list[asyncio.Future[None]], error: StoreError | None) -> None:
    """Give every caller that still waits the result."""
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(StoreError(*error.args))


Finish = Callable[[int], StoreError | None]


class Timing(Protocol):
    """How long the medium takes."""

    def seconds(self) -> float:
        """Duration of one operation."""
        ...

    def stalled_seconds(self, now: float) -> float:
        """How much longer nothing finishes."""
        ...


class SimStore:
    """The KeyValueStore port: one process's handle on an image."""

    def __init__(self, medium: SimMedium, owner: Incarnation, path: str, image: StoreImage) -> None:
        self._medium = medium
        self._owner = owner
        self._path = path
        self._image = image
        self._closed = False
        self._failed = False
        self._sync = GroupCommit(medium.timing(), self._written, self._synced)
        self._flush = GroupCommit(medium.timing(10), self._written, self._flushed)

    # ------------------------------------------------------------ reading

    def get(self, family: str, key: bytes) -> bytes | None:
        self._check_open()
        return self._rows(family).get(key)

    def scan(
        self,
        family: str,
        start: bytes,
        end: bytes,
        *,
        rows_max: int,
        bytes_max: int = 4 * 1024 * 1024,
        reverse: bool = False,
    ) -> list[Row]:
        self._check_open()
        assert rows_max > 0, "rows_max bounds a scan; it must be positive"
        rows = self._rows(family)
        found: list[Row] = []
        size = 0
        for key, value in rows.rows(start, end, rows_max, reverse=reverse):
            size += len(key) + len(value)
            if found and size > bytes_max:
                break
            found.append((key, value))
        return found

    def _rows(self, family: str) -> SortedMap:
        rows = self._image.families.get(family)
        assert rows is not None, f"{self._path} has no family {family}: name it in StoreOptions"
        return rows

    # ------------------------------------------------------------ writing

    def batch(self) -> WriteBatch:
        return SimBatch()

    def write(self, batch: WriteBatch) -> None:
        assert isinstance(batch, SimBatch), "write batches that this store made"
        assert not batch.written, "a batch is written once: make a new one"
        self._check_writable()
        for change in batch.changes:
            self._rows(change.family)
        self._medium.check_busy(self._path)
        self._medium.check_space(self._path, batch.size_bytes)
        batch.written = True
        broken = self._medium.write_breaks()
        if not broken or self._medium.coin():
            self._image.apply(batch.changes)
        if broken:
            raise self._fail("write")

    async def sync(self) -> None:
        self._check_writable()
        await self._sync.wait()

    async def flush(self) -> None:
        self._check_writable()
        await self._flush.wait()

    async def compact(self) -> None:
        self._check_writable()
        await asyncio.sleep(self._medium.timing(10).seconds())

    async def compact_range(self, family: str, start: bytes, end: bytes) -> None:
        assert start < end, (family, start, end)
        await self.compact()

    async def checkpoint(self, path: str) -> None:
        await self.flush()
        self._check_writable()
        self._medium.add_checkpoint(path, self._image)

    async def close(self) -> None:
        if self._closed:
            return
        self._check_alive()
        try:
            if self._image.write_ahead_log and not self._failed:
                await self._sync.wait()
        finally:
            self._release()

    def _release(self) -> None:
        """What is still pending is no safer than at a crash."""
        if not self._closed and self._owner.alive:
            self._closed = True
            self._medium.released(self._path, self._image)

    # ------------------------------------------------------------ durability

    def _written(self) -> int:
        return self._image.written

    def _synced(self, written: int) -> StoreError | None:
        error = self._barrier_error("sync")
        if error is None and self._image.write_ahead_log:
            self._harden("sync", written)
        return error

    def _flushed(self, written: int) -> StoreError | None:
        error = self._barrier_error("flush")
        if error is None:
            self._harden("flush", written)
        return error

    def _harden(self, what: str, written: int) -> None:
        count = self._image.harden(written)
        self._medium.trace(f"{what} {self._path}: {count} batches")

    def _barrier_error(self, what: str) -> StoreError | None:
        if self._closed or not self._owner.alive:
            return StoreError(f"{self._path}: closed during {what}")
        if self._failed or self._medium.sync_breaks():
            return self._fail(what)
        return None

    def _fail(self, what: str) -> StoreError:
        self._failed = True
        self._medium.trace(f"{what} {self._path} failed")
        return StoreError(f"{self._path}: {what} failed; stop acknowledging and restart")

    # ------------------------------------------------------------ checks

    def _check_alive(self) -> None:
        if not self._owner.alive:
            raise StoreError(f"{self._path}: {self._owner} is dead")

    def _check_open(self) -> None:
        self._check_alive()
        if self._closed:
            raise StoreError(f"{self._path}: closed; open it again")

    def _check_writable(self) -> None:
        self._check_open()
        if self._failed:
            raise StoreError(f"{self._path}: failed before; restart to find out what is durable")
