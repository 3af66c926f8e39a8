"""Elections: asking for votes, giving them, counting them.

A replica first asks for *pre-votes*, which bind nobody and change no term: a node that was cut off
cannot disturb the cluster when it returns (dissertation, 9.6). Only a majority of pre-votes leads
to the real election.

The vote itself binds: it is part of the hard state, and the reply leaves only after that is
durable.
"""

from __future__ import annotations

from restate_node.protocol.raft.state import RaftState
from restate_node.protocol.raft.voters import Tally, tally
from restate_node.types.ids import PlainNodeId
from restate_node.types.raft import (
    AnyVoteReply,
    PreVote,
    PreVoteReply,
    Term,
    Vote,
    VoteReply,
    VoteRequest,
)


class Candidate:
    """One election, or the pre-election before it."""

    __slots__ = ("_is_pre_vote", "_state", "_term", "_votes")

    def __init__(self, state: RaftState, *, is_pre_vote: bool, transfer: bool = False) -> None:
        """Vote for ourselves and ask all others; a real election has entered its term before."""
        self._state = state
        self._is_pre_vote = is_pre_vote
        self._term = Term(state.term + 1) if is_pre_vote else state.term
        self._votes: dict[PlainNodeId, bool] = {state.me: True}
        for node in state.log.members.created_at_millis:
            if node != state.me:
                state.outbox.append(self._request(node, transfer))

    def _request(self, node: PlainNodeId, transfer: bool) -> VoteRequest:
        me, log = self._state.me, self._state.log
        if self._is_pre_vote:
            return PreVote(me, node, self._term, log.last_index, log.last_term)
        return Vote(me, node, self._term, log.last_index, log.last_term, transfer)

    def count(self) -> Tally:
        """How it stands."""
        return tally(self._state.log.members, self._votes)

    def take(self, reply: AnyVoteReply) -> None:
        """Count a vote; one for another kind or term of election says nothing about this one."""
        if isinstance(reply, PreVoteReply) is not self._is_pre_vote:
            return
        if reply.granted and reply.term != self._term:
            return
        self._votes.setdefault(reply.sender, reply.granted)


def answer(state: RaftState, request: VoteRequest) -> None:
    """Grant or refuse; a request of an earlier term never gets here."""
    granted = _is_free(state, request) and state.log.covers(request.last_index, request.last_term)
    match request:
        case PreVote():
            term = request.term if granted else state.term
            state.outbox.append(PreVoteReply(state.me, request.sender, term, granted))
        case Vote():
            if granted:
                state.voted_for = request.sender
                state.elapsed_ticks = 0
            state.outbox.append(VoteReply(state.me, request.sender, state.term, granted))


def _is_free(state: RaftState, request: VoteRequest) -> bool:
    """Whether our vote of that term is not given to somebody else."""
    if isinstance(request, PreVote) and request.term > state.term:
        return True
    if state.voted_for is None:
        return state.leader is None
    return state.voted_for == request.sender
