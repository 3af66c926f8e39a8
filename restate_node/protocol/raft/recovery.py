"""Going on from one member when the majority is lost for ever.

    what N2 has   1/1 2/1 3/2 | 4/2 5/2        | commit
                  ----------------------------
    recovery      1/1 2/1 3/2 4/2 5/2 6/3* 7/3 7/3 ...|      6 = "N2 is the only member"

This is outside of Raft: nobody knows what the lost members had decided, so what they acknowledged
and this one never received is gone. All that this one has counts as decided from now on. Entries
of which it did not know whether a majority had them may have been acknowledged; to keep them can
at most carry out a request whose client was told that nobody knows, to drop them would break a
promise.

The new members carry a mark, the time of the recovery, by which the group refuses members of the
former one that come back (`roles.metadata_server.post`): their log may differ from ours where both
are decided, and together they might be the majority that they used to be.

Everything is in one batch with a term of its own: a crash leaves the former group or the new one.
What has to change in the state machine along with it is proposed by `commands`, in the same batch.

Driven by `roles.metadata_server.recovery`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from restate_node.protocol.raft.log import RaftLog
from restate_node.protocol.raft.ready import RestoredState
from restate_node.types.ids import PlainNodeId, Version
from restate_node.types.raft import (
    Entry,
    EntryKind,
    HardState,
    Index,
    Members,
    Term,
    encode_members,
)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What must become durable in one batch, behind the entries that are there."""

    members: Members
    hard_state: HardState
    entries: tuple[Entry, ...]


def members_after(
    restored: RestoredState, me: PlainNodeId, storage_id: int, now_millis: int
) -> Members:
    """This storage alone. The mark grows, whatever the clock says."""
    before = stored_members(restored)
    mark = max(now_millis, before.recovered_at_millis + 1)
    return Members(Version(before.version + 1), {me: storage_id}, mark)


def stored_members(restored: RestoredState) -> Members:
    """The members that hold there, committed or not."""
    return _log(restored).members


def recover(
    restored: RestoredState, members: Members, me: PlainNodeId, commands: Sequence[bytes]
) -> Recovery:
    """Make `members`, which is `me` alone, the whole group; then carry out the commands."""
    assert list(members.created_at_millis) == [me], "a group is recovered from one member"
    log = _log(restored)
    assert members.recovered_at_millis > log.members.recovered_at_millis, "the mark must grow"
    term = Term(max(restored.hard_state.term, log.last_term) + 1)
    contents = [
        (EntryKind.CONFIGURATION, encode_members(members)),
        *((EntryKind.NORMAL, command) for command in commands),
    ]
    entries = tuple(
        Entry(Index(index), term, kind, data)
        for index, (kind, data) in enumerate(contents, start=log.last_index + 1)
    )
    return Recovery(members, HardState(term, me, entries[-1].index), entries)


def _log(restored: RestoredState) -> RaftLog:
    return RaftLog(restored.snapshot, restored.entries, restored.hard_state.commit)
