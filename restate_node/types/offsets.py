"""Positions in a log.

A **log** is addressed by LSN, from 1, for ever. A **loglet** is one segment of it and counts its
own offsets from 1; the chain maps between the two: `lsn = base_lsn + offset - 1`. A *tail* is
always the next free position, so an empty loglet has tail 1 and a log of three records has tail 4.

    LSN      1   2   3 | 4   5   6   7
    offset   1   2   3 | 1   2   3   4
             segment 0 | segment 1 (base_lsn 4)       tail: LSN 8, offset 5
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NewType

Lsn = NewType("Lsn", int)
LogletOffset = NewType("LogletOffset", int)

INVALID_LSN = Lsn(0)
OLDEST_LSN = Lsn(1)
OLDEST_OFFSET = LogletOffset(1)
OFFSET_MAX = LogletOffset((1 << 31) - 1)
"""Beyond this offset a loglet takes no more records and the chain must be extended."""


class TailState(Enum):
    """Whether a loglet may still grow."""

    OPEN = "open"
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class LogletTail:
    """The next free offset of a loglet, and whether it may still move."""

    state: TailState
    offset: LogletOffset

    @property
    def is_sealed(self) -> bool:
        return self.state is TailState.SEALED


@dataclass(frozen=True, slots=True)
class LogTail:
    """The next free LSN of a log."""

    state: TailState
    lsn: Lsn


def to_lsn(base: Lsn, offset: LogletOffset) -> Lsn:
    """LSN of an offset in the segment that starts at `base`."""
    return Lsn(base + offset - 1)


def to_offset(base: Lsn, lsn: Lsn) -> LogletOffset:
    """Offset of an LSN in the segment that starts at `base`; the LSN must not lie before the
    segment.
    """
    assert lsn >= base, f"lsn {lsn} lies before the segment's base {base}"
    return LogletOffset(lsn - base + 1)
