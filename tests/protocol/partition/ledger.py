"""A partition on paper: records are applied to rows, and what comes of each is kept.

`Ledger` applies commands one by one, as a leader would write them. `sdk` spells entries as an SDK
does. Nothing here decides anything that the product decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from restate_node.protocol.partition import tables
from restate_node.protocol.partition.apply import apply
from restate_node.protocol.partition.effects import Effect
from restate_node.protocol.partition.invocation_table import (
    InvocationRecord,
    Stage,
    read_invocation,
)
from restate_node.protocol.partition.journal_table import journal_of
from restate_node.protocol.partition.outbox_table import OutboxMessage, messages_from
from restate_node.protocol.partition.tables import Mutation, StateOwner
from restate_node.protocol.partition.timer_table import Timer, first_timers
from restate_node.protocol.partition.transaction import Transaction
from restate_node.types import wal
from restate_node.types.ids import LogId, PartitionId
from restate_node.types.invocations import (
    Invocation,
    Outcome,
    RawInvocationId,
    Retention,
    Success,
    partition_key_of_id,
    raw_id,
)
from restate_node.types.journal import Entry, MessageType
from restate_node.types.offsets import Lsn
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.partitions import KeyRange, Partition
from restate_node.types.targets import Target, TargetKind
from restate_node.wire import journal_codec
from restate_node.wire.pb import service_protocol_pb2 as pb

ALL_KEYS = KeyRange(0, (1 << 64) - 1)
DAY_MS = 24 * 60 * 60 * 1000
KEPT = Retention(DAY_MS, DAY_MS)

E = TypeVar("E")


@dataclass
class Rows:
    """A store of rows; scans stop early, to try the paging of those who scan."""

    rows: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    scan_max: int = 3

    def get(self, key: bytes) -> bytes | None:
        return self.rows.get(key)

    def scan(self, start: bytes, end: bytes, *, rows_max: int) -> list[tuple[bytes, bytes]]:
        keys = sorted(key for key in self.rows if start <= key < end)
        return [(key, self.rows[key]) for key in keys[: min(rows_max, self.scan_max)]]

    def write(self, mutations: Sequence[Mutation]) -> None:
        for mutation in mutations:
            if mutation.value is None:
                self.rows.pop(mutation.key, None)
            else:
                self.rows[mutation.key] = mutation.value


@dataclass
class Ledger:
    """One replica. `now_ms` is what the records say."""

    keys: KeyRange = ALL_KEYS
    now_ms: int = 1_000_000
    rows: Rows = field(default_factory=Rows)
    log: list[wal.Envelope] = field(default_factory=list[wal.Envelope])
    effects: list[Effect] = field(default_factory=list[Effect])
    made: int = 0

    @property
    def partition(self) -> Partition:
        return Partition(PartitionId(0), LogId(0), self.keys)

    # ------------------------------------------------------------ records

    def write(self, key: int, command: wal.Command) -> list[Effect]:
        """Apply a command; its effects, which are kept as well."""
        envelope = wal.Envelope(None, key, command, self.now_ms)
        self.log.append(envelope)
        transaction = Transaction(self.rows)
        lsn = Lsn(len(self.log))
        effects = apply(self.partition, journal_codec, lsn, envelope, transaction)
        self.rows.write(transaction.mutations())
        self.effects += effects
        return effects

    def call(
        self,
        target: Target,
        argument: bytes = b"in",
        *,
        seed: int | None = None,
        invocation: RawInvocationId | None = None,
        start_at_ms: int | None = None,
        retention: Retention = KEPT,
    ) -> RawInvocationId:
        """Submit a call of an ingress."""
        self.made += 1
        key = partition_key_of_key(target.key) if target.kind.is_keyed else 7
        identity = invocation or raw_id(key, self.made)
        made = Invocation(
            identity,
            target,
            argument,
            start_at_ms=start_at_ms,
            retention=retention,
            created_at_ms=self.now_ms,
            random_seed=self.made if seed is None else seed,
        )
        self.write(key, wal.Invoke(made))
        return identity

    def report(
        self,
        invocation: RawInvocationId,
        *entries: Entry | wal.ProposedEntry,
        end: wal.RunEnd | None = None,
        run: int | None = None,
    ) -> list[Effect]:
        """An attempt of the present run, or another one, reports."""
        proposed = tuple(
            entry
            if isinstance(entry, wal.ProposedEntry)
            else wal.ProposedEntry(entry.kind, entry.payload)
            for entry in entries
        )
        number = self.record(invocation).run if run is None else run
        progress = wal.AttemptProgress(invocation, number, proposed, None, end)
        return self.write(partition_key_of_id(invocation), progress)

    def finish(self, invocation: RawInvocationId, value: bytes = b"out") -> list[Effect]:
        """The handler returns."""
        return self.report(invocation, output(value), end=wal.Completed())

    def fire_due(self) -> int:
        """Fire what is due; how many there were."""
        due = [timer for timer in self.timers() if timer.at_ms <= self.now_ms]
        for timer in due:
            self.write(partition_key_of_id(timer.invocation), wal.FireTimer(timer.key))
        return len(due)

    # ------------------------------------------------------------ what is there

    def find(self, invocation: RawInvocationId) -> InvocationRecord | None:
        return read_invocation(self.rows, invocation)

    def record(self, invocation: RawInvocationId) -> InvocationRecord:
        record = self.find(invocation)
        assert record is not None, "no such invocation"
        return record

    def stage(self, invocation: RawInvocationId) -> Stage:
        return self.record(invocation).stage

    def outcome(self, invocation: RawInvocationId) -> Outcome | None:
        return self.record(invocation).outcome

    def kinds(self, invocation: RawInvocationId) -> list[MessageType]:
        return [MessageType(row.entry.kind) for row in journal_of(self.rows, invocation)]

    def state(self, service: str, key: str) -> dict[str, bytes]:
        owner = StateOwner(partition_key_of_key(key), service, key)
        return {entry.name: entry.value for entry in tables.state_of(self.rows, owner)}

    def timers(self) -> list[Timer]:
        self.rows.scan_max, kept = 1000, self.rows.scan_max
        found = first_timers(self.rows, 1000)
        self.rows.scan_max = kept
        return found

    def outbox(self) -> list[tuple[int, OutboxMessage]]:
        self.rows.scan_max, kept = 1000, self.rows.scan_max
        found = messages_from(self.rows, 0, 1000)
        self.rows.scan_max = kept
        return found

    def of(self, kind: type[E]) -> list[E]:
        """Effects of one kind, in order."""
        return [effect for effect in self.effects if isinstance(effect, kind)]


# ---------------------------------------------------------------- targets


def service(handler: str = "greet") -> Target:
    return Target(TargetKind.SERVICE, "Greeter", handler)


def exclusive(key: str = "k", handler: str = "add") -> Target:
    return Target(TargetKind.OBJECT_EXCLUSIVE, "Counter", handler, key)


def shared(key: str = "k") -> Target:
    return Target(TargetKind.OBJECT_SHARED, "Counter", "get", key)


def workflow(key: str = "k") -> Target:
    return Target(TargetKind.WORKFLOW_RUN, "Flow", "run", key)


def workflow_shared(key: str = "k") -> Target:
    return Target(TargetKind.WORKFLOW_SHARED, "Flow", "say", key)


# ---------------------------------------------------------------- entries, as an SDK writes them


def output(value: bytes) -> Entry:
    message = pb.OutputCommandMessage(value=pb.Value(content=value))
    return Entry(MessageType.OUTPUT_COMMAND, message.SerializeToString())


def failure(code: int, text: str) -> Entry:
    message = pb.OutputCommandMessage(failure=pb.Failure(code=code, message=text))
    return Entry(MessageType.OUTPUT_COMMAND, message.SerializeToString())


def set_state(name: str, value: bytes) -> Entry:
    message = pb.SetStateCommandMessage(key=name.encode(), value=pb.Value(content=value))
    return Entry(MessageType.SET_STATE_COMMAND, message.SerializeToString())


def get_state(name: str, completion: int) -> Entry:
    message = pb.GetLazyStateCommandMessage(key=name.encode(), result_completion_id=completion)
    return Entry(MessageType.GET_LAZY_STATE_COMMAND, message.SerializeToString())


def sleep(until_ms: int, completion: int) -> Entry:
    message = pb.SleepCommandMessage(wake_up_time=until_ms, result_completion_id=completion)
    return Entry(MessageType.SLEEP_COMMAND, message.SerializeToString())


def run(completion: int) -> Entry:
    message = pb.RunCommandMessage(result_completion_id=completion, name="step")
    return Entry(MessageType.RUN_COMMAND, message.SerializeToString())


def ran(completion: int, value: bytes) -> Entry:
    return journal_codec.completion(MessageType.RUN_COMPLETION, completion, Success(value))


def call(
    target: Target, callee: RawInvocationId, id_completion: int, completion: int | None
) -> wal.ProposedEntry:
    """A Call, or a one-way call when nobody waits, with what a leader looked up."""
    if completion is None:
        one_way = pb.OneWayCallCommandMessage(
            service_name=target.service,
            handler_name=target.handler,
            key=target.key,
            parameter=b"arg",
            invocation_id_notification_idx=id_completion,
        )
        kind, payload = MessageType.ONE_WAY_CALL_COMMAND, one_way.SerializeToString()
    else:
        message = pb.CallCommandMessage(
            service_name=target.service,
            handler_name=target.handler,
            key=target.key,
            parameter=b"arg",
            invocation_id_notification_idx=id_completion,
            result_completion_id=completion,
        )
        kind, payload = MessageType.CALL_COMMAND, message.SerializeToString()
    return wal.ProposedEntry(kind, payload, wal.Callee(callee, target.kind, KEPT))


def get_promise(name: str, completion: int) -> Entry:
    message = pb.GetPromiseCommandMessage(key=name, result_completion_id=completion)
    return Entry(MessageType.GET_PROMISE_COMMAND, message.SerializeToString())


def complete_promise(name: str, value: bytes, completion: int) -> Entry:
    message = pb.CompletePromiseCommandMessage(
        key=name, completion_value=pb.Value(content=value), result_completion_id=completion
    )
    return Entry(MessageType.COMPLETE_PROMISE_COMMAND, message.SerializeToString())
