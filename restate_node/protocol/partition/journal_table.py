"""Rows of journals: the entries, where each notification is, and events beside them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, assert_never

import msgspec

from restate_node.protocol.partition.tables import CorruptTable, Mutation, TableReader, rows_of
from restate_node.types.decoding import UNDECODABLE
from restate_node.types.invocations import RAW_ID_BYTES, RawInvocationId, id_text
from restate_node.types.journal import (
    CompletionId,
    Entry,
    NotificationId,
    SignalIndex,
    SignalName,
)

ENTRY: Final = b"jn"
NOTIFICATION: Final = b"jx"
EVENT: Final = b"je"
POINT_READS_MAX: Final = 4

_INDEX: Final = struct.Struct(">I")
_HEAD: Final = struct.Struct(">HQ")
_COMPLETION, _SIGNAL_INDEX, _SIGNAL_NAME = b"\x00", b"\x01", b"\x02"


@dataclass(frozen=True, slots=True)
class JournalRow:
    """An entry, its place, and when it was added."""

    index: int
    entry: Entry
    at_ms: int


class EventRecord(msgspec.Struct, frozen=True, array_like=True):
    """What happened behind the entry of that index; a JSON text."""

    after_index: int
    at_ms: int
    kind: str
    content: str


_encode = msgspec.msgpack.Encoder().encode
_event_decoder = msgspec.msgpack.Decoder(EventRecord)


def write_entry(invocation: RawInvocationId, index: int, entry: Entry, at_ms: int) -> Mutation:
    """Put an entry at its place."""
    value = _HEAD.pack(entry.kind, at_ms) + entry.payload
    return Mutation(_entry_key(invocation, index), value)


def read_entry(tables: TableReader, invocation: RawInvocationId, index: int) -> Entry | None:
    """One entry; None when the journal is shorter, or forgotten."""
    raw = tables.get(_entry_key(invocation, index))
    return None if raw is None else _row(invocation, index, raw).entry


def journal_of(tables: TableReader, invocation: RawInvocationId) -> Iterator[JournalRow]:
    """All entries, in order."""
    prefix = ENTRY + invocation
    for key, value in rows_of(tables, prefix):
        yield _row(invocation, _INDEX.unpack_from(key, len(prefix))[0], value)


def read_journal(tables: TableReader, invocation: RawInvocationId, length: int) -> list[Entry]:
    """All entries of a journal of that length. Most are short, and a scan costs as much as several
    rows that are read one by one.
    """
    if length > POINT_READS_MAX:
        return [row.entry for row in journal_of(tables, invocation)]
    entries = [read_entry(tables, invocation, index) for index in range(length)]
    return [entry for entry in entries if entry is not None]


def write_notification(
    invocation: RawInvocationId, identity: NotificationId, index: int | None
) -> Mutation:
    """Remember where a notification is: the last one, if it came more than once."""
    value = None if index is None else _INDEX.pack(index)
    return Mutation(NOTIFICATION + invocation + _identity(identity), value)


def read_notification(
    tables: TableReader, invocation: RawInvocationId, identity: NotificationId
) -> int | None:
    """The index of a notification; None when it has not come."""
    raw = tables.get(NOTIFICATION + invocation + _identity(identity))
    return None if raw is None else _INDEX.unpack(raw)[0]


def write_event(invocation: RawInvocationId, number: int, event: EventRecord) -> Mutation:
    """Add an event."""
    return Mutation(EVENT + invocation + _INDEX.pack(number), _encode(event))


def read_event(tables: TableReader, invocation: RawInvocationId, number: int) -> EventRecord | None:
    """One event; None when there were fewer, or they are forgotten."""
    raw = tables.get(EVENT + invocation + _INDEX.pack(number))
    return None if raw is None else decode_event(invocation, raw)


def events_of(tables: TableReader, invocation: RawInvocationId) -> Iterator[EventRecord]:
    """All events, in order."""
    for _, value in rows_of(tables, EVENT + invocation):
        yield decode_event(invocation, value)


def decode_event(invocation: RawInvocationId, raw: bytes) -> EventRecord:
    """Raises CorruptTable."""
    try:
        return _event_decoder.decode(raw)
    except UNDECODABLE as error:
        raise CorruptTable(f"malformed event of {id_text(invocation)}: {error}") from None


def without_journal(tables: TableReader, invocation: RawInvocationId) -> list[Mutation]:
    """Forget entries, notifications and events."""
    return [
        Mutation(key, None)
        for kind in (ENTRY, NOTIFICATION, EVENT)
        for key, _ in rows_of(tables, kind + invocation)
    ]


def decode_entry(key: bytes, value: bytes) -> tuple[RawInvocationId, JournalRow]:
    """A row as it was scanned."""
    start = len(ENTRY)
    invocation = RawInvocationId(key[start : start + RAW_ID_BYTES])
    index = _INDEX.unpack_from(key, start + RAW_ID_BYTES)[0]
    return invocation, _row(invocation, index, value)


def _row(invocation: RawInvocationId, index: int, raw: bytes) -> JournalRow:
    try:
        kind, at_ms = _HEAD.unpack_from(raw)
    except struct.error:
        raise CorruptTable(f"malformed entry {index} of {id_text(invocation)}") from None
    return JournalRow(index, Entry(kind, raw[_HEAD.size :]), at_ms)


def _entry_key(invocation: RawInvocationId, index: int) -> bytes:
    return ENTRY + invocation + _INDEX.pack(index)


def _identity(identity: NotificationId) -> bytes:
    match identity:
        case CompletionId(number):
            return _COMPLETION + _INDEX.pack(number)
        case SignalIndex(number):
            return _SIGNAL_INDEX + _INDEX.pack(number)
        case SignalName(name):
            return _SIGNAL_NAME + name.encode()
        case _:
            assert_never(identity)
