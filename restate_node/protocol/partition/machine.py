"""What a command works on while it is applied: rows, the time of the record, and what comes of it.

    record ─▶ command ─▶ rows change
                      ├▶ effects, for the leader
                      └▶ messages ─▶ of this partition: commands of the same record, applied next
                                  └▶ of another: the outbox

A message to the partition's own keys is not worth a detour through a log: it is applied within the
same transaction, behind what caused it. Which messages these are depends on the partition's key
range only, so all replicas do the same.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from restate_node.protocol.partition import tables
from restate_node.protocol.partition.effects import Effect, MessageSent, TimerSet
from restate_node.protocol.partition.outbox_table import OutboxMessage, write_message
from restate_node.protocol.partition.tables import Mutation
from restate_node.protocol.partition.timer_table import Timer, write_timer
from restate_node.protocol.partition.transaction import Transaction
from restate_node.types.invocations import Header, Outcome
from restate_node.types.journal import (
    Entry,
    MessageType,
    NotificationId,
    SignalIndex,
    SignalName,
)
from restate_node.types.journal_commands import Meaning
from restate_node.types.partitions import Partition
from restate_node.types.wal import Command


class JournalCodec(Protocol):
    """What entries say; `wire.journal_codec` knows. All may raise MalformedMessage:
    a leader proposes no such entry, so it would be damage.
    """

    def meaning(self, entry: Entry) -> Meaning: ...

    def completions(self, entry: Entry) -> tuple[int, ...]:
        """The completion ids under which a command is answered."""
        ...

    def notification_id(self, entry: Entry) -> NotificationId: ...

    def outcome(self, entry: Entry) -> Outcome | None:
        """What a notification brings; None for one without a value."""
        ...

    def invocation_id(self, entry: Entry) -> bytes | None:
        """What a CALL_INVOCATION_ID_COMPLETION brings; None for another notification."""
        ...

    def input(self, argument: bytes, headers: tuple[Header, ...]) -> Entry: ...

    def argument(self, entry: Entry) -> tuple[bytes, tuple[Header, ...]]:
        """What an Input entry holds."""
        ...

    def completion(self, kind: MessageType, completion: int, outcome: Outcome | None) -> Entry: ...

    def id_completion(self, completion: int, invocation: bytes) -> Entry: ...

    def keys_completion(self, completion: int, keys: list[str]) -> Entry: ...

    def signal(self, signal: SignalIndex | SignalName, outcome: Outcome | None) -> Entry: ...


class Machine:
    """One record under way."""

    __slots__ = ("codec", "effects", "messages", "now_ms", "partition", "rows")

    def __init__(
        self, partition: Partition, codec: JournalCodec, rows: Transaction, now_ms: int
    ) -> None:
        self.partition = partition
        self.codec = codec
        self.rows = rows
        self.now_ms = now_ms
        self.effects: list[Effect] = []
        self.messages: deque[tuple[int, Command]] = deque()

    def put(self, *mutations: Mutation) -> None:
        """Change rows."""
        self.rows.put(mutations)

    def send(self, partition_key: int, command: Command) -> None:
        """Have a command applied where that key belongs."""
        if partition_key in self.partition.key_range:
            self.messages.append((partition_key, command))
            return
        number = tables.read_outbox_number(self.rows, self.partition.id)
        message = OutboxMessage(partition_key, command, self.now_ms)
        self.put(
            write_message(number, message),
            tables.write_outbox_number(self.partition.id, number + 1),
        )
        self.effects.append(MessageSent())

    def set_timer(self, timer: Timer) -> None:
        """Have something happen later."""
        self.put(write_timer(timer))
        self.effects.append(TimerSet(timer.at_ms))
