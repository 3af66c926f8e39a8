"""Probes that tell what replicas write about invocations: stages, journals, state of objects.

Each row that a record changes passes `Transaction.put`; which record that is, is known from the
call of `apply` around it. See `probes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from hashlib import blake2b
from typing import Final, TypeAlias

from restate_node.protocol.partition import tables
from restate_node.protocol.partition.effects import Effect
from restate_node.protocol.partition.invocation_table import INVOCATION, Stage, decode_invocation
from restate_node.protocol.partition.journal_table import ENTRY, decode_entry
from restate_node.protocol.partition.machine import JournalCodec
from restate_node.protocol.partition.tables import Mutation, owner_in
from restate_node.protocol.partition.transaction import Transaction
from restate_node.roles.worker import replay
from restate_node.sim.history_invocations import (
    EntryForgotten,
    EntryWritten,
    ObjectWritten,
    StageReached,
)
from restate_node.sim.hosts import current_incarnation
from restate_node.sim.probes import Apply
from restate_node.sim.recorder import Recorder
from restate_node.sim.substitution import Substitution
from restate_node.sim.workloads.handlers import outcome_text
from restate_node.types.ids import PartitionId
from restate_node.types.invocations import RAW_ID_BYTES, Failure, RawInvocationId, id_text
from restate_node.types.journal import is_command
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import Partition
from restate_node.types.wal import AttemptProgress, Command, Envelope

Put = Callable[[Transaction, Iterable[Mutation]], None]

Where: TypeAlias = tuple[float, str, PartitionId, Lsn]
"""Time, life, partition, LSN."""

FORGOTTEN: Final = "FORGOTTEN"
_DIGEST_BYTES: Final = 6
_KIND_BYTES: Final = 2


class JournalProbe:
    """What is applied now, for whoever sees a row change."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._where: tuple[PartitionId, Lsn, Command] | None = None
        self._stages: dict[tuple[str, str], tuple[str, int]] = {}
        """By life and invocation: stage and run."""

    def substitutions(self) -> list[Substitution]:
        return [
            Substitution(replay, "apply", self._watch_records),
            Substitution(Transaction, "put", self._watch_rows),
        ]

    def _watch_records(self, inner: Apply) -> Apply:
        @wraps(inner)
        def apply(
            partition: Partition,
            codec: JournalCodec,
            lsn: Lsn,
            envelope: Envelope,
            transaction: Transaction,
        ) -> list[Effect]:
            self._where = (partition.id, lsn, envelope.command)
            try:
                return inner(partition, codec, lsn, envelope, transaction)
            finally:
                self._where = None

        return apply

    def _watch_rows(self, inner: Put) -> Put:
        @wraps(inner)
        def put(transaction: Transaction, mutations: Iterable[Mutation]) -> None:
            rows = list(mutations)
            inner(transaction, rows)
            if self._where is not None:
                for row in rows:
                    self._tell(row, *self._where)

        return put

    def _tell(self, row: Mutation, partition: PartitionId, lsn: Lsn, command: Command) -> None:
        kind = row.key[:_KIND_BYTES]
        if kind not in (ENTRY, tables.STATE, INVOCATION):
            return
        where = (self._recorder.now(), repr(current_incarnation.get()), partition, lsn)
        if kind == INVOCATION:
            self._tell_stage(row, where)
        elif kind == tables.STATE:
            owner, _ = owner_in(row.key)
            if isinstance(command, AttemptProgress):
                name = f"{owner.service}/{owner.key}"
                writer = id_text(command.invocation)
                self._recorder.add(ObjectWritten(*where, name, writer))
        else:
            self._tell_entry(row, where)

    def _tell_stage(self, row: Mutation, where: Where) -> None:
        """Once for each change."""
        invocation = RawInvocationId(row.key[_KIND_BYTES:])
        name, place = id_text(invocation), (where[1], id_text(invocation))
        if row.value is None:
            self._stages.pop(place, None)
            self._recorder.add(StageReached(*where, name, FORGOTTEN, 0))
            return
        record = decode_invocation(invocation, row.value)
        stage = record.stage.name, record.run
        if self._stages.get(place) == stage:
            return
        self._stages[place] = stage
        outcome = record.outcome if record.stage is Stage.COMPLETED else None
        text, caller = "", record.caller
        if outcome is not None:
            text = outcome_text(outcome)
        waits = "" if caller is None or caller.completion is None else id_text(caller.invocation)
        is_failure = isinstance(outcome, Failure)
        self._recorder.add(StageReached(*where, name, *stage, text, is_failure, waits))

    def _tell_entry(self, row: Mutation, where: Where) -> None:
        if row.value is None:
            invocation = RawInvocationId(row.key[_KIND_BYTES : _KIND_BYTES + RAW_ID_BYTES])
            index = int.from_bytes(row.key[_KIND_BYTES + RAW_ID_BYTES :], "big")
            self._recorder.add(EntryForgotten(*where, id_text(invocation), index))
        else:
            invocation, entry = decode_entry(row.key, row.value)
            told = entry.entry
            content = told.kind.to_bytes(2, "big") + told.payload
            digest = blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()
            text, handler_said = id_text(invocation), is_command(told.kind)
            self._recorder.add(EntryWritten(*where, text, entry.index, handler_said, digest))
