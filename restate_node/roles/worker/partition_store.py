"""The database of one partition on one node.

    records of the log ─▶ Transaction ─▶ one WriteBatch: mutations, dedup, applied LSN
                                            │ visible at once
                                            └─ flush ─▶ durable LSN

It has no write-ahead log of its own, because the partition's log is one: after a crash the store is
as it was at its last flush, or a little later, and says itself which records it still needs. Since
the applied LSN is written together with what was applied, each record is applied once (P3).
"""

from __future__ import annotations

from typing import Final

import xxhash

from restate_node.protocol.partition import tables
from restate_node.protocol.partition.tables import TableReader
from restate_node.protocol.partition.transaction import Transaction
from restate_node.roles.worker.recent_rows import RecentRows
from restate_node.runtime.ports import Disk, KeyValueStore, StoreOptions
from restate_node.types.ids import PartitionId
from restate_node.types.offsets import Lsn

FAMILY: Final = "data"
DIRECTORY: Final = "db"
WRITE_BUFFER_BYTES: Final = 32 * 1024 * 1024


def store_path(partition: PartitionId) -> str:
    """`db/3`, below the node's data directory."""
    return f"{DIRECTORY}/{partition}"


class PartitionStore:
    """A TableReader; changed by committing transactions."""

    def __init__(self, partition: PartitionId, store: KeyValueStore) -> None:
        """Raises StoreError, CorruptTable."""
        self._store = store
        self._partition = partition
        self._recent = RecentRows()
        self._applied = tables.read_applied(self, partition)
        self._durable = self._applied
        self._unflushed_bytes = 0

    @staticmethod
    async def open(disk: Disk, partition: PartitionId) -> PartitionStore:
        """Open or create; blocks for a few fsyncs. Raises StoreError, CorruptTable."""
        options = StoreOptions(
            (FAMILY,), write_ahead_log=False, write_buffer_bytes=WRITE_BUFFER_BYTES
        )
        store = disk.open_store(store_path(partition), options)
        try:
            return PartitionStore(partition, store)
        except BaseException:
            await store.close()
            raise

    @property
    def partition(self) -> PartitionId:
        return self._partition

    @property
    def applied(self) -> Lsn:
        """The last record whose consequences are visible."""
        return self._applied

    @property
    def durable(self) -> Lsn:
        """The last record that survives a crash for certain."""
        return self._durable

    @property
    def unflushed_bytes(self) -> int:
        return self._unflushed_bytes

    def get(self, key: bytes) -> bytes | None:
        row = self._recent.get(key)
        return self._store.get(FAMILY, key) if row is None else row

    def scan(self, start: bytes, end: bytes, *, rows_max: int) -> list[tuple[bytes, bytes]]:
        return self._store.scan(FAMILY, start, end, rows_max=rows_max)

    def begin(self) -> Transaction:
        """A transaction over the present rows; one at a time."""
        return Transaction(self)

    def commit(self, transaction: Transaction) -> None:
        """Make it visible at once and whole. Raises StoreBusy (nothing was written; try again) and
        other StoreErrors (unknown; open the store anew).
        """
        applied = tables.read_applied(transaction, self._partition)
        assert applied > self._applied, f"applied LSN would move from {self._applied} to {applied}"
        batch = self._store.batch()
        mutations = transaction.mutations()
        for key, value in mutations:
            if value is None:
                batch.delete(FAMILY, key)
            else:
                batch.put(FAMILY, key, value)
        self._store.write(batch)
        self._recent.note(mutations)
        self._applied = applied
        self._unflushed_bytes += transaction.size_bytes

    async def flush(self) -> None:
        """Make what is applied durable. Raises StoreError. Cancellation-safe."""
        applied, flushed_bytes = self._applied, self._unflushed_bytes
        if applied == self._durable:
            return
        await self._store.flush()
        self._durable = max(self._durable, applied)
        self._unflushed_bytes = max(0, self._unflushed_bytes - flushed_bytes)

    async def export(self, path: str) -> Lsn:
        """Write a copy to a directory of the same disk; it holds all records up to the LSN that is
        returned, and perhaps some more. Raises StoreError.
        """
        applied = self._applied
        await self.flush()
        await self._store.checkpoint(path)
        return applied

    async def close(self) -> None:
        """Release the files. What was not flushed comes again from the log."""
        await self._store.close()


def state_hash(reader: TableReader) -> str:
    """Hash of all rows. Equal on all replicas that have applied the same records (P1)."""
    digest = xxhash.xxh3_128()
    for key, value in tables.all_rows(reader):
        digest.update(len(key).to_bytes(4, "big"))
        digest.update(key)
        digest.update(len(value).to_bytes(4, "big"))
        digest.update(value)
    return digest.hexdigest()
