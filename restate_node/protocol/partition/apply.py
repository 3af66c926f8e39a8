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
from restate_node.protocol.partition.commands.announce_leader import announce_leader
from restate_node.protocol.partition.commands.patch_state import patch_state
from restate_node.protocol.partition.commands.update_durability import update_durability
from restate_node.protocol.partition.effects import Effect
from restate_node.protocol.partition.transaction import Transaction
from restate_node.types.ids import PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.wal import AnnounceLeader, Dedup, Envelope, PatchState, UpdateDurability


def apply(
    partition: PartitionId, lsn: Lsn, envelope: Envelope, transaction: Transaction
) -> list[Effect]:
    """Apply the record at that LSN, which MUST be the one after the last applied."""
    transaction.put([tables.write_applied(partition, lsn)])
    if envelope.dedup is not None and not _admit(partition, envelope.dedup, transaction):
        return []
    match envelope.command:
        case AnnounceLeader() as command:
            mutations, effects = announce_leader(partition, command)
        case PatchState() as command:
            mutations, effects = patch_state(envelope.partition_key, command, transaction)
        case UpdateDurability() as command:
            mutations, effects = update_durability(partition, command, transaction)
        case _:
            assert_never(envelope.command)
    transaction.put(mutations)
    return effects


def _admit(partition: PartitionId, dedup: Dedup, transaction: Transaction) -> bool:
    producer, number = producer_of(dedup), number_of(dedup)
    if not is_new(tables.read_highest(transaction, partition, producer), number):
        return False
    transaction.put([tables.write_highest(partition, producer, number)])
    return True
