"""Rows of timers: what is to happen when, the earliest first.

Timers are rows and nothing else. The leader looks at the first ones, and proposes those that are
due; whoever applies the proposal finds the row or, the second time, does not.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from restate_node.protocol.partition.tables import (
    CorruptTable,
    Mutation,
    TableReader,
    successor,
)
from restate_node.types.invocations import RAW_ID_BYTES, RawInvocationId

TIMER: Final = b"ti"

_HEAD: Final = struct.Struct(">QB")
_NUMBER: Final = struct.Struct(">I")
_LIFE: Final = struct.Struct(">Q")
_TIME_MAX: Final = (1 << 63) - 1


class TimerKind(IntEnum):
    """Numbers are in rows, for ever."""

    START = 0
    """A scheduled invocation begins."""
    SLEEP = 1
    """A sleep ends; the number is its completion id."""
    FORGET = 2
    """A completed invocation is forgotten."""
    FORGET_JOURNAL = 3


@dataclass(frozen=True, slots=True)
class Timer:
    """What is to happen, and when. `life` as in `wal.Respond`; it is the value of the row."""

    at_ms: int
    kind: TimerKind
    invocation: RawInvocationId
    number: int = 0
    life: int | None = None

    @property
    def key(self) -> bytes:
        """Its row's key without the kind of table."""
        at_ms = min(max(self.at_ms, 0), _TIME_MAX)
        return _HEAD.pack(at_ms, self.kind) + self.invocation + _NUMBER.pack(self.number)


def write_timer(timer: Timer) -> Mutation:
    """Set a timer."""
    return Mutation(TIMER + timer.key, b"" if timer.life is None else _LIFE.pack(timer.life))


def without_timer(key: bytes) -> Mutation:
    """Remove a timer; nothing happens when it is not there."""
    return Mutation(TIMER + key, None)


def read_timer(tables: TableReader, key: bytes) -> Timer | None:
    """The timer of that key; None when it has fired, or was removed."""
    value = tables.get(TIMER + key)
    return None if value is None else _timer(key, value)


def first_timers(tables: TableReader, rows_max: int) -> list[Timer]:
    """The earliest ones."""
    rows = tables.scan(TIMER, successor(TIMER), rows_max=rows_max)
    return [_timer(key[len(TIMER) :], value) for key, value in rows]


def _timer(key: bytes, value: bytes) -> Timer:
    stop = _HEAD.size + RAW_ID_BYTES
    try:
        at_ms, kind = _HEAD.unpack_from(key)
        number = _NUMBER.unpack_from(key, stop)[0]
        life = _LIFE.unpack(value)[0] if value else None
        return Timer(at_ms, TimerKind(kind), RawInvocationId(key[_HEAD.size : stop]), number, life)
    except (struct.error, ValueError):
        raise CorruptTable(f"malformed timer {key.hex()}") from None
