"""What the core and its driver say to each other: answers to requests, and the `Ready` batch.

A driver handles one `Ready` at a time, in this order:

    1. write in one batch: `hard_state`; `snapshot`, which replaces the whole stored log; `entries`,
       which replace all stored entries from their first index on. Make it durable if `must_sync`
    2. send `messages`; none may leave before step 1 is durable, for they promise what was written
    3. restore `snapshot`, apply `committed`, answer `reads` once all up to their index is applied
    4. `core.advance(ready)`

The core takes ticks, messages and proposals while a `Ready` is handled; what follows from them is
in the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from restate_node.types.ids import PlainNodeId
from restate_node.types.raft import (
    Entry,
    HardState,
    Index,
    Members,
    RaftMessage,
    Role,
    Snapshot,
    Term,
)


@dataclass(frozen=True, slots=True)
class RestoredState:
    """What the disk gave back; the default is a blank node that waits to be added.

    A new cluster starts from the snapshot at index 0 that names its first members.
    """

    hard_state: HardState = field(default_factory=HardState)
    snapshot: Snapshot = field(default_factory=Snapshot)
    entries: tuple[Entry, ...] = ()
    applied: Index = field(default=Index(0))
    """The state machine has applied this much; 0 if it was restored from the snapshot."""


@dataclass(frozen=True, slots=True)
class ProposalId:
    """The proposal will stand at this index, if the entry that is committed there has this term."""

    index: Index
    term: Term


@dataclass(frozen=True, slots=True)
class NotLeader:
    """Ask this node instead, if it is known. Nothing was written."""

    leader_hint: PlainNodeId | None


@dataclass(frozen=True, slots=True)
class Busy:
    """Ask again a little later. Nothing was written."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Asking again will not help. Nothing was written."""

    reason: str


Proposal = ProposalId | NotLeader | Busy | Refused


@dataclass(frozen=True, slots=True)
class ReadQueued:
    """A `ReadState` with the same context will follow, unless the leadership is lost before."""


@dataclass(frozen=True, slots=True)
class TransferStarted:
    """The transfer is under way; it is given up after an election timeout."""


@dataclass(frozen=True, slots=True)
class AddMember:
    """Let this node vote, with the storage that was created then."""

    node: PlainNodeId
    created_at_millis: int


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Let this node vote no longer; with a storage id, only if it still is that storage."""

    node: PlainNodeId
    created_at_millis: int | None = None


MembershipChange = AddMember | RemoveMember


@dataclass(frozen=True, slots=True)
class ReadState:
    """State at or after `index` is new enough to answer this read."""

    index: Index
    context: bytes


@dataclass(frozen=True, slots=True)
class SoftState:
    """Who leads, as far as this replica knows; not persisted."""

    role: Role
    leader: PlainNodeId | None
    term: Term


@dataclass(frozen=True, slots=True)
class RaftStatus:
    """For operators."""

    role: Role
    leader: PlainNodeId | None
    term: Term
    applied: Index
    committed: Index
    first_index: Index
    last_index: Index
    snapshot_index: Index
    members: Members


@dataclass(frozen=True, slots=True)
class Ready:
    """One batch of work for the driver; see the module's text for the order."""

    hard_state: HardState | None
    snapshot: Snapshot | None
    entries: tuple[Entry, ...]
    must_sync: bool
    messages: tuple[RaftMessage, ...]
    committed: tuple[Entry, ...]
    reads: tuple[ReadState, ...]
    soft_state: SoftState | None

    @property
    def has_work(self) -> bool:
        """Whether there is anything in it."""
        return bool(
            self.must_sync
            or self.hard_state is not None
            or self.messages
            or self.committed
            or self.reads
            or self.soft_state is not None
        )
