"""`KeyValueStore` on RocksDB, through rocksdict; the only module that touches its databases.

The binding has traps that lose data without an error; each was reproduced, each is closed here.

    trap                                            answer
    it holds the interpreter lock while it waits    `write` never waits: no sync, no slowdown;
                                                    `GroupCommit` syncs the log on a thread, with
                                                    the one call that releases the lock
    a bounded iterator points into ReadOptions      `_BoundedIterator` owns all three
      and bytes that Python may free: it gave
      1 row of 10,000
    `items()` ends at a corrupt block, as if        the raw iterator, whose status is asked for
      there were no more rows
    `set_iterate_lower_bound` sets the upper one    seek, and compare when going backwards
    `flush()` flushes one column family             see below
    handles keep the files locked after `close()`   the store owns them and drops them
    the default mode pickles                        raw mode everywhere

**Families.** With a write-ahead log a family is a column family: the log keeps them in step.
Without one, column families are flushed one after the other, and a crash in between leaves half of
a batch behind. So a store without a log keeps its families in one column family, told apart by the
first byte of the key; what is flushed of it is always a prefix of its history. Both are a pair
(prefix, column), and the code below does not ask which.

    with a log       "data" ─ ("", column "data")       "metadata" ─ ("", column "metadata")
    without          "state" ─ (0x00, default column)   "journal" ─ (0x01, default column)

The byte is the position in `StoreOptions.families`: new families go at the end. The list is stored
beside the data and compared when the store is opened.

Driven by the loop, except for the commit, `flush`, `compact` and `close`, which run on threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

from rocksdict import Checkpoint, ColumnFamily, Rdict, RdictIter, ReadOptions
from rocksdict import WriteBatch as RawBatch

from restate_node.runtime.ports import (
    StoreBusy,
    StoreError,
    StoreFull,
    StoreLocked,
    StoreOptions,
    WriteBatch,
)
from restate_node.runtime.real.group_commit import GroupCommit
from restate_node.runtime.real.rocksdb_options import (
    StoreMemory,
    rocksdb_options,
    write_options,
)

__all__ = ["RocksStore", "store_error"]

DEFAULT_COLUMN = "default"
FAMILIES_MAX = 200
FAMILIES_KEY = b"\xff families"
"""Above every prefix: no scan of a family meets it."""


def store_error(error: Exception, doing: str) -> StoreError:
    """rocksdict raises plain `Exception`s: tell them apart by RocksDB's words."""
    text = str(error)
    match text:
        case _ if "No space left" in text or "Disk quota exceeded" in text:
            return StoreFull(f"{doing}: {text}: free space, then restart the node")
        case _ if text.startswith("Result incomplete"):
            return StoreBusy(f"{doing}: compaction is behind: retry in a few milliseconds")
        case _ if "lock hold by" in text or "While lock file" in text:
            return StoreLocked(f"{doing}: {text}: stop the other process first")
        case _:
            return StoreError(f"{doing}: {text}")


@dataclass(frozen=True, slots=True)
class _Family:
    """Where the rows of a family live: a column, and what stands before each key in it."""

    prefix: bytes
    column: ColumnFamily
    rows: Rdict


class RocksBatch:
    """A `WriteBatch` of RocksDB. Only the store that made it can write it."""

    __slots__ = ("_families", "raw")

    def __init__(self, families: dict[str, _Family]) -> None:
        self._families = families
        self.raw = RawBatch(raw_mode=True)

    def put(self, family: str, key: bytes, value: bytes) -> None:
        home = self._families[family]
        self.raw.put(home.prefix + key, value, home.column)

    def delete(self, family: str, key: bytes) -> None:
        home = self._families[family]
        self.raw.delete(home.prefix + key, home.column)

    def delete_range(self, family: str, start: bytes, end: bytes) -> None:
        if start < end:  # RocksDB takes a range that ends before it starts for corruption
            home = self._families[family]
            self.raw.delete_range(home.prefix + start, home.prefix + end, home.column)


class _BoundedIterator:
    """An iterator together with the options and bounds that its C side points into."""

    __slots__ = ("_end", "_options", "rows", "start")

    def __init__(self, family: _Family, start: bytes, end: bytes) -> None:
        self.start = start
        self._end = end
        self._options = ReadOptions()
        self._options.set_iterate_upper_bound(end)
        self.rows: RdictIter | None = family.rows.iter(self._options)

    def close(self) -> None:
        """Drop the iterator before what it points into; the store cannot close before that."""
        self.rows = None


class RocksStore:
    """One open RocksDB database. Use it on one event loop."""

    def __init__(
        self,
        path: PurePath,
        options: StoreOptions,
        memory: StoreMemory,
        place_of: Callable[[str], Path] = Path,
        synced: Callable[[], None] = lambda: None,
    ) -> None:
        """Open or create; blocks for a few fsyncs. Raises StoreError, StoreLocked.

        `place_of` says where a path of the port is; `synced` is called, on a thread, after each
        sync of the log.
        """
        assert 0 < len(options.families) <= FAMILIES_MAX, options.families
        assert len(set(options.families)) == len(options.families), options.families
        self._path = path
        self._place_of = place_of
        self._synced = synced
        self._write_options = write_options(options)
        self._database: Rdict | None = None
        self._families: dict[str, _Family] = {}
        self._threads: set[asyncio.Future[None]] = set()
        self._closing: asyncio.Future[None] | None = None
        try:
            self._open(options, memory)
        except StoreError:
            self._drop_handles()
            raise
        except Exception as error:
            self._drop_handles()
            raise store_error(error, f"open store {path.name}") from error
        commit = self._sync_log if options.write_ahead_log else self._flush_families
        self._group_commit = GroupCommit(commit, f"sync {path.name}")

    # ------------------------------------------------------------ on the loop

    def get(self, family: str, key: bytes) -> bytes | None:
        """The value, or None. Raises StoreError."""
        home = self._families[family]
        try:
            return home.rows.get(home.prefix + key)
        except Exception as error:
            raise self._error(error, "read") from error

    def scan(
        self,
        family: str,
        start: bytes,
        end: bytes,
        *,
        rows_max: int,
        bytes_max: int = 4 * 1024 * 1024,
        reverse: bool = False,
    ) -> list[tuple[bytes, bytes]]:
        """Rows of `[start, end)`, up to either limit, at least one. Raises StoreError."""
        assert rows_max > 0, rows_max
        if start >= end:
            return []
        home = self._families[family]
        prefix = home.prefix
        try:
            iterator = _BoundedIterator(home, prefix + start, prefix + end)
            try:
                return _rows(iterator, len(prefix), rows_max, bytes_max, reverse)
            finally:
                iterator.close()
        except Exception as error:
            raise self._error(error, "scan") from error

    def batch(self) -> RocksBatch:
        """An empty batch for this store."""
        return RocksBatch(self._families)

    def write(self, batch: WriteBatch) -> None:
        """Make a batch visible; never waits. Raises StoreError, StoreBusy, StoreFull."""
        assert isinstance(batch, RocksBatch), "a batch of another store"
        if self._group_commit.failure is not None:
            raise StoreError(f"{self._group_commit.failure}") from self._group_commit.failure
        try:
            self._opened().write(batch.raw, self._write_options)
        except Exception as error:
            mapped = self._error(error, "write")
            if not isinstance(mapped, StoreBusy):
                # RocksDB may have written half of a log record: nothing behind it can be trusted.
                self._group_commit.fail(mapped)
            raise mapped from error

    def sync(self) -> Awaitable[None]:
        """Await that every earlier write is durable; costs a future. Without a log: flush."""
        return self._group_commit.join_round()

    @property
    def is_open(self) -> bool:
        """It has not been told to close."""
        return self._closing is None and self._database is not None

    @property
    def column_families(self) -> int:
        """How many RocksDB keeps; families of the port may share one."""
        return len(self._columns())

    # ------------------------------------------------------------ on threads

    async def flush(self) -> None:
        """Write the memtables of all families to sorted files. Cancellation leaves it running."""
        await self._in_thread(self._flush_families)

    async def compact(self) -> None:
        """Merge all files of all families. Cancellation leaves it running."""
        await self._in_thread(self._compact_families)

    async def compact_range(self, family: str, start: bytes, end: bytes) -> None:
        """Merge the files that overlap the range. Cancellation leaves it running."""
        home = self._families[family]

        def work() -> None:
            try:
                home.rows.compact_range(home.prefix + start, home.prefix + end)
            except Exception as error:
                raise self._error(error, "compact") from error

        await self._in_thread(work)

    async def checkpoint(self, path: str) -> None:
        """Copy the store, by links, into a directory that does not exist. Cancellation leaves it
        running.

        The memory is flushed first: making the checkpoint holds the interpreter, flushing does not.
        """
        directory = self._place_of(path)
        await self._in_thread(self._flush_families)
        await self._in_thread(lambda: self._make_checkpoint(directory))

    async def close(self) -> None:
        """Sync what has a log, release files and lock. Idempotent; goes on when cancelled."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        if self._threads:
            await asyncio.wait(self._threads)
        try:
            if self._database is not None and self._group_commit.failure is None:
                await self._group_commit.join_round()
            await asyncio.to_thread(self._group_commit.stop)
        finally:
            await asyncio.to_thread(self._close_database)

    async def _in_thread(self, work: Callable[[], None]) -> None:
        if self._closing is not None:
            raise StoreError(f"{self._path.name}: the store is closed: reopen it")
        running = asyncio.ensure_future(asyncio.to_thread(work))
        self._threads.add(running)
        running.add_done_callback(self._threads.discard)
        # Shielded: `close` must know of threads that outlive their caller.
        await asyncio.shield(running)

    def _sync_log(self) -> None:
        try:
            self._opened().flush_wal(True)
        except Exception as error:
            raise self._error(error, "sync") from error
        self._synced()

    def _flush_families(self) -> None:
        try:
            for rows in self._columns():
                rows.flush(True)
        except Exception as error:
            raise self._error(error, "flush") from error

    def _compact_families(self) -> None:
        try:
            for rows in self._columns():
                rows.compact_range(None, None)
        except Exception as error:
            raise self._error(error, "compact") from error

    def _make_checkpoint(self, directory: Path) -> None:
        try:
            directory.parent.mkdir(parents=True, exist_ok=True)
            Checkpoint(self._opened()).create_checkpoint(str(directory))
        except Exception as error:
            raise self._error(error, "checkpoint") from error

    def _close_database(self) -> None:
        database, self._database = self._database, None
        self._families.clear()
        if database is None:
            return
        try:
            database.close()
        except Exception as error:
            raise self._error(error, "close") from error

    # ------------------------------------------------------------ opening

    def _open(self, options: StoreOptions, memory: StoreMemory) -> None:
        tuned = rocksdb_options(options, memory)
        columns = options.families if options.write_ahead_log else ()
        self._database = Rdict(
            str(self._path), options=tuned, column_families=dict.fromkeys(columns, tuned)
        )
        if options.write_ahead_log:
            self._families = {name: self._family(b"", name) for name in options.families}
        else:
            self._families = {
                name: self._family(bytes((position,)), DEFAULT_COLUMN)
                for position, name in enumerate(options.families)
            }
            self._check_families(options)

    def _family(self, prefix: bytes, column: str) -> _Family:
        database = self._opened()
        return _Family(
            prefix, database.get_column_family_handle(column), database.get_column_family(column)
        )

    def _check_families(self, options: StoreOptions) -> None:
        database = self._opened()
        known = database.get(FAMILIES_KEY) or b""
        names = tuple(known.decode().split("\n")) if known else ()
        if names != options.families[: len(names)]:
            raise StoreError(
                f"store {self._path.name} holds families {names}, not {options.families}:"
                " append new families at the end"
            )
        if names != options.families:
            database.put(FAMILIES_KEY, "\n".join(options.families).encode(), self._write_options)

    # ------------------------------------------------------------ small parts

    def _opened(self) -> Rdict:
        if self._database is None:
            raise StoreError("the store is closed: reopen it")
        return self._database

    def _columns(self) -> list[Rdict]:
        """Each column once, whatever the number of families in it."""
        homes = list(self._families.values())
        return [home.rows for home in (homes[:1] if homes and homes[0].prefix else homes)]

    def _drop_handles(self) -> None:
        self._families.clear()
        self._database = None

    def _error(self, error: Exception, doing: str) -> StoreError:
        if isinstance(error, StoreError):
            return error
        return store_error(error, f"{doing} store {self._path.name}")


def _rows(
    iterator: _BoundedIterator, prefix_length: int, rows_max: int, bytes_max: int, reverse: bool
) -> list[tuple[bytes, bytes]]:
    """Read until a limit is reached; a first row above `bytes_max` is read all the same."""
    rows = iterator.rows
    assert rows is not None
    if reverse:
        rows.seek_to_last()
    else:
        rows.seek(iterator.start)
    advance = rows.prev if reverse else rows.next
    found: list[tuple[bytes, bytes]] = []
    size_bytes = 0
    while rows.valid():
        key: bytes = rows.key()
        if key < iterator.start:  # going backwards, where no bound stops us
            break
        value: bytes = rows.value()
        size_bytes += len(key) - prefix_length + len(value)
        if found and size_bytes > bytes_max:
            break
        found.append((key[prefix_length:], value))
        if len(found) >= rows_max:
            break
        advance()
    # An iterator that met damage is simply no longer valid; only its status tells.
    rows.status()
    return found
