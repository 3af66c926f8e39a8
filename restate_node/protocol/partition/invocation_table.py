"""Rows of invocations: where each is in its life.

              ┌──────────┐ due   ┌─────────┐ key is free   ┌─────────┐  waits   ┌───────────┐
    call ───▶ │SCHEDULED ├──────▶│ INBOXED ├──────────────▶│ INVOKED │─────────▶│ SUSPENDED │
              └──────────┘       └─────────┘               └─┬─▲─┬───┘◀─────────└───────────┘
                                                     fails   │ │ │ ends       told of what it
                                          ┌────────┐◀────────┘ │ ▼            waits for
                                          │ PAUSED ├───────────┘ COMPLETED ─▶ forgotten
                                          └────────┘  resumed

The argument is not here but in the journal, as its first entry: this row is written at each step.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final

import msgspec

from restate_node.protocol.partition.tables import (
    KIND_BYTES,
    CorruptTable,
    Mutation,
    TableReader,
    rows_of,
)
from restate_node.types.decoding import UNDECODABLE
from restate_node.types.invocations import (
    Caller,
    Origin,
    Outcome,
    RawInvocationId,
    Retention,
    id_text,
)
from restate_node.types.journal import AwaitPoint
from restate_node.types.targets import Target
from restate_node.types.wal import Pinned

INVOCATION: Final = b"iv"
RUNNING: Final = b"ru"


class Stage(IntEnum):
    """Numbers are in rows, for ever."""

    SCHEDULED = 0
    INBOXED = 1
    INVOKED = 2
    SUSPENDED = 3
    PAUSED = 4
    COMPLETED = 5


class Waiter(msgspec.Struct, frozen=True, array_like=True):
    """Another invocation that attached to this one."""

    invocation: RawInvocationId
    completion: int
    is_call: bool = False
    """It called with the idempotency key of this one, instead of attaching to it."""
    life: int | None = None
    """As in `wal.Respond`."""


class InvocationRecord(msgspec.Struct, frozen=True, array_like=True):
    """One invocation. Times are unix ms, by the records that caused them."""

    stage: Stage
    target: Target
    created_at_ms: int
    modified_at_ms: int
    random_seed: int
    retention: Retention
    origin: Origin = Origin.INGRESS
    caller: Caller | None = None
    idempotency_key: str | None = None
    restarted_from: RawInvocationId | None = None
    start_at_ms: int | None = None
    scheduled_at_ms: int | None = None
    inboxed_at_ms: int | None = None
    inbox_number: int | None = None
    running_at_ms: int | None = None
    completed_at_ms: int | None = None
    run: int = 0
    """Counts how often it was given to the leader; reports of former runs are dropped."""
    entries: int = 0
    """Length of the journal."""
    commands: int = 0
    """How many of these are commands."""
    events: int = 0
    pinned: Pinned | None = None
    awaiting: AwaitPoint | None = None
    """What it waits for while it is suspended, and `told` as in `wal.Suspended`."""
    outcome: Outcome | None = None
    """From its Output entry on; final once the stage is COMPLETED."""
    waiters: tuple[Waiter, ...] = ()
    told: int = 0

    def with_(self, **changes: Any) -> InvocationRecord:
        """The same with other fields."""
        return msgspec.structs.replace(self, **changes)

    @property
    def has_begun(self) -> bool:
        """Not before its handler may have done anything."""
        return self.stage not in (Stage.SCHEDULED, Stage.INBOXED)

    @property
    def is_forgotten(self) -> bool:
        """It has ended and nothing retains it; it is kept for a while for whoever submitted it, who
        may not have heard of it. Nobody else may see it.
        """
        return self.stage is Stage.COMPLETED and self.retention.outcome_ms <= 0

    def stands_for(self, random_seed: int) -> bool:
        """Whether a submission with its id and that seed is about this one, not about a new one."""
        return random_seed == self.random_seed or not self.is_forgotten

    @property
    def expires_at_ms(self) -> int | None:
        """When its outcome is forgotten; None before it has ended."""
        if self.completed_at_ms is None:
            return None
        return self.completed_at_ms + self.retention.outcome_ms


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(InvocationRecord)


def read_invocation(tables: TableReader, invocation: RawInvocationId) -> InvocationRecord | None:
    """None: there never was such an invocation, or it is forgotten."""
    raw = tables.get(INVOCATION + invocation)
    return None if raw is None else decode_invocation(invocation, raw)


def find_invocation(tables: TableReader, invocation: RawInvocationId) -> InvocationRecord | None:
    """Like `read_invocation`, for everybody but who submitted it."""
    record = read_invocation(tables, invocation)
    return None if record is None or record.is_forgotten else record


def write_invocation(invocation: RawInvocationId, record: InvocationRecord | None) -> Mutation:
    """None forgets it."""
    value = None if record is None else _encode(record)
    return Mutation(INVOCATION + invocation, value)


def decode_invocation(invocation: RawInvocationId, raw: bytes) -> InvocationRecord:
    """Raises CorruptTable."""
    try:
        return _decoder.decode(raw)
    except UNDECODABLE as error:
        raise CorruptTable(f"malformed invocation {id_text(invocation)}: {error}") from None


def write_running(invocation: RawInvocationId, is_running: bool) -> Mutation:
    """Keep the list of what the leader has to run."""
    return Mutation(RUNNING + invocation, b"" if is_running else None)


def running(tables: TableReader) -> Iterator[RawInvocationId]:
    """All that the leader has to run."""
    for key, _ in rows_of(tables, RUNNING):
        yield RawInvocationId(key[KIND_BYTES:])
