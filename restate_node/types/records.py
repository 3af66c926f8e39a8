"""Records on their way to the log: encoded once by whoever writes them, opaque ever after.

A batch is its records, each behind a little-endian u32 length, back to back. Batches therefore join
by concatenation, and a batch can be cut at any record without decoding one. Sequencers and log
servers do just that:

    body = len0 record0 len1 record1 …        join(a, b) = a.body + b.body, a.count + b.count

A record costs 0.05 µs this way against 0.9 µs as a nested message, which is what decides the speed
of the log.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

RECORD_BYTES_MAX = 32 * 1024 * 1024
"""A larger record is refused by its writer."""

_LENGTH = struct.Struct("<I")


class MalformedBatch(ValueError):
    """A body that does not consist of `count` whole records."""


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """`count` records in one body."""

    count: int
    body: bytes

    def records(self) -> list[bytes]:
        """The records, in order; MalformedBatch when the body is not `count` whole records."""
        found = [bytes(record) for record in iterate(self.body)]
        if len(found) != self.count:
            raise MalformedBatch(f"body holds {len(found)} records, {self.count} were announced")
        return found


def pack(records: Sequence[bytes]) -> RecordBatch:
    """Join records into a batch."""
    pack_length = _LENGTH.pack
    parts: list[bytes] = []
    for record in records:
        parts.append(pack_length(len(record)))
        parts.append(record)
    return RecordBatch(len(records), b"".join(parts))


def join(batches: Sequence[RecordBatch]) -> RecordBatch:
    """One batch with the records of all, in order."""
    if len(batches) == 1:
        return batches[0]
    return RecordBatch(
        sum(batch.count for batch in batches), b"".join([batch.body for batch in batches])
    )


def iterate(body: bytes | memoryview) -> Iterator[memoryview]:
    """Views of the records in a body, without copying; MalformedBatch on a cut record."""
    view = memoryview(body)
    position, end = 0, len(view)
    while position < end:
        start, stop = _bounds(view, position, end)
        yield view[start:stop]
        position = stop


def cut(batch: RecordBatch, skip: int, take: int) -> RecordBatch:
    """The records `[skip, skip + take)` of a batch, as far as they exist."""
    view = memoryview(batch.body)
    take = max(0, min(take, batch.count - skip))
    start = _advance(view, 0, skip)
    stop = _advance(view, start, take)
    return RecordBatch(take, bytes(view[start:stop]))


def check(batch: RecordBatch) -> bool:
    """True when the body is exactly `count` whole records."""
    try:
        return sum(1 for _ in iterate(batch.body)) == batch.count
    except MalformedBatch:
        return False


def _advance(view: memoryview, position: int, records: int) -> int:
    end = len(view)
    for _ in range(records):
        _, position = _bounds(view, position, end)
    return position


def _bounds(view: memoryview, position: int, end: int) -> tuple[int, int]:
    start = position + _LENGTH.size
    if start > end:
        raise MalformedBatch("a length is cut off")
    stop = start + _LENGTH.unpack_from(view, position)[0]
    if stop > end:
        raise MalformedBatch("a record is cut off")
    return start, stop
