"""Applies one record to the tables of a partition.

    record ─▶ seen before? ─yes─▶ skip                      ┐
                   │no                                      ├─▶ applied LSN moves, in any case
                   ▼                                        │
              command ─▶ mutations, number of its writer    ┘
                      └▶ effects

Deterministic: what comes out depends on the record and on the tables, and on nothing else. No
clock, no randomness, no order of a set. All replicas rely on it: they share the log and never
compare their tables.

Driven by the partition processor, which writes all mutations of a batch at once (P3).
"""

from __future__ import annotations

from typing import assert_never

from restate_node.protocol.dedup import is_new, number_of, producer_of
from restate_node.protocol.partition import tables
from restate_node.protocol.partition.commands import news, operate
from restate_node.protocol.partition.commands.announce_leader import announce_leader
from restate_node.protocol.partition.commands.invoke import invoke
from restate_node.protocol.partition.commands.patch_state import patch_state
from restate_node.protocol.partition.commands.progress import progress
from restate_node.protocol.partition.commands.update_durability import update_durability
from restate_node.protocol.partition.effects import Effect
from restate_node.protocol.partition.machine import JournalCodec, Machine
from restate_node.protocol.partition.transaction import Transaction
from restate_node.types import wal
from restate_node.types.ids import PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import Partition


def apply(
    partition: Partition,
    codec: JournalCodec,
    lsn: Lsn,
    envelope: wal.Envelope,
    transaction: Transaction,
) -> list[Effect]:
    """Apply the record at that LSN, which MUST be the one after the last applied."""
    transaction.put([tables.write_applied(partition.id, lsn)])
    if envelope.dedup is not None and not _admit(partition.id, envelope.dedup, transaction):
        return []
    machine = Machine(partition, codec, transaction, envelope.at_ms)
    _perform(machine, envelope.partition_key, envelope.command)
    while machine.messages:
        _perform(machine, *machine.messages.popleft())
    return machine.effects


def _perform(machine: Machine, partition_key: int, command: wal.Command) -> None:
    match command:
        case wal.Invoke():
            invoke(machine, command)
        case wal.AttemptProgress():
            progress(machine, command)
        case wal.Respond():
            news.take_response(machine, command)
        case wal.Notify():
            news.take_signal(machine, command)
        case wal.FireTimer():
            news.fire_timer(machine, command)
        case wal.AttachTo():
            news.attach_to(machine, command)
        case wal.TruncateOutbox():
            news.truncate_outbox(machine, command)
        case wal.Operate():
            operate.operate(machine, command)
        case wal.Terminate():
            operate.terminated(machine, command)
        case wal.PatchState():
            patch_state(machine, partition_key, command)
        case wal.AnnounceLeader():
            announce_leader(machine, command)
        case wal.UpdateDurability():
            update_durability(machine, command)
        case _:
            assert_never(command)


def _admit(partition: PartitionId, dedup: wal.Dedup, transaction: Transaction) -> bool:
    producer, number = producer_of(dedup), number_of(dedup)
    if not is_new(tables.read_highest(transaction, partition, producer), number):
        return False
    transaction.put([tables.write_highest(partition, producer, number)])
    return True
