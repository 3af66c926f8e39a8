"""What a metadata server keeps on disk: one small database with a write-ahead log.

    family "state"   "mark"        -> whose storage this is, since when, of which cluster
                     "hard-state"  -> term, vote, commit
                     "snapshot"    -> the newest image of the store, with its label
    family "log"     index u64 BE  -> entry

The mark is written before anything else; its time of creation is the storage's id. A node
that comes back with another id has lost its disk, and with it the votes that it gave.

Invariants: what one `Ready` brings is written in one batch; the stored entries have no gap and
start at or before the first one that the snapshot does not cover; founding a cluster is one batch,
so a crash leaves either no cluster or a whole one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from restate_node.protocol.raft.ready import Ready, RestoredState
from restate_node.protocol.raft.recovery import Recovery
from restate_node.runtime.ports import Disk, KeyValueStore, StoreBusy, StoreOptions, WriteBatch
from restate_node.types.ids import PlainNodeId
from restate_node.types.metadata_kv import ClusterIdentity
from restate_node.types.raft import Entry, HardState, Index, Snapshot

DIRECTORY: Final = "replicated-metadata-server"
STATE: Final = "state"
LOG: Final = "log"
SCAN_ROWS_MAX: Final = 1024
BUSY_RETRIES_MAX: Final = 600
BUSY_PAUSE_S: Final = 0.05

_MARK: Final = b"mark"
_HARD_STATE: Final = b"hard-state"
_SNAPSHOT: Final = b"snapshot"
_LOG_END: Final = b"\xff" * 9

_encode = msgspec.msgpack.Encoder().encode


class CorruptMetadata(Exception):
    """The database holds what was never written like this. The server must not vote from it."""


class StorageMark(msgspec.Struct, frozen=True, array_like=True, tag="metadata-storage-1"):
    """Whose storage this is. `node` and `identity` are unknown until the node has a cluster."""

    created_at_millis: int
    node: PlainNodeId | None = None
    identity: ClusterIdentity | None = None
    left_behind_at_millis: int = 0
    """The group was continued without this storage then: it must not speak for it any more."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What the disk gave back; `mark` is None in a new database."""

    mark: StorageMark | None
    raft: RestoredState

    @property
    def is_blank(self) -> bool:
        """Whether this storage never took part in any cluster."""
        return self.raft == RestoredState()


_mark_decoder = msgspec.msgpack.Decoder(StorageMark)
_hard_state_decoder = msgspec.msgpack.Decoder(HardState)
_snapshot_decoder = msgspec.msgpack.Decoder(Snapshot)
_entry_decoder = msgspec.msgpack.Decoder(Entry)


class RaftStorage:
    """Typed access to the database. One task writes at a time."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self.snapshot_bytes = 0

    @staticmethod
    def open(disk: Disk) -> RaftStorage:
        """Open or create; raises StoreError."""
        return RaftStorage(disk.open_store(DIRECTORY, StoreOptions((STATE, LOG))))

    # ------------------------------------------------------------ reading

    def load(self) -> Stored:
        """All of it; raises CorruptMetadata."""
        try:
            return self._load()
        except msgspec.MsgspecError as error:
            raise CorruptMetadata(
                f"the metadata server's database cannot be read ({error}): remove the node from "
                "the metadata cluster, delete its directory "
                f"{DIRECTORY}, and add it again"
            ) from None

    def _load(self) -> Stored:
        mark = self._store.get(STATE, _MARK)
        hard_state = self._store.get(STATE, _HARD_STATE)
        snapshot = self._store.get(STATE, _SNAPSHOT)
        self.snapshot_bytes = len(snapshot or b"")
        raft = RestoredState(
            hard_state=HardState()
            if hard_state is None
            else _hard_state_decoder.decode(hard_state),
            snapshot=Snapshot() if snapshot is None else _snapshot_decoder.decode(snapshot),
            entries=tuple(self._entries()),
        )
        return Stored(None if mark is None else _mark_decoder.decode(mark), raft)

    def _entries(self) -> list[Entry]:
        entries: list[Entry] = []
        start = b""
        while rows := self._store.scan(LOG, start, _LOG_END, rows_max=SCAN_ROWS_MAX):
            entries.extend(_entry_decoder.decode(value) for _, value in rows)
            start = rows[-1][0] + b"\x00"
        return entries

    # ------------------------------------------------------------ writing

    async def write_mark(self, mark: StorageMark) -> None:
        """Durable when it returns; raises StoreError."""
        await self._write(lambda batch: batch.put(STATE, _MARK, _encode(mark)))
        await self._store.sync()

    async def found(
        self, mark: StorageMark, snapshot: Snapshot, hard_state: HardState, entry: Entry
    ) -> None:
        """The first member, its first entry and its commit: durable together, or not at all."""

        def fill(batch: WriteBatch) -> None:
            batch.put(STATE, _MARK, _encode(mark))
            batch.put(STATE, _SNAPSHOT, _encode(snapshot))
            batch.put(STATE, _HARD_STATE, _encode(hard_state))
            batch.put(LOG, _log_key(entry.index), _encode(entry))

        await self._write(fill)
        await self._store.sync()

    async def recover(self, recovery: Recovery) -> None:
        """The entries that make this storage the only member: all durable together, or none."""

        def fill(batch: WriteBatch) -> None:
            batch.put(STATE, _HARD_STATE, _encode(recovery.hard_state))
            for entry in recovery.entries:
                batch.put(LOG, _log_key(entry.index), _encode(entry))

        await self._write(fill)
        await self._store.sync()

    async def persist(self, ready: Ready) -> None:
        """The first step of a `Ready`; raises StoreError. A mere commit is not made durable."""
        if ready.hard_state is None and ready.snapshot is None and not ready.entries:
            return
        await self._write(lambda batch: self._fill(batch, ready))
        if ready.must_sync:
            await self._store.sync()

    def _fill(self, batch: WriteBatch, ready: Ready) -> None:
        if ready.hard_state is not None:
            batch.put(STATE, _HARD_STATE, _encode(ready.hard_state))
        if ready.snapshot is not None:
            self._put_snapshot(batch, ready.snapshot)
            batch.delete_range(LOG, b"", _LOG_END)
        if ready.entries:
            batch.delete_range(LOG, _log_key(ready.entries[0].index), _LOG_END)
        for entry in ready.entries:
            batch.put(LOG, _log_key(entry.index), _encode(entry))

    async def compact(self, snapshot: Snapshot, forget_to: Index) -> None:
        """Store the image and drop the entries up to `forget_to`; durable when it returns."""

        def fill(batch: WriteBatch) -> None:
            self._put_snapshot(batch, snapshot)
            batch.delete_range(LOG, b"", _log_key(Index(forget_to + 1)))

        await self._write(fill)
        await self._store.sync()

    def _put_snapshot(self, batch: WriteBatch, snapshot: Snapshot) -> None:
        encoded = _encode(snapshot)
        self.snapshot_bytes = len(encoded)
        batch.put(STATE, _SNAPSHOT, encoded)

    async def _write(self, fill: Callable[[WriteBatch], None]) -> None:
        """Write a batch, with pauses while the store asks for them.

        Cancelled between the pauses, nothing was written.
        """
        for retries_left in range(BUSY_RETRIES_MAX, -1, -1):
            batch = self._store.batch()
            fill(batch)
            try:
                self._store.write(batch)
            except StoreBusy:
                if retries_left == 0:
                    raise
                await asyncio.sleep(BUSY_PAUSE_S)
            else:
                return

    async def close(self) -> None:
        """After the tasks of the role have ended."""
        await self._store.close()


def _log_key(index: Index) -> bytes:
    return index.to_bytes(8, "big")
