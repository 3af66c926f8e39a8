"""Gives back the disk that trimmed records took.

    trim ─▶ range deleted ─▶ a row of some bytes: nothing is free yet
                 └─ `PAUSE_S` later ─▶ memory to files, so that the write-ahead log goes
                                    ─▶ files in that range merged ─▶ what was deleted is gone

The database merges files only when there are enough of them, so a log that is trimmed and then left
alone would keep its disk for ever. Merged is only what overlaps the trimmed range. Rows are sorted
by loglet: a record of another one is rewritten once, when it leaves the newest files, and then not
again. Trims of the same moment are gathered, and merging has a thread of its own.

Nothing is lost by losing a range: a restart forgets them, and the next trim of the loglet covers
them.

Driven by one task of `LogServer`.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from restate_node.roles.log_server.log_store import DeleteRange
from restate_node.runtime.ports import StoreError

logger = structlog.get_logger(__name__)

PAUSE_S: Final = 10.0
RANGES_MAX: Final = 1_000
"""Loglets that wait for their turn; beyond it they wait for their next trim."""


class Mergeable(Protocol):
    """The part of a store that this needs."""

    async def flush(self) -> None:
        """Raises StoreError."""
        ...

    async def compact_range(self, family: str, start: bytes, end: bytes) -> None:
        """Raises StoreError."""
        ...


class Reclaim:
    """The ranges that were deleted and not merged yet."""

    def __init__(self) -> None:
        self._ranges: dict[bytes, DeleteRange] = {}
        self._noted = asyncio.Event()

    def note(self, deleted: DeleteRange) -> None:
        """The rows are gone, their bytes are not. A later trim of a loglet contains the former."""
        if deleted.start >= deleted.end:
            return
        if len(self._ranges) < RANGES_MAX or deleted.start in self._ranges:
            self._ranges[deleted.start] = deleted
            self._noted.set()

    async def run(self, store: Mergeable) -> None:
        """Until cancelled, which leaves one merge running."""
        while True:
            await self._noted.wait()
            await asyncio.sleep(PAUSE_S)
            self._noted.clear()
            ranges, self._ranges = self._ranges, {}
            try:
                # The write-ahead log holds the records too, until every family that it knows of is
                # in files; the one beside the records is small and would stay in memory for long.
                await store.flush()
                for one in ranges.values():
                    await store.compact_range(one.family, one.start, one.end)
            except StoreError as error:
                logger.info("trimmed records keep their disk for now", reason=str(error))
