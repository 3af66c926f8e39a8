"""Group commit: all that loglets stage in one turn is one write; one fsync covers every write that
came before it.

A disk that fails puts the writer into fail-safe for good: after a failed fsync nobody knows what
the disk holds, and a retry that succeeds would prove nothing about the pages that were dropped. A
disk that is merely busy is asked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from restate_node.roles.log_server.log_store import Change, Put
from restate_node.runtime.ports import KeyValueStore, StoreBusy, StoreError, WriteBatch

logger = structlog.get_logger(__name__)

STAGED_BYTES_MAX: Final = 64 * 1024 * 1024
"""Staged but not yet durable; beyond it a log server asks its callers to come again."""
BUSY_PAUSE_S: Final = 0.005

OnDurable = Callable[[bool], None]
"""Called once with True when durable, False when the disk failed."""


class Writer:
    """The only one who writes records to a log store."""

    def __init__(self, store: KeyValueStore, on_failure: Callable[[StoreError], None]) -> None:
        self._store = store
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._staged: list[tuple[Sequence[Change], OnDurable]] = []
        self._written: list[OnDurable] = []
        self._wake = asyncio.Event()
        self._failed = False
        self._flush_scheduled = False
        self._bytes = 0
        self._bytes_written = 0

    @property
    def is_full(self) -> bool:
        """True when callers should come again later."""
        return self._bytes >= STAGED_BYTES_MAX

    def stage(self, rows: Sequence[Change], on_durable: OnDurable) -> None:
        """Write rows with the others of this turn. Callbacks come in the order of staging."""
        if self._failed:
            self._loop.call_soon(on_durable, False)
            return
        self._staged.append((rows, on_durable))
        self._bytes += _size(rows)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def stop(self) -> None:
        """Write no more: the store is about to be closed. What is staged is denied."""
        self._failed = True
        self._deny([on_durable for _, on_durable in self._staged])
        self._staged = []

    def settle(self) -> bool:
        """Write what is staged, so that the store can be asked what it holds. False: not now."""
        if self._staged and not self._failed:
            self._write()
        return not self._staged

    async def run(self) -> None:
        """Sync what is written, again and again.

        Cancellation abandons the callbacks: their stores are then neither acknowledged nor denied.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._written = self._written, []
            released, self._bytes_written = self._bytes_written, 0
            if not waiting:
                continue
            try:
                await self._store.sync()
            except StoreError as error:
                self._fail(error, waiting)
                continue
            self._bytes -= released
            for on_durable in waiting:
                on_durable(True)

    def _flush(self) -> None:
        self._flush_scheduled = False
        if self._failed:
            staged, self._staged = self._staged, []
            self._deny([on_durable for _, on_durable in staged])
        elif self._staged:
            self._write()
            if self._staged:
                self._flush_scheduled = True
                self._loop.call_later(BUSY_PAUSE_S, self._flush)

    def _write(self) -> None:
        """Everything staged in one batch; it stays staged while the store is busy."""
        staged, self._staged = self._staged, []
        try:
            self._store.write(self._batch(staged))
        except StoreBusy:
            self._staged = staged
            return
        except StoreError as error:
            self._fail(error, [on_durable for _, on_durable in staged])
            return
        self._written.extend([on_durable for _, on_durable in staged])
        self._bytes_written += sum([_size(rows) for rows, _ in staged])
        self._wake.set()

    def _batch(self, staged: Sequence[tuple[Sequence[Change], OnDurable]]) -> WriteBatch:
        batch = self._store.batch()
        for rows, _ in staged:
            for row in rows:
                if isinstance(row, Put):
                    batch.put(*row)
                else:
                    batch.delete_range(*row)
        return batch

    def _fail(self, error: StoreError, waiting: list[OnDurable]) -> None:
        self._failed = True
        logger.error("log store failed; no more stores are accepted", error=str(error))
        self._on_failure(error)
        waiting = waiting + self._written
        self._written = []
        self._deny(waiting)

    def _deny(self, waiting: list[OnDurable]) -> None:
        for on_durable in waiting:
            on_durable(False)


def _size(rows: Sequence[Change]) -> int:
    """Bytes that are held until the rows are durable."""
    return sum([len(row.value) for row in rows if isinstance(row, Put)])
