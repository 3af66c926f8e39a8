"""What is said to metadata servers, and among them.

    client  -- KvRequest ------------> any server   the leader answers, others say who leads
    member  -- RaftEnvelope ---------> member       one-way; a large one as RaftFragments
    member  -- GroupRecovered -------> somebody of a group that was given up
    standby -- JoinMetadataCluster --> the leader
    anybody -- RemoveFromMetadataCluster, MetadataServerStatusRequest --> a server

A lost request is sent again with the same `RequestId`; the store answers it from memory if it was
executed before. Raft itself retries, so its messages need no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import msgspec

from restate_node.types.ids import PlainNodeId, Version
from restate_node.types.metadata_kv import Delete, Outcome, Provision, Put, VersionedValue
from restate_node.types.raft import Index, RaftMessage, Term

# ---------------------------------------------------------------- clients


class ReadValue(msgspec.Struct, frozen=True, array_like=True, tag="get"):
    """The value now: at least as new as whatever was acknowledged before."""

    key: str


class ReadVersion(msgspec.Struct, frozen=True, array_like=True, tag="get-version"):
    """The version alone, as new as the value would be."""

    key: str


Operation = ReadValue | ReadVersion | Put | Delete | Provision


class KvRequest(msgspec.Struct, frozen=True, array_like=True):
    """One operation on the store."""

    operation: Operation


class ValueFound(msgspec.Struct, frozen=True, array_like=True, tag="value"):
    """None: the key does not exist."""

    value: VersionedValue | None


class VersionFound(msgspec.Struct, frozen=True, array_like=True, tag="version"):
    """None: the key does not exist."""

    version: Version | None


class Executed(msgspec.Struct, frozen=True, array_like=True, tag="executed"):
    """The command was applied, now or before."""

    outcome: Outcome


class LeaderHint(msgspec.Struct, frozen=True, array_like=True):
    """Whom to ask instead; the address may be known before the node is."""

    node: PlainNodeId
    address: str | None


class NotLeading(msgspec.Struct, frozen=True, array_like=True, tag="not-leading"):
    """A member that does not lead. Nothing was executed."""

    leader: LeaderHint | None


class NotMember(msgspec.Struct, frozen=True, array_like=True, tag="not-member"):
    """A standby: the cluster exists, its store is elsewhere. Nothing was executed."""

    leader: LeaderHint | None


class NotFounded(msgspec.Struct, frozen=True, array_like=True, tag="not-founded"):
    """A server that waits for the cluster to be provisioned. Nothing was executed."""


class TryAgain(msgspec.Struct, frozen=True, array_like=True, tag="again"):
    """The leader could not finish it. Send the same request again, to anybody."""

    reason: str
    maybe_executed: bool


Answer = ValueFound | VersionFound | Executed | NotLeading | NotMember | NotFounded | TryAgain


class KvReply(msgspec.Struct, frozen=True, array_like=True):
    """What became of a `KvRequest`."""

    answer: Answer


NOT_PROVISIONED_TEXT = "Metadata store has not been provisioned yet"
NOT_MEMBER_TEXT = "Not being part of the metadata store cluster."

# ---------------------------------------------------------------- members


class RaftRoute(msgspec.Struct, frozen=True, array_like=True):
    """Which two storages talk. A message for another storage of the same node is dropped."""

    sender: PlainNodeId
    sender_storage: int
    receiver_storage: int
    sender_address: str
    """Where to answer, for a receiver that has not seen the sender in the nodes configuration."""
    recovered_at_millis: int | None = None
    """Of the group whose entries the sender holds; None if it holds none: it waits to be added, may
    hear everybody, and only ever replies.
    """


class GroupRecovered(msgspec.Struct, frozen=True, array_like=True):
    """You speak for a group that was given up: it was continued elsewhere, without you."""

    recovered_at_millis: int


class RaftEnvelope(msgspec.Struct, frozen=True, array_like=True):
    """One Raft message."""

    route: RaftRoute
    message: RaftMessage


class RaftFragment(msgspec.Struct, frozen=True, array_like=True):
    """A part of an encoded message that may be larger than a frame may be: a snapshot.

    Parts are sent one after the other; the answer to each asks for the next.
    """

    route: RaftRoute
    stream: int
    part: int
    parts: int
    data: bytes


class FragmentTaken(msgspec.Struct, frozen=True, array_like=True):
    """Send the next part."""


class JoinMetadataCluster(msgspec.Struct, frozen=True, array_like=True):
    """Let me be a member, with the storage that I created then."""

    node: PlainNodeId
    created_at_millis: int
    cluster_name: str
    fingerprint: int
    automatic: bool
    """Not by an operator's order: only the first time, and never after a removal."""
    recovered_at_millis: int | None = None
    """Of the group whose entries this storage holds; None if it holds none."""


class RemoveFromMetadataCluster(msgspec.Struct, frozen=True, array_like=True):
    """Remove a member; with a storage id, only if it still is that storage."""

    node: PlainNodeId
    created_at_millis: int | None = None


class MembershipVerdict(Enum):
    """How a change of the membership ended."""

    DONE = "done"
    ALREADY_MEMBER = "already-member"
    NOT_A_MEMBER = "not-a-member"
    NOT_LEADER = "not-leader"
    """`leader` knows better, if anybody does."""
    FORBIDDEN = "forbidden"
    """Another cluster, another storage, or not the role. Do not ask again as you are."""
    REFUSED = "refused"
    """Not in this state of the cluster."""
    TRY_LATER = "try-later"


class MembershipReply(msgspec.Struct, frozen=True, array_like=True):
    """The answer to a change of the membership; `reason` is meant for people."""

    verdict: MembershipVerdict
    reason: str = ""
    leader: LeaderHint | None = None


class MetadataServerStatusRequest(msgspec.Struct, frozen=True, array_like=True):
    """How are you?"""


class MetadataServerPhase(Enum):
    """What a metadata server is at the moment."""

    STARTING_UP = "starting-up"
    AWAITING_PROVISIONING = "awaiting-provisioning"
    STANDBY = "standby"
    MEMBER = "member"


class MetadataServerStatus(msgspec.Struct, frozen=True, array_like=True):
    """For operators; the figures of a server that is no member are zero."""

    phase: MetadataServerPhase
    storage: int = 0
    leader: PlainNodeId | None = None
    members_version: Version = Version(0)
    members: Mapping[PlainNodeId, int] = {}
    term: Term = Term(0)
    applied: Index = Index(0)
    committed: Index = Index(0)
    first_index: Index = Index(0)
    last_index: Index = Index(0)
    snapshot_index: Index = Index(0)
    snapshot_bytes: int = 0
