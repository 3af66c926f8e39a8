"""What a partition's database holds: every key and value, in one place.

    de | partition u64 | 0                 highest number of a leader    epoch u64 | sequence u64
    de | partition u64 | 1 | partition u64 … of another partition        sequence u64
    de | partition u64 | 2 | 16 bytes      … of an ingress               sequence u64
    fs | partition u64 | 2                 applied LSN                   LSN u64
    fs | partition u64 | 7                 who leads                     LeaderRecord (msgpack)
    fs | partition u64 | 8                 durable point                 LSN u64 | unix ms u64
    fs | partition u64 | 0                 next number in an inbox       u64
    fs | partition u64 | 1                 next number of the outbox     u64
    st | owner | name                      an entry of user state, as its owner wrote it

    iv | invocation                        an invocation                 InvocationRecord
    ru | invocation                        it runs on the leader         (nothing)
    jn | invocation | index u32            an entry of its journal       type u16 | unix ms u64 | …
    jx | invocation | notification         where that notification is    index u32
    je | invocation | number u32           an event beside the journal   EventRecord
    lk | owner                             who holds an object's key     invocation
    ib | owner | number u64                who waits for it              invocation
    pr | owner | name                      a promise of a workflow       PromiseRecord
    ti | unix ms u64 | kind u8 | invocation | number u32      a timer    (nothing)
    ob | number u64                        a message to another partition OutboxMessage

`owner` is partition key u64 | service | key, `invocation` is partition key u64 | uuid (16 bytes).
The modules `…_table` read and write the rows of invocations; records are msgpack.

Numbers are big-endian, so rows lie in their order. A service and a key are written with their
length (u32) in front: the entries of one object lie together, and no object's keys can begin with
those of another.

All state of a partition is here and nowhere else: replicas that have applied the same records hold
the same rows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec

from restate_node.protocol.dedup import Number, Producer, Self
from restate_node.types.decoding import UNDECODABLE
from restate_node.types.ids import GenerationalNodeId, LeaderEpoch, PartitionId, Version
from restate_node.types.offsets import Lsn
from restate_node.types.wal import AnnouncedReplicas

FIRST_KEY: Final = b""
LAST_KEY: Final = b"\xff" * 8
"""Above every key, since no kind begins with that byte."""

SCAN_ROWS_MAX: Final = 1024

KIND_BYTES: Final = 2
DEDUP: Final = b"de"
_MACHINE: Final = b"fs"
STATE: Final = b"st"
_INBOX_NUMBER: Final = 0
_OUTBOX_NUMBER: Final = 1
_APPLIED_LSN: Final = 2
_LEADER: Final = 7
_DURABILITY: Final = 8
_SELF, _PARTITION, _INGRESS = b"\x00", b"\x01", b"\x02"

_U64: Final = struct.Struct(">Q")
_U64_PAIR: Final = struct.Struct(">QQ")
_LENGTH: Final = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()


class CorruptTable(Exception):
    """A row that was never written like this. Remove the partition's database to rebuild it."""


class TableReader(Protocol):
    """The rows as they are now, what earlier records of the same transaction did included."""

    def get(self, key: bytes) -> bytes | None: ...

    def scan(self, start: bytes, end: bytes, *, rows_max: int) -> list[tuple[bytes, bytes]]:
        """Rows of `[start, end)` in key order, at least one if there is any."""
        ...


class Mutation(NamedTuple):
    """Write one row, or delete it when the value is None. Made for each row of each record."""

    key: bytes
    value: bytes | None


class LeaderRecord(msgspec.Struct, frozen=True, array_like=True):
    """The newest announcement that was applied."""

    epoch: LeaderEpoch
    node: GenerationalNodeId
    metadata_version: Version
    current: AnnouncedReplicas | None
    next: AnnouncedReplicas | None


_leader_decoder = msgspec.msgpack.Decoder(LeaderRecord)


# ---------------------------------------------------------------- de


def read_highest(tables: TableReader, partition: PartitionId, producer: Producer) -> Number | None:
    """The highest applied number of a writer."""
    raw = tables.get(_dedup_key(partition, producer))
    if raw is None:
        return None
    try:
        if isinstance(producer, Self):
            epoch, sequence = _U64_PAIR.unpack(raw)
            return epoch, sequence
        return 0, _U64.unpack(raw)[0]
    except struct.error:
        raise CorruptTable(f"partition {partition}: malformed dedup row") from None


def write_highest(partition: PartitionId, producer: Producer, number: Number) -> Mutation:
    """Remember the number of a record that is being applied."""
    key = _dedup_key(partition, producer)
    if isinstance(producer, Self):
        return Mutation(key, _U64_PAIR.pack(*number))
    return Mutation(key, _U64.pack(number[1]))


def _dedup_key(partition: PartitionId, producer: Producer) -> bytes:
    prefix = DEDUP + _U64.pack(partition)
    match producer:
        case Self():
            return prefix + _SELF
        case bytes():
            return prefix + _INGRESS + producer
        case _:
            return prefix + _PARTITION + _U64.pack(producer)


# ---------------------------------------------------------------- fs


def read_applied(tables: TableReader, partition: PartitionId) -> Lsn:
    """The LSN of the last applied record; 0 in a new database."""
    raw = tables.get(_machine_key(partition, _APPLIED_LSN))
    if raw is None:
        return Lsn(0)
    try:
        return Lsn(_U64.unpack(raw)[0])
    except struct.error:
        raise CorruptTable(f"partition {partition}: malformed applied LSN") from None


def write_applied(partition: PartitionId, applied: Lsn) -> Mutation:
    """Part of every transaction."""
    return Mutation(_machine_key(partition, _APPLIED_LSN), _U64.pack(applied))


def read_leader(tables: TableReader, partition: PartitionId) -> LeaderRecord | None:
    """Who leads, according to the log; None before the first leader."""
    raw = tables.get(_machine_key(partition, _LEADER))
    if raw is None:
        return None
    try:
        return _leader_decoder.decode(raw)
    except UNDECODABLE as error:
        raise CorruptTable(f"partition {partition}: malformed leader: {error}") from None


def write_leader(partition: PartitionId, leader: LeaderRecord) -> Mutation:
    """Remember an announcement."""
    return Mutation(_machine_key(partition, _LEADER), _encoder.encode(leader))


@dataclass(frozen=True, slots=True)
class DurablePoint:
    """Records up to here are safe without the log, since that time."""

    lsn: Lsn
    unix_ms: int


def read_durable_point(tables: TableReader, partition: PartitionId) -> DurablePoint | None:
    """The highest that was recorded; None before the first."""
    raw = tables.get(_machine_key(partition, _DURABILITY))
    if raw is None:
        return None
    try:
        lsn, unix_ms = _U64_PAIR.unpack(raw)
    except struct.error:
        raise CorruptTable(f"partition {partition}: malformed durable point") from None
    return DurablePoint(Lsn(lsn), unix_ms)


def write_durable_point(partition: PartitionId, point: DurablePoint) -> Mutation:
    """Remember a point."""
    return Mutation(_machine_key(partition, _DURABILITY), _U64_PAIR.pack(point.lsn, point.unix_ms))


def read_inbox_number(tables: TableReader, partition: PartitionId) -> int:
    """The number that the next one in an inbox gets."""
    return _read_number(tables, partition, _INBOX_NUMBER)


def write_inbox_number(partition: PartitionId, number: int) -> Mutation:
    """Remember the next number."""
    return Mutation(_machine_key(partition, _INBOX_NUMBER), _U64.pack(number))


def read_outbox_number(tables: TableReader, partition: PartitionId) -> int:
    """The number that the next message gets; they begin with 1, as producers' numbers do."""
    return max(1, _read_number(tables, partition, _OUTBOX_NUMBER))


def write_outbox_number(partition: PartitionId, number: int) -> Mutation:
    """Remember the next number."""
    return Mutation(_machine_key(partition, _OUTBOX_NUMBER), _U64.pack(number))


def _read_number(tables: TableReader, partition: PartitionId, variable: int) -> int:
    raw = tables.get(_machine_key(partition, variable))
    if raw is None:
        return 0
    try:
        return _U64.unpack(raw)[0]
    except struct.error:
        raise CorruptTable(f"partition {partition}: malformed number") from None


def _machine_key(partition: PartitionId, variable: int) -> bytes:
    return _MACHINE + _U64_PAIR.pack(partition, variable)


# ---------------------------------------------------------------- st


@dataclass(frozen=True, slots=True)
class StateOwner:
    """An object of a service, as its state is addressed."""

    partition_key: int
    service: str
    key: str


@dataclass(frozen=True, slots=True)
class StateEntry:
    """One entry of user state."""

    owner: StateOwner
    name: str
    value: bytes


def write_state(owner: StateOwner, name: str, value: bytes | None) -> Mutation:
    """Set an entry, or clear it with None."""
    return Mutation(owner_prefix(STATE, owner) + name.encode(), value)


def state_of(tables: TableReader, owner: StateOwner) -> Iterator[StateEntry]:
    """All entries of an object, by name in the order of its bytes."""
    prefix = owner_prefix(STATE, owner)
    for key, value in rows_of(tables, prefix):
        yield StateEntry(owner, _text(key[len(prefix) :]), value)


def all_state(tables: TableReader) -> Iterator[StateEntry]:
    """All entries of all objects of the partition, in the order of their keys."""
    for key, value in rows_of(tables, STATE):
        owner, position = owner_in(key)
        yield StateEntry(owner, _text(key[position:]), value)


def read_state(tables: TableReader, owner: StateOwner, name: str) -> bytes | None:
    """One entry; None when there is none."""
    return tables.get(owner_prefix(STATE, owner) + name.encode())


def owner_prefix(kind: bytes, owner: StateOwner) -> bytes:
    """What the keys of an owner's rows begin with."""
    service, key = owner.service.encode(), owner.key.encode()
    parts = (_U64.pack(owner.partition_key), _LENGTH.pack(len(service)), service)
    return b"".join((kind, *parts, _LENGTH.pack(len(key)), key))


def owner_in(key: bytes) -> tuple[StateOwner, int]:
    """The owner in a key, and where it ends there."""
    try:
        partition_key = _U64.unpack_from(key, KIND_BYTES)[0]
        service, position = _sized(key, KIND_BYTES + _U64.size)
        object_key, position = _sized(key, position)
    except struct.error:
        raise CorruptTable(f"malformed key {key.hex()}") from None
    return StateOwner(partition_key, service, object_key), position


def _sized(key: bytes, position: int) -> tuple[str, int]:
    start = position + _LENGTH.size
    stop = start + _LENGTH.unpack_from(key, position)[0]
    if stop > len(key):
        raise CorruptTable(f"malformed key {key.hex()}")
    return _text(key[start:stop]), stop


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise CorruptTable(f"malformed text in a key: {raw.hex()}") from None


# ---------------------------------------------------------------- rows


def all_rows(tables: TableReader) -> Iterator[tuple[bytes, bytes]]:
    """Every row of the partition, in key order."""
    return _rows(tables, FIRST_KEY, LAST_KEY)


def rows_of(tables: TableReader, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Rows whose keys begin so, in key order."""
    return _rows(tables, prefix, successor(prefix))


def _rows(tables: TableReader, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    while rows := tables.scan(start, end, rows_max=SCAN_ROWS_MAX):
        yield from rows
        start = rows[-1][0] + b"\x00"


def successor(prefix: bytes) -> bytes:
    """The first key after all keys with that prefix; a kind never is all ones."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,))
