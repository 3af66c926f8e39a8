"""The database of a log server: one for all loglets, so that one fsync serves them all.

    family "data"      loglet u64 | first offset u32        ->  tail u32 | count u32
                                                                | sum u64 | body
    family "metadata"  "l" loglet u64                       ->  PersistedLoglet (msgpack)
                       "e" log u32                          ->  segment u32
                       "storage-marker"                     ->  whose data this is (JSON)

Keys are big-endian, so the runs of a loglet lie together in the order of their offsets. A run is
written as it came: one key per stored batch, whatever its number of records. The known global tail
of the moment is stored beside each run; after a restart the last run therefore tells a lower bound
of it that no extra write had to pay for. A row "e" says that the loglets of a log up to that
segment have ended: it stands for the seals that a server forgot which lost its data. The sum covers
key and value: a row that is not what was written is never read as records, it is reported.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec
import xxhash

from restate_node.protocol.loglet_runs import Span
from restate_node.protocol.loglet_store import LogletState, PersistedLoglet
from restate_node.runtime.ports import Disk, KeyValueStore, StoreOptions
from restate_node.types.decoding import UNDECODABLE
from restate_node.types.ids import (
    LogId,
    LogletId,
    SegmentIndex,
    loglet_log,
    loglet_segment,
)
from restate_node.types.log_messages import StoredRun
from restate_node.types.offsets import OFFSET_MAX, OLDEST_OFFSET, LogletOffset

DATA: Final = "data"
METADATA: Final = "metadata"
DIRECTORY: Final = "log-store"
WRITE_BUFFER_BYTES: Final = 32 * 1024 * 1024
SCAN_ROWS_MAX: Final = 512
ENDED_LOGS_MAX: Final = 1_000_000

_DATA_KEY = struct.Struct(">QI")
_VALUE_HEAD = struct.Struct("<II")
_CHECKSUM = struct.Struct("<Q")
_BODY_FROM = _VALUE_HEAD.size + _CHECKSUM.size
_MARKER_KEY = b"storage-marker"
_ENDED = struct.Struct(">cI")
_INDEX = struct.Struct("<I")
_persisted = msgspec.msgpack.Decoder(PersistedLoglet)
_encode = msgspec.msgpack.Encoder().encode


DecodedRun: TypeAlias = tuple[LogletOffset, StoredRun]
"""With the global tail that was known when it was stored."""
DecodeRun: TypeAlias = Callable[[bytes, bytes], DecodedRun | None]


class CorruptStore(Exception):
    """A value that was never written like this. The log server must not answer from it."""


class Put(NamedTuple):
    """One row to write."""

    family: str
    key: bytes
    value: bytes


class DeleteRange(NamedTuple):
    """Rows `[start, end)` to delete."""

    family: str
    start: bytes
    end: bytes


Change: TypeAlias = Put | DeleteRange


def run_row(loglet: LogletId, run: StoredRun, known_global_tail: LogletOffset) -> Put:
    """The row of a run."""
    key = _DATA_KEY.pack(loglet, run.first_offset)
    head = _VALUE_HEAD.pack(known_global_tail, run.count)
    value = b"".join((head, _CHECKSUM.pack(_checksum(key, head, run.body)), run.body))
    return Put(DATA, key, value)


def persisted_row(loglet: LogletId, persisted: PersistedLoglet) -> Put:
    """The row of what must survive of a loglet besides its records."""
    return Put(METADATA, _loglet_key(loglet), _encode(persisted))


class LogStore:
    """Typed access to the database; writing goes through `writer.Writer`."""

    def __init__(self, store: KeyValueStore) -> None:
        self.store = store
        rows = store.scan(METADATA, b"e", b"f", rows_max=ENDED_LOGS_MAX, bytes_max=1 << 30)
        self._ended: dict[LogId, SegmentIndex] = {
            _ENDED.unpack(key)[1]: _INDEX.unpack(value)[0] for key, value in rows
        }

    @staticmethod
    def open(disk: Disk) -> LogStore:
        """Open or create; raises StoreError."""
        options = StoreOptions((DATA, METADATA), write_buffer_bytes=WRITE_BUFFER_BYTES)
        return LogStore(disk.open_store(DIRECTORY, options))

    def load(self, loglet: LogletId) -> LogletState:
        """The loglet as the disk knows it; a new one when it does not."""
        state = self._load(loglet)
        if self.has_ended(loglet):
            state.ended()
        return state

    def has_ended(self, loglet: LogletId) -> bool:
        """A repair has learned from the chain that it takes no more records."""
        return loglet_segment(loglet) <= self._ended.get(loglet_log(loglet), -1)

    async def write_ends(self, through: Mapping[LogId, SegmentIndex]) -> None:
        """The loglets of each log up to that segment have ended; raises StoreError."""
        if all(self._ended.get(log) == segment for log, segment in through.items()):
            return
        batch = self.store.batch()
        for log, segment in through.items():
            batch.put(METADATA, _ENDED.pack(b"e", log), _INDEX.pack(segment))
        self.store.write(batch)
        await self.store.sync()
        self._ended.update(through)

    def _load(self, loglet: LogletId) -> LogletState:
        raw = self.store.get(METADATA, _loglet_key(loglet))
        persisted = _decode_persisted(raw) if raw is not None else None
        last = self._last_run_before(loglet, LogletOffset(OFFSET_MAX + 1))
        if last is None:
            return LogletState(loglet, persisted)
        known_tail, run = last
        state = LogletState(loglet, persisted, LogletOffset(run.first_offset + run.count))
        state.release(known_tail)
        return state

    def runs(self, loglet: LogletId, window: Span) -> Iterator[StoredRun]:
        """Stored runs that touch the window, ascending; pages, so that a reader may stop early.
        Raises CorruptStore at one that is damaged, unless it begins before the window: that says
        nothing about what is inside.
        """
        return self._runs(loglet, window, _decode_run)

    def sound_runs(self, loglet: LogletId, window: Span) -> Iterator[StoredRun]:
        """The same without those that are damaged."""
        return self._runs(loglet, window, _decode_sound_run)

    def _runs(self, loglet: LogletId, window: Span, decode: DecodeRun) -> Iterator[StoredRun]:
        before = self._last_row_before(loglet, window.first)
        decoded = None if before is None else _decode_sound_run(*before)
        if decoded is not None and decoded[1].first_offset + decoded[1].count > window.first:
            yield decoded[1]
        start = _DATA_KEY.pack(loglet, window.first)
        end = _DATA_KEY.pack(loglet, window.tail)
        while True:
            rows = self.store.scan(DATA, start, end, rows_max=SCAN_ROWS_MAX)
            tail = window.first
            for key, value in rows:
                decoded = decode(key, value)
                if decoded is not None:
                    run = decoded[1]
                    tail = LogletOffset(run.first_offset + run.count)
                    yield run
            if not rows or tail >= window.tail:
                return
            start = rows[-1][0] + b"\x00"

    def rows_below(self, loglet: LogletId, trim_point: LogletOffset) -> DeleteRange:
        """The runs that lie wholly at or below the trim point."""
        keep = self._last_run_before(loglet, LogletOffset(trim_point + 2))
        tail = LogletOffset(trim_point + 1)
        if keep is not None and keep[1].first_offset + keep[1].count > tail:
            tail = keep[1].first_offset
        start, end = _DATA_KEY.pack(loglet, OLDEST_OFFSET), _DATA_KEY.pack(loglet, tail)
        return DeleteRange(DATA, start, end)

    def marker(self) -> bytes | None:
        """The storage marker, None in a database that never had one."""
        return self.store.get(METADATA, _MARKER_KEY)

    async def write_marker(self, marker: bytes) -> None:
        """Durable when it returns; raises StoreError."""
        batch = self.store.batch()
        batch.put(METADATA, _MARKER_KEY, marker)
        self.store.write(batch)
        await self.store.sync()

    def _last_run_before(self, loglet: LogletId, tail: LogletOffset) -> DecodedRun | None:
        row = self._last_row_before(loglet, tail)
        return None if row is None else _decode_run(*row)

    def _last_row_before(self, loglet: LogletId, tail: LogletOffset) -> tuple[bytes, bytes] | None:
        start, end = _DATA_KEY.pack(loglet, 0), _DATA_KEY.pack(loglet, tail)
        rows = self.store.scan(DATA, start, end, rows_max=1, reverse=True)
        return rows[0] if rows else None


def _loglet_key(loglet: LogletId) -> bytes:
    return b"l" + loglet.to_bytes(8, "big")


def _decode_sound_run(key: bytes, value: bytes) -> DecodedRun | None:
    """None if it is damaged."""
    try:
        return _decode_run(key, value)
    except CorruptStore:
        return None


def _decode_run(key: bytes, value: bytes) -> DecodedRun:
    if len(key) != _DATA_KEY.size or len(value) < _BODY_FROM:
        raise CorruptStore(f"the log store holds a malformed row {key.hex()}; restore this node")
    _, first = _DATA_KEY.unpack(key)
    known_tail, count = _VALUE_HEAD.unpack_from(value)
    run = StoredRun(LogletOffset(first), count, value[_BODY_FROM:])
    expected = _CHECKSUM.unpack_from(value, _VALUE_HEAD.size)[0]
    if _checksum(key, value[: _VALUE_HEAD.size], run.body) != expected:
        raise CorruptStore(f"the log store holds a damaged row {key.hex()}; restore this node")
    return LogletOffset(known_tail), run


def _checksum(key: bytes, head: bytes, body: bytes) -> int:
    """The seed ties the body to its place, so that no byte is copied to be summed."""
    return xxhash.xxh3_64_intdigest(body, seed=xxhash.xxh3_64_intdigest(key + head))


def _decode_persisted(raw: bytes) -> PersistedLoglet:
    try:
        return _persisted.decode(raw)
    except UNDECODABLE as error:
        raise CorruptStore(f"the log store holds a malformed loglet: {error}") from None
