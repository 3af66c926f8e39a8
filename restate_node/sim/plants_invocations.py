"""Bugs on purpose in what runs invocations; see `plants`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from restate_node.bifrost.errors import AppendFailed
from restate_node.protocol.partition import lifecycle
from restate_node.protocol.partition.commands import progress
from restate_node.protocol.partition.effects import Effect
from restate_node.protocol.partition.invocation_table import InvocationRecord, Stage
from restate_node.protocol.partition.machine import JournalCodec, Machine
from restate_node.protocol.partition.tables import Mutation
from restate_node.protocol.partition.transaction import Transaction
from restate_node.roles.worker import leader_work, replay
from restate_node.roles.worker.outbox import Outbox
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.roles.worker.term import Term
from restate_node.roles.worker.timers import Timers
from restate_node.runtime.ports import Clock
from restate_node.sim.plant import Plant
from restate_node.sim.probes import Apply
from restate_node.sim.substitution import Substitution
from restate_node.types.invocations import RawInvocationId
from restate_node.types.journal import Entry, MessageType
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import Partition
from restate_node.types.records import RecordBatch
from restate_node.types.wal import AttemptProgress, Envelope

EARLY_MS: Final = 900


def _reports_without_dedup(inner: Apply) -> Apply:
    def apply(
        partition: Partition,
        codec: JournalCodec,
        lsn: Lsn,
        envelope: Envelope,
        transaction: Transaction,
    ) -> list[Effect]:
        if isinstance(envelope.command, AttemptProgress):
            envelope = msgspec.structs.replace(envelope, dedup=None)
        return inner(partition, codec, lsn, envelope, transaction)

    return apply


class FastClock:
    """A wall clock that is ahead."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def unix_ms(self) -> int:
        return self._clock.unix_ms() + EARLY_MS

    def monotonic(self) -> float:
        return self._clock.monotonic()


def _hasty_timers(inner: type[Timers]) -> Callable[..., Timers]:
    def make(store: PartitionStore, term: Term, clock: Clock) -> Timers:
        return inner(store, term, FastClock(clock))

    return make


class CarelessAppender:
    """Says that a message is committed when it has been given away."""

    def __init__(self, appender: Any) -> None:
        self._appender = appender

    def submit(self, batch: RecordBatch, on_committed: Callable[[Any], None]) -> None:
        self._appender.submit(batch, _ignore)
        asyncio.get_running_loop().call_soon(on_committed, Lsn(1))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._appender, name)


def _ignore(_: Lsn | AppendFailed) -> None:
    """Nobody wants to know."""


FindAppender = Callable[[Outbox, asyncio.TaskGroup, int], Awaitable[Any]]


def _careless_outbox(inner: FindAppender) -> FindAppender:
    async def appender(outbox: Outbox, group: asyncio.TaskGroup, partition_key: int) -> Any:
        return CarelessAppender(await inner(outbox, group, partition_key))

    return appender


Stop = Callable[[Machine, RawInvocationId, InvocationRecord, Stage], InvocationRecord]


def _suspending_frees_the_key(inner: Stop) -> Stop:
    pass_on: Any = vars(lifecycle)["_pass_on"]

    def stop(
        machine: Machine, invocation: RawInvocationId, record: InvocationRecord, stage: Stage
    ) -> InvocationRecord:
        stopped = inner(machine, invocation, record, stage)
        if record.target.kind.is_exclusive:
            pass_on(machine, invocation, stopped, lifecycle.owner_of(invocation, record))
        return stopped

    return stop


WriteEntry = Callable[[RawInvocationId, int, Entry, int], Mutation]


def _sleeps_end_in_place(inner: WriteEntry) -> WriteEntry:
    """The end of a sleep is written over what stands before it."""

    def write_entry(invocation: RawInvocationId, index: int, entry: Entry, at_ms: int) -> Mutation:
        place = index - 1 if entry.kind == MessageType.SLEEP_COMPLETION else index
        return inner(invocation, place, entry, at_ms)

    return write_entry


INVOCATION_PLANTS: Final = (
    Plant(
        "effect-applied-twice",
        "what an attempt reports is taken for new, however often and of whichever leader it comes: "
        "its commands are in the journal twice (P4, P10)",
        (Substitution(replay, "apply", _reports_without_dedup),),
    ),
    Plant(
        "timer-early",
        f"timers fire {EARLY_MS} ms before their time (P7)",
        (Substitution(leader_work, "Timers", _hasty_timers),),
    ),
    Plant(
        "lost-outbox-message",
        "messages leave the outbox when they were sent, before they are in the log that they are "
        "for: a leader that dies takes them along (V3, P7)",
        (Substitution(Outbox, "_appender", _careless_outbox),),
    ),
    Plant(
        "lock-released-early",
        "an object's key is free while its holder is suspended: another call works with the same "
        "state (P5, P10)",
        (Substitution(progress, "stop", _suspending_frees_the_key),),
    ),
    Plant(
        "journal-entry-overwritten",
        "the end of a sleep takes the place of the entry before it (P4)",
        (Substitution(lifecycle, "write_entry", _sleeps_end_in_place),),
    ),
)
