"""Going on from one member: what is written, who leads then, and the marks of groups."""

from __future__ import annotations

import random
from typing import Final

import pytest

from restate_node.protocol.raft.core import RaftCore
from restate_node.protocol.raft.options import RaftOptions
from restate_node.protocol.raft.ready import AddMember, ProposalId, Ready, RestoredState
from restate_node.protocol.raft.recovery import members_after, recover, stored_members
from restate_node.types.ids import PlainNodeId, Version
from restate_node.types.raft import (
    Entry,
    EntryKind,
    HardState,
    Index,
    Members,
    Role,
    Snapshot,
    SnapshotMeta,
    Term,
    encode_members,
)

ME, LOST, GONE, NEW = (PlainNodeId(node) for node in (2, 1, 3, 4))
STORAGE: Final = 200
THREE = Members(Version(4), {LOST: 100, ME: STORAGE, GONE: 300})
NOW_MILLIS: Final = 1_000


def entry(index: int, term: int, data: bytes = b"x") -> Entry:
    return Entry(Index(index), Term(term), EntryKind.NORMAL, data)


def survivor(commit: int = 3) -> RestoredState:
    """Entries 3..5 behind a snapshot at 2; of the last two nobody knows."""
    return RestoredState(
        HardState(Term(7), GONE, Index(commit)),
        Snapshot(SnapshotMeta(Index(2), Term(1), THREE)),
        (entry(3, 1), entry(4, 6), entry(5, 6)),
    )


def recovered(restored: RestoredState, *commands: bytes) -> RestoredState:
    """What the disk holds after the batch."""
    members = members_after(restored, ME, STORAGE, NOW_MILLIS)
    batch = recover(restored, members, ME, commands)
    return RestoredState(batch.hard_state, restored.snapshot, (*restored.entries, *batch.entries))


def handle_all(core: RaftCore) -> list[Ready]:
    done: list[Ready] = []
    while (ready := core.take_ready()) is not None:
        done.append(ready)
        core.advance(ready)
    return done


def core_of(restored: RestoredState) -> RaftCore:
    return RaftCore(ME, STORAGE, RaftOptions(), random.Random(1), restored)


def test_without_a_majority_nobody_leads() -> None:
    """Goal: what recovery is needed for. How: tick the survivor for long."""
    core = core_of(survivor())
    for _ in range(1000):
        core.tick()
        handle_all(core)
    assert core.status().role is not Role.LEADER
    assert core.status().committed == 3


def test_the_survivor_leads_alone_with_all_that_it_had() -> None:
    """Goal: leader at once, everything decided, commands behind the members. How: restore from the
    batch; every entry must be applied, in order, and a proposal be decided."""
    core = core_of(recovered(survivor(), b"one", b"two"))
    done = handle_all(core)
    status = core.status()
    assert (status.role, status.leader) == (Role.LEADER, ME)
    assert status.members == Members(Version(5), {ME: STORAGE}, NOW_MILLIS)
    assert status.term > 8, "later than anything that the recovery wrote"
    applied = [e for ready in done for e in ready.committed]
    assert [e.index for e in applied] == [3, 4, 5, 6, 7, 8, 9]
    assert [e.data for e in applied if e.kind is EntryKind.NORMAL] == [b"x"] * 3 + [b"one", b"two"]
    assert isinstance(core.propose(b"more"), ProposalId)
    handle_all(core)
    assert core.status().committed == 10


def test_the_term_is_new() -> None:
    """Goal: no vote of the former group counts. How: a term known from the vote, or the log."""
    for hard_state in (HardState(Term(7), None, Index(3)), HardState(Term(6), None, Index(3))):
        restored = survivor()
        restored = RestoredState(hard_state, restored.snapshot, restored.entries)
        batch = recover(restored, members_after(restored, ME, STORAGE, NOW_MILLIS), ME, ())
        assert batch.hard_state == HardState(Term(hard_state.term + 1), ME, Index(6))
        assert {e.term for e in batch.entries} == {hard_state.term + 1}


def test_a_pending_change_of_members_is_overruled() -> None:
    """Goal: the newest members entry counts. How: one that was never decided is the last entry."""
    change = Entry(Index(6), Term(6), EntryKind.CONFIGURATION, encode_members(THREE))
    before = survivor()
    restored = RestoredState(before.hard_state, before.snapshot, (*before.entries, change))
    core = core_of(recovered(restored))
    handle_all(core)
    assert list(core.members.created_at_millis) == [ME]


@pytest.mark.parametrize("now_millis", [5, 1_000, 5_000])
def test_marks_grow_whatever_the_clock_says(now_millis: int) -> None:
    """Goal: of two recoveries the later one is known. How: a second one, with a clock that went
    back, stood, or went on; members that are added keep the mark."""
    core = core_of(recovered(survivor()))
    handle_all(core)
    core.propose_members(AddMember(NEW, 400))
    assert core.members.recovered_at_millis == NOW_MILLIS
    assert core.members.without_member(NEW).recovered_at_millis == NOW_MILLIS
    once = recovered(survivor())
    assert stored_members(once).recovered_at_millis == NOW_MILLIS
    twice = members_after(once, ME, STORAGE, now_millis)
    assert twice.recovered_at_millis == max(NOW_MILLIS + 1, now_millis)


def test_nobody_else_is_made_the_only_member() -> None:
    """Goal: a caller's error is found before anything is written."""
    with pytest.raises(AssertionError, match="one member"):
        recover(survivor(), THREE, ME, ())
    with pytest.raises(AssertionError, match="mark must grow"):
        recover(survivor(), Members(Version(5), {ME: STORAGE}), ME, ())
