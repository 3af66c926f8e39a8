"""A leader replicates its log, decides what is committed, and doubts that it still leads.

Nothing is sent as it happens. Events only change `Progress` and the log; `flush`, once per
`Ready`, sends each follower what it lacks. So proposals that arrive together travel together, and
a reply costs no message by itself.

    propose --> log --+
    replies --> progress --> commit --+--> flush --> AppendEntries, Heartbeat, ...
    reads   --> round ----------------+

Rules: commit only entries of the own term by counting, the older ones follow (Raft, 5.4.2); the
leader's own durable log counts as one of the majority, and only if it is itself a member; without
a majority heard in an election timeout it steps down (check-quorum); one membership change at a
time, and none before an entry of the own term is committed (the 2015 correction of single-server
changes).
"""

from __future__ import annotations

from typing import assert_never

from restate_node.protocol.raft.progress import Progress, ProgressState
from restate_node.protocol.raft.read_index import ReadQueue
from restate_node.protocol.raft.ready import (
    AddMember,
    Busy,
    MembershipChange,
    NotLeader,
    Proposal,
    ProposalId,
    ReadQueued,
    Refused,
    RemoveMember,
    TransferStarted,
)
from restate_node.protocol.raft.state import RaftState
from restate_node.protocol.raft.voters import majority_value
from restate_node.types.ids import PlainNodeId, plain_text
from restate_node.types.raft import (
    AppendEntries,
    AppendEntriesReply,
    EntryKind,
    Heartbeat,
    HeartbeatReply,
    Index,
    InstallSnapshot,
    InstallSnapshotReply,
    LeaderReply,
    Members,
    TimeoutNow,
    encode_members,
)


class Leader:
    """One leadership: from the won election to the end of the term."""

    __slots__ = (
        "_heartbeat_due",
        "_heartbeat_elapsed",
        "_progress",
        "_reads",
        "_state",
        "_transfer_elapsed",
        "_transfer_sent",
        "_transfer_to",
    )

    def __init__(self, state: RaftState) -> None:
        """Start the term with an empty entry."""
        self._state = state
        self._progress: dict[PlainNodeId, Progress] = {}
        self._reads = ReadQueue()
        self._heartbeat_due = False
        self._heartbeat_elapsed = 0
        self._transfer_to: PlainNodeId | None = None
        self._transfer_elapsed = 0
        self._transfer_sent = False
        # A node whose removal is not yet committed still gets entries, so that it learns of it.
        self._follow_members(state.log.members_at(state.log.committed))
        self._follow_members(state.log.members)
        state.log.append(state.term, EntryKind.EMPTY, b"")

    def _follow_members(self, members: Members) -> None:
        for node in members.created_at_millis:
            if node != self._state.me and node not in self._progress:
                self._progress[node] = Progress(Index(self._state.log.last_index + 1))

    # -- requests

    def propose(self, data: bytes) -> Proposal:
        """Append a command; it is decided once it is committed."""
        bytes_max = self._state.options.proposal_bytes_max
        if len(data) > bytes_max:
            return Refused(
                f"the proposal has {len(data)} bytes: split it, {bytes_max} is the limit"
            )
        return self._busy() or self._append(EntryKind.NORMAL, data)

    def propose_members(self, change: MembershipChange) -> Proposal:
        """Append the members after the change; they hold at once."""
        changed = _changed(self._state.log.members, change)
        if isinstance(changed, Refused):
            return changed
        if not self._knows_commit:
            return Busy("the leader has not yet committed an entry of its term: try again")
        if self._has_pending_members:
            return Busy("another membership change is not yet committed: try again")
        busy = self._busy()
        if busy is not None:
            return busy
        proposal = self._append(EntryKind.CONFIGURATION, encode_members(changed))
        self._follow_members(changed)
        return proposal

    def _busy(self) -> Proposal | None:
        log = self._state.log
        if self._transfer_to is not None:
            return NotLeader(self._transfer_to)
        if log.last_index - log.committed >= self._state.options.uncommitted_entries_max:
            return Busy("too many entries are not yet committed: try again")
        return None

    def _append(self, kind: EntryKind, data: bytes) -> ProposalId:
        index = self._state.log.append(self._state.term, kind, data)
        return ProposalId(index, self._state.term)

    def read_index(self, context: bytes) -> ReadQueued | Busy:
        """Queue a linearizable read."""
        if self._reads.count >= self._state.options.reads_max:
            return Busy("too many reads wait for a quorum: try again")
        self._reads.add(context)
        return ReadQueued()

    def transfer(self, to: PlainNodeId) -> TransferStarted | Refused:
        """Hand the leadership over as soon as that member has all entries."""
        if to not in self._state.log.members or to not in self._progress:
            return Refused(f"node '{plain_text(to)}' is not a member: choose another one")
        self._transfer_to = to
        self._transfer_elapsed = 0
        self._transfer_sent = False
        return TransferStarted()

    # -- time and replies

    def tick(self) -> bool:
        """One tick; False once no majority was heard for an election timeout: step down."""
        state = self._state
        self._heartbeat_elapsed += 1
        if self._heartbeat_elapsed >= state.options.heartbeat_ticks:
            self._heartbeat_elapsed = 0
            self._heartbeat_due = True
        self._age_transfer()
        self._age_snapshots()
        if state.elapsed_ticks < state.options.election_ticks:
            return True
        state.elapsed_ticks = 0
        return self._heard_quorum()

    def _age_transfer(self) -> None:
        if self._transfer_to is not None:
            self._transfer_elapsed += 1
            if self._transfer_elapsed > self._state.options.election_ticks:
                self._transfer_to = None

    def _age_snapshots(self) -> None:
        for progress in self._progress.values():
            if progress.state is ProgressState.SNAPSHOT:
                progress.snapshot_age_ticks += 1
                if progress.snapshot_age_ticks > self._state.options.election_ticks:
                    progress.probe()

    def _heard_quorum(self) -> bool:
        def heard(node: PlainNodeId) -> int:
            return node == self._state.me or self._progress[node].recently_active

        quorum = majority_value(self._state.log.members, heard)
        for progress in self._progress.values():
            progress.recently_active = False
        return bool(quorum)

    def follows(self, node: PlainNodeId) -> bool:
        """Whether replies of this node are of interest; true for one that is being removed, too."""
        return node in self._progress

    def take(self, reply: LeaderReply) -> None:
        """Learn from a follower of the current term."""
        progress = self._progress.get(reply.sender)
        if progress is None:
            return
        progress.recently_active = True
        match reply:
            case AppendEntriesReply(accepted=True) | InstallSnapshotReply():
                assert reply.index <= self._state.log.last_index, "acknowledged what never was sent"
                if progress.accepted(reply.index):
                    self.advance_commit()
            case AppendEntriesReply():
                log = self._state.log
                progress.refused(reply.index, log.agreement(reply.hint_index, reply.hint_term))
            case HeartbeatReply():
                behind = progress.match < self._state.log.last_index
                progress.heard(behind, self._state.options.in_flight_max)
                progress.read_round = max(progress.read_round, reply.read_round)
                self._confirm_reads()
            case _:
                assert_never(reply)

    # -- decisions

    @property
    def _knows_commit(self) -> bool:
        """Whether an entry of this term is committed, so that the commit is the newest there is."""
        log = self._state.log
        return log.term(log.committed) == self._state.term

    @property
    def _has_pending_members(self) -> bool:
        log = self._state.log
        return log.members_index > log.committed

    @property
    def is_removed(self) -> bool:
        """Whether the cluster decided to go on without this node."""
        return not self._state.is_voter and not self._has_pending_members

    def advance_commit(self) -> None:
        """Commit what a majority has on disk; called when a disk, also our own, got further."""
        log = self._state.log

        def matched(node: PlainNodeId) -> int:
            return log.stable if node == self._state.me else self._progress[node].match

        index = Index(majority_value(log.members, matched))
        if index > log.committed and log.term(index) == self._state.term:
            log.commit_to(index)

    def _confirm_reads(self) -> None:
        def confirmed(node: PlainNodeId) -> int:
            return self._reads.number if node == self._state.me else self._progress[node].read_round

        number = majority_value(self._state.log.members, confirmed)
        self._state.reads.extend(self._reads.confirm(number))

    # -- sending

    def flush(self) -> None:
        """Put into the outbox all that the followers may be sent now."""
        if self._reads.is_waiting and self._knows_commit:
            self._reads.ask(self._state.log.committed)
            self._heartbeat_due = True
            self._confirm_reads()
        for node, progress in self._progress.items():
            self._send_entries(node, progress)
        if self._heartbeat_due:
            self._heartbeat_due = self._transfer_sent = False
            self._send_heartbeats()
        self._send_transfer()
        if not self._has_pending_members:
            self._forget_removed()

    def _send_entries(self, node: PlainNodeId, progress: Progress) -> None:
        log, options = self._state.log, self._state.options
        while progress.may_send(options.in_flight_max):
            has_news = progress.next <= log.last_index or progress.commit_sent < log.committed
            if not has_news and not progress.nudged:
                return
            previous = Index(progress.next - 1)
            previous_term = log.term(previous)
            if previous_term is None:
                self._send_snapshot(node, progress)
                return
            entries = log.batch(progress.next, options.append_entries_max, options.append_bytes_max)
            progress.sent(entries[-1].index if entries else None, log.committed)
            state = self._state
            message = AppendEntries(
                state.me, node, state.term, previous, previous_term, log.committed, entries
            )
            state.outbox.append(message)

    def _send_snapshot(self, node: PlainNodeId, progress: Progress) -> None:
        if not progress.recently_active:
            return  # large, and nobody listens
        state = self._state
        progress.sent_snapshot(state.log.snapshot.meta.index)
        state.outbox.append(InstallSnapshot(state.me, node, state.term, state.log.snapshot))

    def _send_heartbeats(self) -> None:
        state = self._state
        for node, progress in self._progress.items():
            # Beyond `match` the follower's log may differ from ours, so it must not commit there.
            commit = min(progress.match, state.log.committed)
            message = Heartbeat(state.me, node, state.term, commit, self._reads.number)
            state.outbox.append(message)

    def _send_transfer(self) -> None:
        to = self._transfer_to
        if to is None or to not in self._progress:
            self._transfer_to = None
        elif not self._transfer_sent and self._progress[to].match == self._state.log.last_index:
            self._transfer_sent = True  # again after the next heartbeat, in case it is lost
            self._send_timeout_now(to)

    def _send_timeout_now(self, to: PlainNodeId) -> None:
        self._state.outbox.append(TimeoutNow(self._state.me, to, self._state.term))

    def _forget_removed(self) -> None:
        members = self._state.log.members
        for node in [node for node in self._progress if node not in members]:
            del self._progress[node]

    def resign(self) -> None:
        """Tell what is decided, let the most advanced member campaign; the caller steps down."""
        self.flush()
        voters = [node for node in self._progress if node in self._state.log.members]
        if voters:
            self._send_timeout_now(max(voters, key=lambda node: self._progress[node].match))


def _changed(members: Members, change: MembershipChange) -> Members | Refused:
    match change:
        case AddMember(node, created_at_millis):
            if node in members:
                return Refused(
                    "cannot add node because it is still a member of the metadata cluster"
                )
            return members.with_member(node, created_at_millis)
        case RemoveMember(node, created_at_millis):
            found = members.created_at_millis.get(node)
            if found is None or created_at_millis not in (None, found):
                return Refused(f"node '{plain_text(node)}' is not a member")
            if len(members) == 1:
                return Refused("the last member cannot be removed: add another node first")
            return members.without_member(node)
