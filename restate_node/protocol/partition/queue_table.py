"""Rows of locks and inboxes: who holds the key of an object, and who waits for it, in order."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from restate_node.protocol.partition.tables import (
    Mutation,
    StateOwner,
    TableReader,
    owner_in,
    owner_prefix,
    successor,
)
from restate_node.types.invocations import RawInvocationId

LOCK: Final = b"lk"
INBOX: Final = b"ib"

_NUMBER: Final = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A place in an inbox."""

    owner: StateOwner
    number: int
    invocation: RawInvocationId


def read_lock(tables: TableReader, owner: StateOwner) -> RawInvocationId | None:
    """Who holds the key; None when it is free."""
    raw = tables.get(owner_prefix(LOCK, owner))
    return None if raw is None else RawInvocationId(raw)


def write_lock(owner: StateOwner, holder: RawInvocationId | None) -> Mutation:
    """Give the key to somebody, or free it."""
    return Mutation(owner_prefix(LOCK, owner), holder)


def write_inbox(owner: StateOwner, number: int, invocation: RawInvocationId | None) -> Mutation:
    """Take a place, or leave it."""
    return Mutation(owner_prefix(INBOX, owner) + _NUMBER.pack(number), invocation)


def first_waiting(tables: TableReader, owner: StateOwner) -> Waiting | None:
    """Whose turn it is next."""
    prefix = owner_prefix(INBOX, owner)
    for key, value in tables.scan(prefix, successor(prefix), rows_max=1):
        return _waiting(key, value)
    return None


def _waiting(key: bytes, value: bytes) -> Waiting:
    owner, position = owner_in(key)
    return Waiting(owner, _NUMBER.unpack_from(key, position)[0], RawInvocationId(value))
