"""Whether a record was applied before.

Every writer numbers its records, and the log keeps their order though not their uniqueness; so a
record is new exactly if its number is above the highest applied one of the same writer. A leader's
records are numbered by (epoch, sequence): the first record of a new leader puts everything of its
predecessors below what is known, wherever in the log it still turns up.

    stored for SELF    (3, 17)
    (3, 17) (2, 90)    dropped: a double; a deposed leader
    (3, 18) (4, 0)     applied

A dropped record still counts as applied: the applied LSN moves over it.

Driven by `partition.apply`, which stores the number in the same transaction as its consequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from restate_node.types.ids import PartitionId
from restate_node.types.wal import Dedup, IngressProducer, PartitionProducer, SelfProposal


@dataclass(frozen=True, slots=True)
class Self:
    """Whoever leads this partition."""


Producer: TypeAlias = Self | PartitionId | bytes
"""Whose numbers are compared: leaders, another partition, an ingress."""

SELF = Self()

Number: TypeAlias = tuple[int, int]
"""(epoch, sequence); the epoch is 0 for writers other than leaders."""


def producer_of(dedup: Dedup) -> Producer:
    """The writer."""
    match dedup:
        case SelfProposal():
            return SELF
        case IngressProducer(producer):
            return producer
        case PartitionProducer(partition):
            return partition


def number_of(dedup: Dedup) -> Number:
    """The record's number among those of its writer."""
    match dedup:
        case SelfProposal(epoch, sequence):
            return epoch, sequence
        case IngressProducer(_, sequence) | PartitionProducer(_, sequence):
            return 0, sequence


def is_new(highest: Number | None, number: Number) -> bool:
    """True when no record of that number or a later one was applied."""
    return highest is None or number > highest
