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
from restate_node.types.invocation_messages import Control
from restate_node.types.invocations import Failure, Invocation, Outcome, RawInvocationId, Retention
from restate_node.types.journal import AwaitPoint, Entry, MessageType
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import KeyRange
from restate_node.types.targets import TargetKind

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


# ---------------------------------------------------------------- invocations


class Invoke(msgspec.Struct, frozen=True, array_like=True, tag="invoke"):
    """Run this, unless an invocation of that id exists."""

    invocation: Invocation


class Callee(msgspec.Struct, frozen=True, array_like=True):
    """What a caller's leader has looked up for a Call: replicas may know other schemas."""

    invocation: RawInvocationId
    kind: TargetKind
    retention: Retention


class ProposedEntry(msgspec.Struct, frozen=True, array_like=True):
    """An entry that an attempt adds to the journal; `callee` goes with a Call."""

    kind: int
    payload: bytes
    callee: Callee | None = None


class Pinned(msgspec.Struct, frozen=True, array_like=True):
    """The deployment that an invocation stays with, and the protocol that they speak."""

    deployment: str
    protocol_version: int


class Completed(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The handler ended; its Output entry says how."""


class Suspended(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The handler waits, and nothing of it runs meanwhile. `told` is how many entries of the
    journal its SDK knew: what it waits for is none of the signals among them that may come again.
    """

    awaiting: AwaitPoint
    told: int = 0


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The last attempt failed, and there will be no other."""

    failure: Failure


class Paused(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The last attempt failed; an operator decides."""


RunEnd: TypeAlias = Completed | Suspended | Failed | Paused


class JournalEvent(msgspec.Struct, frozen=True, array_like=True):
    """Something that happened beside the journal, for people: `kind` and a JSON text."""

    kind: str
    content: str


class AttemptProgress(msgspec.Struct, frozen=True, array_like=True, tag="attempt"):
    """What an attempt has brought since its last report. Counts only for that run of it."""

    invocation: RawInvocationId
    run: int
    entries: tuple[ProposedEntry, ...] = ()
    pinned: Pinned | None = None
    end: RunEnd | None = None
    events: tuple[JournalEvent, ...] = ()


class Notify(msgspec.Struct, frozen=True, array_like=True, tag="notify"):
    """A signal for an invocation."""

    invocation: RawInvocationId
    signal: Entry


class Respond(msgspec.Struct, frozen=True, array_like=True, tag="respond"):
    """How what an invocation waits for has ended: None is an output that is not there yet.

    An id may live again, by an idempotency key or as a workflow that was forgotten. So whoever
    waits leaves its random seed, its `life`: nobody else of that id is told. None: any.
    """

    invocation: RawInvocationId
    completion: int
    kind: MessageType
    outcome: Outcome | None
    life: int | None = None


class AttachTo(msgspec.Struct, frozen=True, array_like=True, tag="attach"):
    """Tell `waiter`, when the invocation has ended, or now how it is. `life` as in `Respond`."""

    invocation: RawInvocationId
    waiter: RawInvocationId
    completion: int
    wait: bool
    life: int | None = None


class Terminate(msgspec.Struct, frozen=True, array_like=True, tag="terminate"):
    """The caller was killed: end at once as well."""

    invocation: RawInvocationId


class Operate(msgspec.Struct, frozen=True, array_like=True, tag="operate"):
    """An operator's wish; `ticket` tells the one who asked what became of it."""

    ticket: bytes
    invocation: RawInvocationId
    control: Control
    deployment: str | None = None
    new_invocation: RawInvocationId | None = None
    copy_entries: int = 0
    protocol_version: int | None = None


class FireTimer(msgspec.Struct, frozen=True, array_like=True, tag="timer"):
    """A timer is due; `timer` is its key."""

    timer: bytes


class TruncateOutbox(msgspec.Struct, frozen=True, array_like=True, tag="truncate-outbox"):
    """Messages up to that number are in the logs that they were for."""

    up_to: int


Command: TypeAlias = (
    AnnounceLeader
    | PatchState
    | UpdateDurability
    | Invoke
    | AttemptProgress
    | Notify
    | Respond
    | AttachTo
    | Terminate
    | Operate
    | FireTimer
    | TruncateOutbox
)


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """One record."""

    dedup: Dedup | None
    partition_key: int
    command: Command
    at_ms: int = 0
    """When it was written, by the clock of its writer: what replicas take for the present."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that this release cannot read. Who skips it is wrong about all that follows."""

    reason: str
