"""What a partition processor asks of the log; `bifrost.log.Bifrost` is it.

Processors know nothing of segments and loglets: a log has a tail, takes batches, and is read from
an LSN on. Narrow as it is, a test can be the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from restate_node.bifrost.errors import AppendFailed
from restate_node.protocol.read_cursor import Gap, Run
from restate_node.types.ids import LogId
from restate_node.types.offsets import LogTail, Lsn
from restate_node.types.records import RecordBatch


class FoundTail(Protocol):
    """Where a log ends."""

    @property
    def tail(self) -> LogTail: ...


class LogReader(Protocol):
    """One reader's place."""

    @property
    def tail(self) -> Lsn:
        """The committed tail as far as it is known without asking."""
        ...

    async def next(self, bytes_max: int) -> Sequence[Run | Gap]:
        """At least one delivery; contiguous, each LSN once. Cancellation-safe."""
        ...


class LogAppender(Protocol):
    """Keeps the order of what it is given; may write it twice."""

    @property
    def is_full(self) -> bool: ...

    def submit(
        self, batch: RecordBatch, on_committed: Callable[[Lsn | AppendFailed], None]
    ) -> None:
        """The callback comes once, later."""
        ...

    async def append(self, batch: RecordBatch) -> Lsn:
        """Submitted before the first suspension; raises AppendFailed."""
        ...

    async def run(self) -> None:
        """A task of its owner; what is pending at its end fails."""
        ...


class Log(Protocol):
    """All logs of the cluster."""

    async def ensure_log(self, log: LogId) -> None:
        """Create it unless it exists; raises LogUnavailable."""
        ...

    def appender(self, log: LogId) -> LogAppender: ...

    def reader(self, log: LogId, from_lsn: Lsn) -> LogReader: ...

    async def find_tail(self, log: LogId) -> FoundTail:
        """Raises UnknownLog, LogUnavailable."""
        ...

    async def trim(self, log: LogId, trim_point: Lsn) -> Lsn:
        """Forget up to and including the LSN. Raises UnknownLog, LogUnavailable."""
        ...
