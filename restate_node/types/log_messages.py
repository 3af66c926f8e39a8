"""What sequencers, log servers and readers say to each other about one loglet.

Every answer carries the loglet's state as that log server sees it: its local tail, the global tail
it has heard of, and whether it is sealed. All offsets are *next free* offsets unless they are
called first or last. The structs go over the wire as they are (msgpack arrays; new fields are
appended with a default).
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from restate_node.types.ids import GenerationalNodeId, LogId, LogletId, SegmentIndex
from restate_node.types.offsets import LogletOffset


class Status(IntEnum):
    """How a log server answers. The numbers are those of the control plane's
    `log_server_common.Status`.
    """

    OK = 1
    DISABLED = 2
    """Not writable: fail-safe after a disk error, or switched off. Do not retry here."""
    DROPPED = 3
    """Not done, for example expired or overloaded. Retry."""
    SEALED = 4
    SEALING = 5
    SEQUENCER_MISMATCH = 6
    OUT_OF_BOUNDS = 7
    """The store would leave a gap behind the local tail."""
    MALFORMED = 8


class RecordStatus(IntEnum):
    """What a digest says of a run of offsets; offsets it does not mention are not there."""

    TRIMMED = 1
    ARCHIVED = 2
    EXISTS = 3


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """Base of all messages here."""


class LogletHeader(_Message, frozen=True):
    """The loglet as one log server sees it."""

    status: Status
    local_tail: LogletOffset
    known_global_tail: LogletOffset
    sealed: bool


class StoredRun(_Message, frozen=True):
    """Consecutive records: `count` of them from `first_offset`, joined as in `types.records`."""

    first_offset: LogletOffset
    count: int
    body: bytes


# ---------------------------------------------------------------- to a log server


class Store(_Message, frozen=True):
    """Keep these records. Answered with a LogletHeader once they are durable."""

    loglet: LogletId
    sequencer: GenerationalNodeId
    known_global_tail: LogletOffset
    first_offset: LogletOffset
    count: int
    body: bytes
    expires_at_ms: int = 0
    """Unix time after which the sender has given up; 0 = never."""
    repair: bool = False
    """Sent by a repair: accepted on a sealed loglet and from any node."""


class Release(_Message, frozen=True):
    """The global tail has moved. One-way."""

    loglet: LogletId
    known_global_tail: LogletOffset


class Seal(_Message, frozen=True):
    """Take no more records of this sequencer. Answer: a LogletHeader, once that is durable."""

    loglet: LogletId
    sequencer: GenerationalNodeId


class GetLogletInfo(_Message, frozen=True):
    loglet: LogletId


class LogletInfo(_Message, frozen=True):
    header: LogletHeader
    trim_point: LogletOffset
    """Highest trimmed offset, 0 when nothing was trimmed."""


class GetRecords(_Message, frozen=True):
    """Read `[from_offset, to_offset)`, as far as the byte limit goes (at least one record)."""

    loglet: LogletId
    from_offset: LogletOffset
    to_offset: LogletOffset
    bytes_max: int
    beyond_global_tail: bool = False
    """Only a repair may read what is not known to be committed."""


class Records(_Message, frozen=True):
    """Runs in order; an offset missing between two runs is not stored here."""

    header: LogletHeader
    trim_point: LogletOffset
    next_offset: LogletOffset
    """Where to go on: everything below was answered."""
    runs: list[StoredRun]


class TrimLoglet(_Message, frozen=True):
    """Forget everything up to and including `trim_point`."""

    loglet: LogletId
    trim_point: LogletOffset
    known_global_tail: LogletOffset


class Trimmed(_Message, frozen=True):
    header: LogletHeader
    trim_point: LogletOffset


class WaitForTail(_Message, frozen=True):
    """Answered with a LogletHeader when the tail reaches `offset`, or the loglet is sealed."""

    loglet: LogletId
    offset: LogletOffset
    committed: bool = False
    """Wait for the global tail (a reader) instead of the local or the global one (find-tail)."""


class GetDigest(_Message, frozen=True):
    """Which of `[from_offset, to_offset]` (inclusive) do you hold?"""

    loglet: LogletId
    from_offset: LogletOffset
    to_offset: LogletOffset


class DigestEntry(_Message, frozen=True):
    """Offsets `[from_offset, to_offset]`, inclusive."""

    from_offset: LogletOffset
    to_offset: LogletOffset
    status: RecordStatus


class Digest(_Message, frozen=True):
    header: LogletHeader
    entries: list[DigestEntry]


class GetChecksums(_Message, frozen=True):
    """Which of `[from_offset, to_offset)` do you hold, and what is in it?"""

    loglet: LogletId
    from_offset: LogletOffset
    to_offset: LogletOffset


class ChecksumRun(_Message, frozen=True):
    """Consecutive records; `sums` holds eight bytes for each of them."""

    first_offset: LogletOffset
    sums: bytes


class Checksums(_Message, frozen=True):
    """Runs in order; an offset below `next_offset` that no run has is not stored here."""

    header: LogletHeader
    trim_point: LogletOffset
    next_offset: LogletOffset
    """Where to go on: everything below was answered."""
    runs: list[ChecksumRun]


# ---------------------------------------------------------------- to a sequencer


class AppendStatus(IntEnum):
    """How a sequencer answers an append."""

    OK = 1
    SEALED = 2
    """The loglet takes no more records: wait for, or make, the next segment."""
    NOT_SEQUENCER = 3
    """This node does not (or no longer) sequence the loglet: refresh the chain."""
    RECONFIGURE = 4
    """No write quorum can be found, or the offsets are used up: extend the chain."""
    OVERLOADED = 5
    """The window is full: retry after a pause."""
    MALFORMED = 6


class Append(_Message, frozen=True):
    """Order and replicate these records. Answered when they are committed."""

    log: LogId
    segment: SegmentIndex
    loglet: LogletId
    count: int
    body: bytes


class Appended(_Message, frozen=True):
    """`first_offset` is valid for OK only."""

    status: AppendStatus
    first_offset: LogletOffset
    known_global_tail: LogletOffset


class GetSequencerState(_Message, frozen=True):
    log: LogId
    segment: SegmentIndex
    loglet: LogletId


class SequencerState(_Message, frozen=True):
    """`status` is OK for an open loglet that this node sequences, else SEALED or NOT_SEQUENCER."""

    status: AppendStatus
    known_global_tail: LogletOffset
