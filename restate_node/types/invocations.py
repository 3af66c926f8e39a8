"""Invocations, as they travel between nodes and lie in logs.

An invocation is one call of one handler. It is known by 24 bytes (partition key, uuid), given out
by whoever makes the call: so a caller that lost its answer can ask again, and the same call arrives
twice without being two. `textual_ids.InvocationId` is the form that people see.

    caller ─▶ Invocation ─▶ log of its partition ─▶ runs there ─▶ Outcome ─▶ whoever waits for it
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final, NewType, TypeAlias

import msgspec

from restate_node.types.targets import Target
from restate_node.types.textual_ids import InvocationId

RawInvocationId = NewType("RawInvocationId", bytes)
"""Partition key (8 bytes), uuid (16 bytes), both big-endian."""

RAW_ID_BYTES: Final = 24
_TEXTS_MAX: Final = 4096


def raw_id(partition_key: int, uuid: int) -> RawInvocationId:
    """Pack the two parts."""
    return RawInvocationId(partition_key.to_bytes(8, "big") + uuid.to_bytes(16, "big"))


def partition_key_of_id(invocation: RawInvocationId) -> int:
    """The key that says which partition it belongs to."""
    return int.from_bytes(invocation[:8], "big")


@lru_cache(maxsize=_TEXTS_MAX)
def id_text(invocation: RawInvocationId) -> str:
    """`inv_1…`. Kept for a while: both the client and the handler are told it."""
    return str(InvocationId(partition_key_of_id(invocation), int.from_bytes(invocation[8:], "big")))


def parse_id_text(text: str) -> RawInvocationId:
    """From `inv_1…`; ValueError says what was expected."""
    parsed = InvocationId.parse(text)
    return raw_id(parsed.partition_key, parsed.uuid)


class Header(msgspec.Struct, frozen=True, array_like=True):
    """One header of a call."""

    name: str
    value: str


class Success(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """What a handler returned."""

    value: bytes


class Failure(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A terminal error: nobody tries again. `code` is one of HTTP."""

    code: int
    message: str
    metadata: tuple[tuple[str, str], ...] = ()


Outcome: TypeAlias = Success | Failure

CANCELLED: Final = Failure(409, "canceled")
KILLED: Final = Failure(409, "killed")
WORKFLOW_ALREADY_INVOKED: Final = Failure(409, "the workflow method was already invoked")
NOT_FOUND: Final = Failure(404, "not found")
NOT_READY: Final = Failure(470, "not ready")


class Origin(IntEnum):
    """Who made a call. The numbers are in records."""

    INGRESS = 0
    SERVICE = 1
    RESTART_AS_NEW = 2


class Caller(msgspec.Struct, frozen=True, array_like=True):
    """The invocation that made a call, and how it wants to hear of the end.

    `completion` is the completion id of its Call command; None for a one-way call. `life` is its
    random seed, as in `wal.Respond`.
    """

    invocation: RawInvocationId
    target: Target
    completion: int | None = None
    life: int | None = None


class Retention(msgspec.Struct, frozen=True, array_like=True):
    """How long the traces of an invocation stay after its end."""

    outcome_ms: int = 0
    journal_ms: int = 0


class Invocation(msgspec.Struct, frozen=True, array_like=True):
    """A call, complete: all that its partition must know to run it."""

    id: RawInvocationId
    target: Target
    argument: bytes
    headers: tuple[Header, ...] = ()
    origin: Origin = Origin.INGRESS
    caller: Caller | None = None
    idempotency_key: str | None = None
    start_at_ms: int | None = None
    """Not before that time, by the leader's clock."""
    retention: Retention = Retention()
    created_at_ms: int = 0
    random_seed: int = 0
    restarted_from: RawInvocationId | None = None
