"""The means of one candidacy and, if it wins, of the leadership that follows: an appender, and the
numbers of what it writes.

    propose   the leader's own records, numbered by its epoch: worthless once another leads
    take      records of clients, numbered by a producer of this term: they count once they are
              in the log, whoever leads when they are read

Of the leader's own records none may be missing, so the first that is not written ends the term. An
appender keeps the order, hence so do the numbers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from restate_node.bifrost.errors import AppendFailed
from restate_node.roles.worker.log import LogAppender
from restate_node.runtime.ports import Clock
from restate_node.types import wal
from restate_node.types.ids import LeaderEpoch
from restate_node.types.offsets import Lsn
from restate_node.types.records import RECORD_BYTES_MAX, pack
from restate_node.wire.wal import encode_record

OnCommitted = Callable[[Lsn | AppendFailed], None]


class RecordTooLarge(Exception):
    """The record would exceed what the log takes; nothing was written."""


class Term:
    """From the claim of an epoch to the end of its leadership."""

    def __init__(
        self, appender: LogAppender, epoch: LeaderEpoch, producer: bytes, clock: Clock
    ) -> None:
        self.appender = appender
        self.epoch = epoch
        self.over = asyncio.Event()
        self.pending = 0
        """Client records that are under way."""
        self._clock = clock
        self._producer = producer
        self._client_sequence = 0
        self._own_sequence = 0

    @property
    def is_full(self) -> bool:
        """True when writers should wait."""
        return self.appender.is_full

    def announce(self, number: wal.SelfProposal, key: int, command: wal.AnnounceLeader) -> None:
        """The first record of all."""
        assert number == wal.SelfProposal(self.epoch, 0), "an announcement is record 0"
        self._submit(number, key, command, self._own_committed)

    def propose(self, key: int, command: wal.Command) -> None:
        """Write a record of the leader's own. Raises RecordTooLarge."""
        number = wal.SelfProposal(self.epoch, self._own_sequence + 1)
        self._submit(number, key, command, self._own_committed)
        self._own_sequence += 1

    def take(self, key: int, command: wal.Command, on_committed: OnCommitted) -> None:
        """Write a record of a client; the callback comes once, later. Raises RecordTooLarge."""
        number = wal.IngressProducer(self._producer, self._client_sequence + 1)
        self._submit(number, key, command, on_committed)
        self._client_sequence += 1

    def _submit(
        self, number: wal.Dedup, key: int, command: wal.Command, on_committed: OnCommitted
    ) -> None:
        record = encode_record(wal.Envelope(number, key, command, self._clock.unix_ms()))
        if len(record) > RECORD_BYTES_MAX:
            raise RecordTooLarge(f"a record of {len(record)} bytes; {RECORD_BYTES_MAX} fit")
        self.appender.submit(pack([record]), on_committed)

    def _own_committed(self, result: Lsn | AppendFailed) -> None:
        if isinstance(result, AppendFailed):
            self.over.set()
