"""Rows of the promises of workflows: completed once, and whoever waits until then."""

from __future__ import annotations

from typing import Final

import msgspec

from restate_node.protocol.partition.tables import (
    CorruptTable,
    Mutation,
    StateOwner,
    TableReader,
    owner_prefix,
    rows_of,
)
from restate_node.types.decoding import UNDECODABLE
from restate_node.types.invocations import Outcome, RawInvocationId

PROMISE: Final = b"pr"


class PromiseWaiter(msgspec.Struct, frozen=True, array_like=True):
    """An invocation of the same workflow, and its completion id; `life` as in `wal.Respond`."""

    invocation: RawInvocationId
    completion: int
    life: int | None = None


class PromiseRecord(msgspec.Struct, frozen=True, array_like=True):
    """Open as long as there is no outcome."""

    outcome: Outcome | None = None
    waiters: tuple[PromiseWaiter, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(PromiseRecord)


def read_promise(tables: TableReader, owner: StateOwner, name: str) -> PromiseRecord:
    """A promise that nobody has touched is open."""
    raw = tables.get(owner_prefix(PROMISE, owner) + name.encode())
    return PromiseRecord() if raw is None else decode_promise(raw)


def write_promise(owner: StateOwner, name: str, record: PromiseRecord) -> Mutation:
    """Change a promise."""
    return Mutation(owner_prefix(PROMISE, owner) + name.encode(), _encode(record))


def without_promises(tables: TableReader, owner: StateOwner) -> list[Mutation]:
    """Forget all of a workflow."""
    prefix = owner_prefix(PROMISE, owner)
    return [Mutation(key, None) for key, _ in rows_of(tables, prefix)]


def decode_promise(raw: bytes) -> PromiseRecord:
    """Raises CorruptTable."""
    try:
        return _decoder.decode(raw)
    except UNDECODABLE as error:
        raise CorruptTable(f"malformed promise: {error}") from None
