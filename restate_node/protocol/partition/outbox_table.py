"""Rows of messages to other partitions, in the order in which they arose.

A message is here from the transaction that caused it until the partition knows that it is in the
log of the other one. Its number is what the other one recognises a second copy by.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from restate_node.protocol.partition.tables import (
    CorruptTable,
    Mutation,
    TableReader,
    successor,
)
from restate_node.types.decoding import UNDECODABLE
from restate_node.types.wal import Command

OUTBOX: Final = b"ob"

_NUMBER: Final = struct.Struct(">Q")


class OutboxMessage(msgspec.Struct, frozen=True, array_like=True):
    """A command for whoever owns that partition key."""

    partition_key: int
    command: Command
    at_ms: int


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(OutboxMessage)


def write_message(number: int, message: OutboxMessage | None) -> Mutation:
    """Add a message, or remove it."""
    value = None if message is None else _encode(message)
    return Mutation(OUTBOX + _NUMBER.pack(number), value)


def messages_from(
    tables: TableReader, number: int, rows_max: int
) -> list[tuple[int, OutboxMessage]]:
    """The first messages of that number or a higher one."""
    rows = tables.scan(OUTBOX + _NUMBER.pack(number), successor(OUTBOX), rows_max=rows_max)
    return [(_number(key), _message(value)) for key, value in rows]


def numbers_to(tables: TableReader, number: int, rows_max: int) -> list[int]:
    """Numbers of the first messages, up to and including that one."""
    stop = OUTBOX + _NUMBER.pack(number + 1)
    return [_number(key) for key, _ in tables.scan(OUTBOX, stop, rows_max=rows_max)]


def _number(key: bytes) -> int:
    return _NUMBER.unpack_from(key, len(OUTBOX))[0]


def _message(raw: bytes) -> OutboxMessage:
    try:
        return _decoder.decode(raw)
    except UNDECODABLE as error:
        raise CorruptTable(f"malformed outbox message: {error}") from None
