"""Raft without input or output: a replica that is told what happens and says what to do.

    tick, receive                   --+
    propose, propose_members          +--> RaftCore --> take_ready --> Ready --> advance
    read_index, transfer_leadership --+                                  |
                                              the driver: persist, then send, then apply

Why: the same code must run under a real disk and network and under the simulator, which decides
every delay, loss and crash. So there is no clock (the driver ticks), no disk, no socket, and
randomness is an argument.

    FOLLOWER --timeout--> PRE_CANDIDATE --majority--> CANDIDATE --majority--> LEADER
        ^  \\-- TimeoutNow, skips the pre-vote ------->/                         |
        +------------ later term, lost election, leader heard, quorum lost -----+

Invariants, all of Raft's Figure 3:
  - Election safety: at most one leader per term; a vote is durable before the reply leaves.
  - Leader append-only: a leader never replaces an entry of its own log.
  - Log matching: where two logs have an equal (index, term), all before is equal, too.
  - Leader completeness: a candidate needs a majority whose logs it covers.
  - State machine safety: nothing committed changes; the log refuses it.
In addition: a vote request does not disturb a node that hears a leader (lease); a read sees all
that was acknowledged before it came (read-index); two adjacent memberships share a majority, since
they differ by one node.

Whom to trust: the driver vouches that a message comes from the node and storage that it names, in
this cluster. Beyond that, an unknown candidate is heard only if its log is ahead of ours, for only
then can it know of members that we have yet to learn; replies count from followers only. A node
that is no member, or has another storage than the member of its name, never campaigns.

Driven by the metadata server's service; tested by transcripts and by random clusters.
"""

from __future__ import annotations

from random import Random
from typing import assert_never

from restate_node.protocol.raft.candidate import Candidate, answer
from restate_node.protocol.raft.follower import follow
from restate_node.protocol.raft.leader import Leader
from restate_node.protocol.raft.log import RaftLog
from restate_node.protocol.raft.options import RaftOptions
from restate_node.protocol.raft.ready import (
    Busy,
    MembershipChange,
    NotLeader,
    Proposal,
    RaftStatus,
    ReadQueued,
    Ready,
    Refused,
    RestoredState,
    SoftState,
    TransferStarted,
)
from restate_node.protocol.raft.state import IllegalState, RaftState
from restate_node.protocol.raft.voters import Tally
from restate_node.types.ids import PlainNodeId
from restate_node.types.raft import (
    AnyVoteReply,
    AppendEntries,
    AppendEntriesReply,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Index,
    InstallSnapshot,
    InstallSnapshotReply,
    LeaderMessage,
    LeaderReply,
    Members,
    PreVote,
    PreVoteReply,
    RaftMessage,
    Role,
    Snapshot,
    SnapshotMeta,
    Term,
    TimeoutNow,
    Vote,
    VoteReply,
)

__all__ = ["IllegalState", "RaftCore"]

_NEXT_ROLES = {
    Role.FOLLOWER: {Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE},
    Role.PRE_CANDIDATE: {Role.FOLLOWER, Role.PRE_CANDIDATE, Role.CANDIDATE},
    Role.CANDIDATE: {Role.FOLLOWER, Role.PRE_CANDIDATE, Role.LEADER},
    Role.LEADER: {Role.FOLLOWER},
}


class RaftCore:
    """One replica. Not reentrant; one task owns it."""

    def __init__(
        self,
        me: PlainNodeId,
        storage_id: int,
        options: RaftOptions,
        rng: Random,
        restored: RestoredState,
    ) -> None:
        """Continue from the disk. `storage_id` is when this node's storage was created."""
        options.validate()
        # A commit alone is not made durable at once, so the state machine may know of a later one.
        commit = max(restored.hard_state.commit, restored.applied)
        log = RaftLog(restored.snapshot, restored.entries, commit)
        log.applied = log.handed_out = max(log.applied, restored.applied)
        self._state = RaftState(me, storage_id, options, rng, restored.hard_state, log)
        self._leader: Leader | None = None
        self._candidate: Candidate | None = None
        self._given_hard_state = restored.hard_state
        self._given_soft_state: SoftState | None = None
        self._outstanding: Ready | None = None
        self._campaign_if_alone()

    # -- what happens

    def tick(self) -> None:
        """Time passed: one tick."""
        state = self._state
        state.elapsed_ticks += 1
        if self._leader is not None:
            if not self._leader.tick():
                state.note("no quorum heard")
                self._become_follower(None)
        elif state.is_voter and state.elapsed_ticks >= state.timeout_ticks:
            self._campaign()
        else:
            self._campaign_if_alone()

    def receive(self, message: RaftMessage) -> None:
        """A message arrived, perhaps late or twice. `IllegalState` is fatal."""
        state = self._state
        state.note(type(message).__name__, f"N{message.sender}", message.term)
        if not self._is_trusted(message):
            return
        if message.term > state.term:
            if not self._enter_later_term(message):
                return
        elif message.term < state.term:
            self._answer_stale(message)
            return
        self._dispatch(message)
        self._step_down_if_removed()

    def _dispatch(self, message: RaftMessage) -> None:
        match message:
            case AppendEntries() | Heartbeat() | InstallSnapshot():
                self._follow(message)
            case AppendEntriesReply() | HeartbeatReply() | InstallSnapshotReply():
                self._take_reply(message)
            case PreVote() | Vote():
                answer(self._state, message)
            case PreVoteReply() | VoteReply():
                self._take_vote(message)
            case TimeoutNow():
                self._take_over()
            case _:
                assert_never(message)

    def _take_reply(self, reply: LeaderReply) -> None:
        if self._leader is not None:
            self._leader.take(reply)

    def _follow(self, message: LeaderMessage) -> None:
        state = self._state
        if state.role is Role.LEADER or state.leader not in (None, message.sender):
            raise state.illegal(f"N{message.sender} also leads this term")
        if state.role is not Role.FOLLOWER or state.leader is None:
            self._become_follower(message.sender)
        state.elapsed_ticks = 0
        follow(state, message)

    def _take_vote(self, reply: AnyVoteReply) -> None:
        if self._candidate is not None:
            self._candidate.take(reply)
            self._conclude_election()

    def _take_over(self) -> None:
        if self._state.role is Role.FOLLOWER and self._state.is_voter:
            self._become_candidate(transfer=True)

    # -- terms and trust

    def _is_trusted(self, message: RaftMessage) -> bool:
        state = self._state
        if message.receiver != state.me or message.sender == state.me:
            return False
        if message.sender in state.log.members:
            return True
        match message:
            case AppendEntries() | Heartbeat() | InstallSnapshot():
                return True  # elected by members that we do not know yet, or answered as stale
            case PreVote() | Vote():
                ours = (state.log.last_term, state.log.last_index)
                return (message.last_term, message.last_index) > ours
            case TimeoutNow():
                return message.sender == state.leader
            case _:
                return self._leader is not None and self._leader.follows(message.sender)

    def _enter_later_term(self, message: RaftMessage) -> bool:
        """Whether the message counts; most of them move us into their term first."""
        match message:
            case PreVote():
                return not self._state.has_lease
            case PreVoteReply(granted=True):
                return True
            case Vote(transfer=False) if self._state.has_lease:
                return False
            case AppendEntries() | Heartbeat() | InstallSnapshot():
                self._become_follower(message.sender, message.term)
            case _:
                self._become_follower(None, message.term)
        return True

    def _answer_stale(self, message: RaftMessage) -> None:
        """A former leader or candidate learns the term, and joins it; all else is noise."""
        state = self._state
        match message:
            case AppendEntries() | Heartbeat() | InstallSnapshot():
                reply = AppendEntriesReply(
                    state.me, message.sender, state.term, accepted=False, index=Index(0)
                )
                state.outbox.append(reply)
            case PreVote():
                state.outbox.append(PreVoteReply(state.me, message.sender, state.term, False))
            case _:
                pass

    # -- roles

    def _enter_role(self, role: Role) -> None:
        state = self._state
        if role not in _NEXT_ROLES[state.role]:
            raise state.illegal(f"{state.role.value} cannot become {role.value}")
        state.note("becomes", role.value, state.term)
        state.role = role
        state.leader = None
        state.reset_election_timer()
        self._leader = self._candidate = None

    def _become_follower(self, leader: PlainNodeId | None, term: Term | None = None) -> None:
        if term is not None:
            self._state.enter_term(term)
        self._enter_role(Role.FOLLOWER)
        self._state.leader = leader

    def _campaign(self) -> None:
        self._enter_role(Role.PRE_CANDIDATE)
        self._candidate = Candidate(self._state, is_pre_vote=True)
        self._conclude_election()

    def _campaign_if_alone(self) -> None:
        state = self._state
        if state.is_voter and len(state.log.members) == 1 and state.role is not Role.LEADER:
            self._campaign()

    def _become_candidate(self, *, transfer: bool = False) -> None:
        state = self._state
        self._enter_role(Role.CANDIDATE)
        state.enter_term(Term(state.term + 1), voted_for=state.me)
        self._candidate = Candidate(state, is_pre_vote=False, transfer=transfer)
        self._conclude_election()

    def _conclude_election(self) -> None:
        assert self._candidate is not None
        match self._candidate.count():
            case Tally.UNDECIDED:
                pass
            case Tally.LOST:
                self._become_follower(None)
            case Tally.WON if self._state.role is Role.PRE_CANDIDATE:
                self._become_candidate()
            case Tally.WON:
                self._become_leader()

    def _become_leader(self) -> None:
        self._enter_role(Role.LEADER)
        self._state.leader = self._state.me
        self._leader = Leader(self._state)

    def _step_down_if_removed(self) -> None:
        if self._leader is not None and self._leader.is_removed:
            self._leader.resign()
            self._become_follower(None)

    # -- requests

    def propose(self, data: bytes) -> Proposal:
        """Append a command; decided once the entry applied at the id's index has its term."""
        if self._leader is None:
            return NotLeader(self._state.leader)
        return self._leader.propose(data)

    def propose_members(self, change: MembershipChange) -> Proposal:
        """Add or remove one member; one change at a time."""
        if self._leader is None:
            return NotLeader(self._state.leader)
        return self._leader.propose_members(change)

    def read_index(self, context: bytes) -> ReadQueued | NotLeader | Busy:
        """Ask which index a linearizable read must wait for; lost with the leadership."""
        if self._leader is None:
            return NotLeader(self._state.leader)
        return self._leader.read_index(context)

    def transfer_leadership(self, to: PlainNodeId) -> TransferStarted | NotLeader | Refused:
        """Let another member lead; proposals are turned away meanwhile."""
        if self._leader is None:
            return NotLeader(self._state.leader)
        return self._leader.transfer(to)

    def campaign(self) -> None:
        """Do not wait for the election timeout; no effect unless this node may lead."""
        if self._leader is None and self._state.is_voter:
            self._campaign()

    def snapshot_meta(self, index: Index) -> SnapshotMeta:
        """The label of a snapshot taken right after `index`, which is in the log."""
        return self._state.log.snapshot_meta(index)

    def compact(self, index: Index, snapshot: Snapshot) -> None:
        """Forget entries up to `index`; the snapshot covers them and is durable."""
        self._state.log.compact(index, snapshot)

    # -- what to do

    def take_ready(self) -> Ready | None:
        """The next batch of work, or None; the one before must be advanced."""
        if self._outstanding is not None:
            raise self._state.illegal("the last Ready was not advanced: call advance first")
        if self._leader is not None:
            self._leader.flush()
        ready = self._collect()
        if ready is not None:
            self._outstanding = ready
        return ready

    def _collect(self) -> Ready | None:
        state, log, given = self._state, self._state.log, self._given_hard_state
        hard_state = HardState(state.term, state.voted_for, log.committed)
        soft_state = SoftState(state.role, state.leader, state.term)
        snapshot = log.snapshot_to_install
        entries = log.between(Index(log.stable + 1), log.last_index)
        apply_to = min(log.committed, Index(log.handed_out + state.options.apply_entries_max))
        committed = log.between(Index(log.handed_out + 1), apply_to)
        is_voting = (hard_state.term, hard_state.voted_for) != (given.term, given.voted_for)
        ready = Ready(
            hard_state=hard_state if hard_state != given else None,
            snapshot=snapshot,
            entries=tuple(entries),
            must_sync=is_voting or snapshot is not None or bool(entries),
            messages=tuple(state.outbox),
            committed=tuple(committed),
            reads=tuple(state.reads),
            soft_state=soft_state if soft_state != self._given_soft_state else None,
        )
        if not ready.has_work:
            return None
        state.outbox.clear()
        state.reads.clear()
        log.snapshot_to_install = None
        log.handed_out = apply_to
        self._given_hard_state = hard_state
        self._given_soft_state = soft_state
        return ready

    def advance(self, ready: Ready) -> None:
        """The batch is persisted, sent and applied."""
        if ready is not self._outstanding:
            raise self._state.illegal("advance got another Ready than take_ready gave last")
        self._outstanding = None
        log = self._state.log
        log.persisted(ready.entries)
        if ready.committed:
            log.applied = max(log.applied, ready.committed[-1].index)
        if self._leader is not None:
            self._leader.advance_commit()
            self._step_down_if_removed()

    # -- looking in

    @property
    def members(self) -> Members:
        """The members that hold now, committed or not."""
        return self._state.log.members

    def status(self) -> RaftStatus:
        """For operators."""
        state, log = self._state, self._state.log
        return RaftStatus(
            role=state.role,
            leader=state.leader,
            term=state.term,
            applied=log.applied,
            committed=log.committed,
            first_index=log.first_index,
            last_index=log.last_index,
            snapshot_index=log.snapshot.meta.index,
            members=log.members,
        )
