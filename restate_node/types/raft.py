"""The nouns of Raft: entries, terms, members, snapshots and the messages between replicas.

Every noun here is a frozen `msgspec.Struct` in array form with a tag, so the same value is what
the core decides with, what goes over the wire and what lies on disk; nothing is translated in
between.

    index    1      2      3      4      5         term: who led when the entry was written
    term     1      1      2      2      3         An (index, term) pair names one entry for ever.
             `- snapshot -'       ^ commit

`Members` is the whole membership, never a difference: a `CONFIGURATION` entry carries it encoded,
so a replica needs no history to know who votes. A member is a node id *and* the moment its storage
was created: a node that lost its disk has forgotten its votes and must be added again as somebody
new.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NewType

import msgspec

from restate_node.types.ids import INVALID_VERSION, PlainNodeId, Version

Index = NewType("Index", int)
"""A position in the Raft log, from 1; 0 lies before the first entry."""

Term = NewType("Term", int)
"""A period with at most one leader; 0 lies before the first election."""


class Role(Enum):
    """What a replica is at the moment."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class EntryKind(Enum):
    """What an entry means to the replicas."""

    NORMAL = 0
    """A command of the state machine."""
    CONFIGURATION = 1
    """The encoded `Members` that hold from this entry on."""
    EMPTY = 2
    """Written by a new leader to commit what its predecessors left."""


class Entry(msgspec.Struct, frozen=True, array_like=True, tag="entry"):
    """One position of the log."""

    index: Index
    term: Term
    kind: EntryKind
    data: bytes = b""


class HardState(msgspec.Struct, frozen=True, array_like=True, tag="hard"):
    """What a replica must not forget between two of its lives."""

    term: Term = Term(0)
    voted_for: PlainNodeId | None = None
    commit: Index = Index(0)


class Members(msgspec.Struct, frozen=True, array_like=True, tag="members"):
    """Who votes, by node id, and when its storage was created; each change is a new version.

    A group that lost its majority for ever may be continued from one member, by order of an
    operator. `recovered_at_millis` tells such groups apart: the later one is right, and members of
    an earlier one that come back are not listened to. 0: never recovered.
    """

    version: Version = INVALID_VERSION
    created_at_millis: Mapping[PlainNodeId, int] = {}
    recovered_at_millis: int = 0

    def __contains__(self, node: PlainNodeId) -> bool:
        return node in self.created_at_millis

    def __len__(self) -> int:
        return len(self.created_at_millis)

    def with_member(self, node: PlainNodeId, created_at_millis: int) -> Members:
        """The next version, with this node."""
        members = {**self.created_at_millis, node: created_at_millis}
        return Members(Version(self.version + 1), members, self.recovered_at_millis)

    def without_member(self, node: PlainNodeId) -> Members:
        """The next version, without this node."""
        members = {other: at for other, at in self.created_at_millis.items() if other != node}
        return Members(Version(self.version + 1), members, self.recovered_at_millis)


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True, tag="meta"):
    """The last entry that a snapshot covers, and the members at that entry."""

    index: Index = Index(0)
    term: Term = Term(0)
    members: Members = Members()


class Snapshot(msgspec.Struct, frozen=True, array_like=True, tag="snapshot"):
    """A state machine's image; the one at index 0 is empty and names the first members."""

    meta: SnapshotMeta = SnapshotMeta()
    data: bytes = b""


class RaftHeader(msgspec.Struct, frozen=True, array_like=True):
    """What every message starts with; `term` is the sender's unless the message says otherwise."""

    sender: PlainNodeId
    receiver: PlainNodeId
    term: Term


class PreVote(RaftHeader, frozen=True, array_like=True, tag="pv"):
    """Would you vote for me? `term` is the one that the sender would campaign in."""

    last_index: Index
    last_term: Term


class PreVoteReply(RaftHeader, frozen=True, array_like=True, tag="pvr"):
    """Granted: `term` is the asked one; refused: the replier's own."""

    granted: bool


class Vote(RaftHeader, frozen=True, array_like=True, tag="v"):
    """Vote for me. `transfer`: the leader wants this election, so its lease does not hold."""

    last_index: Index
    last_term: Term
    transfer: bool = False


class VoteReply(RaftHeader, frozen=True, array_like=True, tag="vr"):
    """The vote, for this term for ever."""

    granted: bool


class AppendEntries(RaftHeader, frozen=True, array_like=True, tag="a"):
    """Put these entries after the previous one, and know that all up to `commit` is decided."""

    previous_index: Index
    previous_term: Term
    commit: Index
    entries: tuple[Entry, ...] = ()


class AppendEntriesReply(RaftHeader, frozen=True, array_like=True, tag="ar"):
    """Accepted: all up to `index` is durable here. Refused: `index` is the previous index that did
    not match.

    `hint_index` and `hint_term` name the last entry here that can still agree with the leader's
    log, so that the leader skips a whole conflicting term in one round trip.
    """

    accepted: bool
    index: Index
    hint_index: Index = Index(0)
    hint_term: Term = Term(0)


class Heartbeat(RaftHeader, frozen=True, array_like=True, tag="h"):
    """I lead. `read_round` numbers the question "do I still lead?" that reads wait for."""

    commit: Index
    read_round: int


class HeartbeatReply(RaftHeader, frozen=True, array_like=True, tag="hr"):
    """You led when I received that round."""

    read_round: int


class InstallSnapshot(RaftHeader, frozen=True, array_like=True, tag="s"):
    """You are behind the start of my log: replace yours by this."""

    snapshot: Snapshot


class InstallSnapshotReply(RaftHeader, frozen=True, array_like=True, tag="sr"):
    """All up to `index` is durable here."""

    index: Index


class TimeoutNow(RaftHeader, frozen=True, array_like=True, tag="t"):
    """Campaign at once: leadership is handed to you."""


LeaderMessage = AppendEntries | Heartbeat | InstallSnapshot
LeaderReply = AppendEntriesReply | HeartbeatReply | InstallSnapshotReply
VoteRequest = PreVote | Vote
AnyVoteReply = PreVoteReply | VoteReply
RaftMessage = LeaderMessage | LeaderReply | VoteRequest | AnyVoteReply | TimeoutNow

_members_decoder = msgspec.msgpack.Decoder(Members)
_members_encoder = msgspec.msgpack.Encoder()


def encode_members(members: Members) -> bytes:
    """The data of a `CONFIGURATION` entry."""
    return _members_encoder.encode(members)


def decode_members(data: bytes) -> Members:
    """Inverse of `encode_members`; `msgspec.MsgspecError` if the bytes are something else."""
    return _members_decoder.decode(data)
