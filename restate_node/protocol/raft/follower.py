"""A follower does what the leader of its term says, and acknowledges only what will be durable by
then.

The replies go to the outbox, which the driver empties only after it has persisted the entries of
the same batch; that is why a follower may acknowledge an entry that is still in memory here.
"""

from __future__ import annotations

from typing import assert_never

from restate_node.protocol.raft.state import RaftState
from restate_node.types.raft import (
    AppendEntries,
    AppendEntriesReply,
    Heartbeat,
    HeartbeatReply,
    Index,
    InstallSnapshot,
    InstallSnapshotReply,
    LeaderMessage,
)


def follow(state: RaftState, message: LeaderMessage) -> None:
    """Obey a message from the leader of the current term."""
    match message:
        case AppendEntries():
            _append(state, message)
        case Heartbeat():
            state.log.commit_to(message.commit)
            state.outbox.append(
                HeartbeatReply(state.me, message.sender, state.term, message.read_round)
            )
        case InstallSnapshot():
            _install(state, message)
        case _:
            assert_never(message)


def _append(state: RaftState, message: AppendEntries) -> None:
    log = state.log
    if message.previous_index < log.committed:
        # An old message: what it brings is decided already, and only that is acknowledged.
        _accept(state, message, log.committed)
    elif log.term(message.previous_index) != message.previous_term:
        _refuse(state, message)
    else:
        log.merge(message.entries)
        last = Index(message.previous_index + len(message.entries))
        # Beyond `last` our log may hold what the leader does not know, so it does not commit.
        log.commit_to(min(message.commit, last))
        _accept(state, message, last)


def _accept(state: RaftState, message: AppendEntries, index: Index) -> None:
    reply = AppendEntriesReply(state.me, message.sender, state.term, accepted=True, index=index)
    state.outbox.append(reply)


def _refuse(state: RaftState, message: AppendEntries) -> None:
    hint = state.log.agreement(message.previous_index, message.previous_term)
    reply = AppendEntriesReply(
        state.me,
        message.sender,
        state.term,
        accepted=False,
        index=message.previous_index,
        hint_index=hint,
        hint_term=state.log.term(hint) or state.log.base_term,
    )
    state.outbox.append(reply)


def _install(state: RaftState, message: InstallSnapshot) -> None:
    log, meta = state.log, message.snapshot.meta
    if log.term(meta.index) == meta.term:
        log.commit_to(meta.index)  # all of it is here: keep the entries after it
    elif meta.index > log.committed:
        log.install(message.snapshot)
    reply = InstallSnapshotReply(
        state.me, message.sender, state.term, index=min(log.committed, log.last_index)
    )
    state.outbox.append(reply)
