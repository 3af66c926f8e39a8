"""Records of a partition's log as bytes: one format byte, then msgpack.

    01 | [dedup, partition key, command]        a union is an array that begins with its tag

A record is encoded once, by its writer, and decoded once by each replica. What cannot be decoded is
a value, not an exception: the reader must stop there and say why, and the reason tells damage from
a newer release.
"""

from __future__ import annotations

from typing import Any, Final, get_args

import msgspec

from restate_node.types.partitions import PARTITIONS_MAX
from restate_node.types.wal import (
    PRODUCER_ID_BYTES,
    Command,
    Dedup,
    Envelope,
    IngressProducer,
    PartitionProducer,
    SelfProposal,
    Unreadable,
    UpdateDurability,
)

FORMAT: Final = 1
TAGS: Final = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Command))

_PREFIX: Final = bytes((FORMAT,))
_DAMAGED: Final = (msgspec.DecodeError, ValueError, OverflowError, RecursionError)
_KEY_MAX: Final = (1 << 64) - 1
_UPGRADE: Final = "it was written by a newer release: upgrade this node"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def encode_record(envelope: Envelope) -> bytes:
    """The record to append."""
    assert 0 <= envelope.partition_key <= _KEY_MAX, "a partition key has 64 bits"
    return _PREFIX + _encoder.encode(envelope)


def decode_record(record: bytes | memoryview) -> Envelope | Unreadable:
    """What the record says; never raises."""
    if not len(record):
        return Unreadable("the record is empty: the log is damaged")
    if record[0] != FORMAT:
        return Unreadable(f"the record has format {record[0]}, known is {FORMAT}; {_UPGRADE}")
    payload = memoryview(record)[1:]
    try:
        envelope = _decoder.decode(payload)
    except _DAMAGED as error:
        return Unreadable(_why(payload, error))
    return _checked(envelope)


def _checked(envelope: Envelope) -> Envelope | Unreadable:
    if not 0 <= envelope.partition_key <= _KEY_MAX:
        return Unreadable("the record is damaged: its partition key is not one of 64 bits")
    if envelope.dedup is not None and not _is_sound(envelope.dedup):
        return Unreadable("the record is damaged: its dedup is not a producer and its number")
    if not 0 <= envelope.at_ms <= _KEY_MAX:
        return Unreadable("the record is damaged: its time is not one")
    if isinstance(envelope.command, UpdateDurability) and not _is_point(envelope.command):
        return Unreadable("the record is damaged: its durable point is not an LSN and a time")
    return envelope


def _is_point(command: UpdateDurability) -> bool:
    return 0 <= command.durable_point <= _KEY_MAX and 0 <= command.unix_ms <= _KEY_MAX


def _is_sound(dedup: Dedup) -> bool:
    if not 0 <= dedup.sequence <= _KEY_MAX:
        return False
    match dedup:
        case SelfProposal(epoch):
            return 0 <= epoch <= _KEY_MAX
        case IngressProducer(producer):
            return len(producer) == PRODUCER_ID_BYTES
        case PartitionProducer(partition):
            return 0 <= partition <= PARTITIONS_MAX


def _why(payload: memoryview, error: Exception) -> str:
    tag = _command_tag(payload)
    if tag is not None and tag not in TAGS:
        return f"the command {tag!r} is not known; {_UPGRADE}"
    return f"the record is damaged: {error}"


def _command_tag(payload: memoryview) -> str | None:
    try:
        loose: Any = msgspec.msgpack.decode(payload)
        tag: Any = loose[2][0]
    except (*_DAMAGED, TypeError, LookupError):
        return None
    return tag[:64] if isinstance(tag, str) else None
