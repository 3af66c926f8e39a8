"""What a record in the log of a partition says: a command, and how to recognise it when it comes
twice.

    Envelope
      dedup          who wrote it, and its number among the records of that writer
      partition_key  whose affair it is
      command        what every replica of the partition must do

An appender that fails over may write a record a second time, but never reorders what it is given.
So one rising number per writer is enough to drop the doubles:

    SelfProposal      a leader's own records; the epoch comes first, so all records of former
                      leaders are dropped once a new one has announced itself
    IngressProducer   what a node took from a client; valid whoever leads when it is read
    PartitionProducer what another partition sent

Commands are for ever: a tag and the place of a field are not used again, new fields are appended
with a default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import msgspec

from restate_node.types.ids import GenerationalNodeId, LeaderEpoch, PartitionId, Version
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import KeyRange

PRODUCER_ID_BYTES: Final = 16


class SelfProposal(msgspec.Struct, frozen=True, array_like=True, tag="self"):
    """Record number `sequence` of the leader of that epoch; its announcement is number 0."""

    epoch: LeaderEpoch
    sequence: int


class IngressProducer(msgspec.Struct, frozen=True, array_like=True, tag="ingress"):
    """Record number `sequence` of a writer that drew 16 random bytes to be told from others."""

    producer: bytes
    sequence: int


class PartitionProducer(msgspec.Struct, frozen=True, array_like=True, tag="partition"):
    """Message number `sequence` from another partition."""

    partition: PartitionId
    sequence: int


Dedup: TypeAlias = SelfProposal | IngressProducer | PartitionProducer


class AnnouncedReplicas(msgspec.Struct, frozen=True, array_like=True):
    """A replica set, as far as readers of the log need it."""

    version: Version
    replication: str
    nodes: tuple[int, ...]


class AnnounceLeader(msgspec.Struct, frozen=True, array_like=True, tag="announce-leader"):
    """From here on, that node leads; the first record of every leader."""

    node: GenerationalNodeId
    epoch: LeaderEpoch
    key_range: KeyRange
    metadata_version: Version
    current: AnnouncedReplicas | None
    next: AnnouncedReplicas | None


class PatchState(msgspec.Struct, frozen=True, array_like=True, tag="patch-state"):
    """Replace the whole state of a key of a service, if it still has the expected version."""

    service: str
    key: str
    new_state: dict[str, bytes]
    expected_version: str | None = None


class UpdateDurability(
    msgspec.Struct, frozen=True, array_like=True, tag="update-partition-durability"
):
    """Records up to that LSN need not be kept for recovery; since when, by the leader's clock."""

    durable_point: Lsn
    unix_ms: int


Command: TypeAlias = AnnounceLeader | PatchState | UpdateDurability


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """One record."""

    dedup: Dedup | None
    partition_key: int
    command: Command


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that this release cannot read. Who skips it is wrong about all that follows."""

    reason: str
