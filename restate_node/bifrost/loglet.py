"""What the log expects of one loglet, whatever it is made of.

Two kinds exist: `replicated` (a sequencer and a nodeset of log servers) and `memory_loglet` (for
tests and for simulated worlds without disks). Both pass one contract suite. The log above strings
loglets into a chain and is the only one who knows LSNs; in here there are offsets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from restate_node.runtime.watch import Watch
from restate_node.types.ids import LogletId
from restate_node.types.log_messages import AppendStatus, Records
from restate_node.types.offsets import LogletOffset, LogletTail
from restate_node.types.records import RecordBatch


class AppendResult(NamedTuple):
    """How an append ended. `maybe_written` tells, for a failure, that the records may turn up all
    the same.
    """

    status: AppendStatus
    first_offset: LogletOffset = LogletOffset(0)
    maybe_written: bool = False


OnAppended = Callable[[AppendResult], None]


class LogletUnavailable(Exception):
    """Not enough of the loglet's nodes answer. Nothing is decided; retry after a pause."""


class Loglet(Protocol):
    """One segment's worth of records."""

    @property
    def id(self) -> LogletId: ...

    @property
    def keeps_order(self) -> bool:
        """True when batches submitted one after the other are stored in that order, or not at all.

        Otherwise only one batch may be under way if order matters.
        """
        ...

    @property
    def tells_tail(self) -> bool:
        """True when `known_tail` moves by itself; otherwise only while somebody waits for it."""
        ...

    @property
    def known_tail(self) -> Watch[LogletTail]:
        """What is known here of the committed tail, without asking anybody. Only moves forward."""
        ...

    def append(self, batch: RecordBatch, on_appended: OnAppended) -> bool:
        """Order and replicate; the callback comes exactly once, later.

        False when the window is full: nothing happened, come again after an acknowledgement.
        """
        ...

    async def find_tail(self) -> LogletTail:
        """The tail as a quorum proves it; raises LogletUnavailable. Safe to cancel and repeat."""
        ...

    async def seal(self) -> LogletTail:
        """Take no more records, ever, and say where the loglet ends. Safe to cancel and repeat."""
        ...

    async def read(
        self, from_offset: LogletOffset, to_offset: LogletOffset, bytes_max: int
    ) -> Records:
        """Committed records of `[from_offset, to_offset)`; the caller knows that they are
        committed.

        Answers with at least one record, or with a `next_offset` behind a trimmed part.
        Raises LogletUnavailable.
        """
        ...

    async def wait_for_tail(self, offset: LogletOffset) -> None:
        """Return when the tail may have reached `offset` or the loglet may be sealed; asks remote
        nodes if need be. Raises LogletUnavailable. Safe to cancel."""
        ...

    async def trim(self, trim_point: LogletOffset) -> LogletOffset:
        """Forget up to and including the offset; answers what holds now, or LogletUnavailable."""
        ...

    async def trim_point(self) -> LogletOffset:
        """The highest trimmed offset, 0 for none. Raises LogletUnavailable."""
        ...
