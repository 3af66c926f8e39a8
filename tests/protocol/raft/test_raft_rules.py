"""Single rules of the core, by messages that a transcript cannot easily bring about."""

from __future__ import annotations

import random

import msgspec
import pytest

from restate_node.protocol.raft.core import IllegalState, RaftCore
from restate_node.protocol.raft.options import RaftOptions
from restate_node.protocol.raft.ready import Busy, ProposalId, Refused, RestoredState
from restate_node.protocol.raft.voters import Tally, majority_value, tally
from restate_node.types.ids import PlainNodeId, Version
from restate_node.types.raft import (
    AppendEntries,
    AppendEntriesReply,
    Entry,
    EntryKind,
    HardState,
    Heartbeat,
    Index,
    Members,
    PreVote,
    RaftMessage,
    Snapshot,
    SnapshotMeta,
    Term,
    TimeoutNow,
    Vote,
    VoteReply,
    decode_members,
    encode_members,
)

ME, PEER, OTHER, STRANGER = (PlainNodeId(node) for node in (1, 2, 3, 9))
THREE = Members(Version(1), {ME: 100, PEER: 200, OTHER: 300})
ALONE = Members(Version(1), {ME: 100})


def entries(*terms: int) -> tuple[Entry, ...]:
    """Entries from index 1 with these terms."""
    return tuple(
        Entry(Index(index), Term(term), EntryKind.NORMAL, b"x")
        for index, term in enumerate(terms, start=1)
    )


def replica(
    *terms: int,
    members: Members = THREE,
    voted_for: PlainNodeId | None = None,
    commit: int = 0,
    storage_id: int = 100,
    options: RaftOptions | None = None,
) -> RaftCore:
    """A replica of term 5 that restarts with entries of these terms."""
    hard_state = HardState(Term(5), voted_for, Index(commit))
    snapshot = Snapshot(SnapshotMeta(members=members))
    restored = RestoredState(hard_state, snapshot, entries(*terms))
    return RaftCore(ME, storage_id, options or RaftOptions(), random.Random(1), restored)


def work(core: RaftCore) -> tuple[RaftMessage, ...]:
    """Handle all batches; the messages."""
    messages: list[RaftMessage] = []
    while (ready := core.take_ready()) is not None:
        messages.extend(ready.messages)
        core.advance(ready)
    return tuple(messages)


@pytest.mark.parametrize(
    ("term", "last", "voted_for", "granted"),
    [
        (6, (3, 5), None, True),
        (6, (2, 5), None, False),
        (6, (9, 4), None, False),
        (6, (1, 6), None, True),
        (6, (3, 5), OTHER, True),
        (5, (3, 5), OTHER, False),
        (5, (3, 5), PEER, True),
        (4, (9, 9), None, None),
    ],
)
def test_vote(
    term: int, last: tuple[int, int], voted_for: PlainNodeId | None, granted: bool | None
) -> None:
    """Goal: a vote goes once per term, to a log that covers ours. Method: a table against a
    log that ends at 3/5; None: no answer at all."""
    core = replica(1, 1, 5, voted_for=voted_for)
    core.receive(Vote(PEER, ME, Term(term), Index(last[0]), Term(last[1])))
    expected = () if granted is None else (VoteReply(ME, PEER, Term(term), granted),)
    assert work(core) == expected


def test_commit_stops_where_the_logs_are_known_to_agree() -> None:
    """Goal: a follower does not commit entries that its leader has not confirmed. Method: an append
    that matches at 1 and commits up to 3; our 2 and 3 are left over from another leader."""
    core = replica(1, 2, 2)
    core.receive(AppendEntries(PEER, ME, Term(6), Index(1), Term(1), Index(3)))
    assert core.status().committed == 1
    core.receive(Heartbeat(PEER, ME, Term(6), Index(1), 0))
    assert core.status().committed == 1


@pytest.mark.parametrize(
    ("message", "is_heard"),
    [
        (PreVote(STRANGER, ME, Term(6), Index(3), Term(5)), False),
        (Vote(STRANGER, ME, Term(6), Index(3), Term(5)), False),
        (Vote(STRANGER, ME, Term(6), Index(4), Term(5)), True),
        (AppendEntriesReply(STRANGER, ME, Term(9), False, Index(0)), False),
        (VoteReply(STRANGER, ME, Term(9), True), False),
        (TimeoutNow(STRANGER, ME, Term(5)), False),
        (Heartbeat(STRANGER, ME, Term(6), Index(0), 0), True),
        (Heartbeat(PEER, OTHER, Term(6), Index(0), 0), False),
        (Heartbeat(PEER, ME, Term(6), Index(0), 0), True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, msgspec.Struct) else str(value),
)
def test_trust(message: RaftMessage, is_heard: bool) -> None:
    """Goal: strangers and misrouted messages change nothing, but a member that we do not know yet
    can lead us. Method: a table against a log that ends at 3/5; compare status and replies."""
    core = replica(1, 1, 5)
    before = core.status()
    work(core)
    core.receive(message)
    assert (bool(work(core)) or core.status() != before) is is_heard


@pytest.mark.parametrize(("storage_id", "campaigns"), [(100, True), (101, False)])
def test_lost_storage_does_not_campaign(storage_id: int, campaigns: bool) -> None:
    """Goal: a node whose disk was replaced is not the member it was. Method: let it time out."""
    core = replica(storage_id=storage_id)
    for _ in range(20):
        core.tick()
    assert bool(work(core)) is campaigns


def test_two_leaders_in_a_term_tell_a_story() -> None:
    """Goal: a broken rule stops the replica and tells why. Method: two leaders of term 6."""
    core = replica()
    core.receive(Heartbeat(PEER, ME, Term(6), Index(0), 0))
    with pytest.raises(IllegalState, match=r"N3 also leads this term.*Heartbeat N2 6.*becomes"):
        core.receive(Heartbeat(OTHER, ME, Term(6), Index(0), 0))


def test_one_ready_at_a_time() -> None:
    """Goal: a driver that skips `advance` is told so. Method: take twice; advance a foreign one."""
    core = replica(members=ALONE)
    ready = core.take_ready()
    assert ready is not None
    with pytest.raises(IllegalState, match="call advance first"):
        core.take_ready()
    core.advance(ready)
    with pytest.raises(IllegalState, match="another Ready"):
        core.advance(ready)


def test_entries_replaced_while_being_persisted_are_persisted_again() -> None:
    """Goal: messages may arrive while a `Ready` is under way. Method: replace entries then."""
    core = replica(1)
    core.receive(
        AppendEntries(PEER, ME, Term(6), Index(1), Term(1), Index(0), entries(1, 6, 6)[1:])
    )
    taken = core.take_ready()
    assert taken is not None and [entry.index for entry in taken.entries] == [2, 3]
    core.receive(
        AppendEntries(OTHER, ME, Term(7), Index(2), Term(6), Index(0), entries(1, 6, 7)[2:])
    )
    core.advance(taken)
    again = core.take_ready()
    assert again is not None
    assert [(entry.index, entry.term) for entry in again.entries] == [(3, 7)]


def test_proposals_are_bounded() -> None:
    """Goal: a leader takes only so much that is not decided. Method: propose up to each limit."""
    options = RaftOptions(uncommitted_entries_max=3, proposal_bytes_max=4, reads_max=1)
    core = replica(members=ALONE, options=options)
    assert isinstance(core.propose(b"12345"), Refused)
    assert [type(core.propose(b"1")) for _ in range(3)] == [ProposalId, ProposalId, Busy]
    core.read_index(b"a")
    assert isinstance(core.read_index(b"b"), Busy)
    work(core)
    assert isinstance(core.propose(b"1"), ProposalId)


def test_appends_are_bounded() -> None:
    """Goal: no append exceeds its limits, few are under way. Method: many entries to a follower."""
    options = RaftOptions(append_entries_max=2, append_bytes_max=10, in_flight_max=2)
    members = Members(Version(1), {ME: 100, PEER: 200})
    core = replica(members=members, options=options)
    core.campaign()
    core.receive(VoteReply(PEER, ME, Term(6), True))
    term = Term(core.status().term + 1)
    core.receive(TimeoutNow(PEER, ME, core.status().term))
    core.receive(VoteReply(PEER, ME, term, True))
    work(core)
    core.receive(AppendEntriesReply(PEER, ME, term, True, Index(1)))
    for size in (1, 1, 1, 9, 9, 50, 1):
        core.propose(bytes(size))
    batches = [
        [len(entry.data) for entry in message.entries]
        for message in work(core)
        if isinstance(message, AppendEntries)
    ]
    assert batches == [[1, 1], [1, 9]]
    core.receive(AppendEntriesReply(PEER, ME, term, True, Index(5)))
    batches = [
        [len(entry.data) for entry in message.entries]
        for message in work(core)
        if isinstance(message, AppendEntries)
    ]
    assert batches == [[9], [50]]


@pytest.mark.parametrize(
    ("field", "value"), [("election_ticks", 2), ("heartbeat_ticks", 0), ("append_entries_max", 0)]
)
def test_options_are_validated(field: str, value: int) -> None:
    """Goal: contradicting options are refused at the start. Method: a table of wrong fields."""
    options = RaftOptions(**{field: value})
    with pytest.raises(ValueError, match=field):
        options.validate()


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        ({}, Tally.UNDECIDED),
        ({1: True}, Tally.UNDECIDED),
        ({1: True, 2: True}, Tally.WON),
        ({1: True, 9: True}, Tally.UNDECIDED),
        ({1: True, 2: False}, Tally.UNDECIDED),
        ({2: False, 3: False}, Tally.LOST),
    ],
)
def test_tally(votes: dict[int, bool], expected: Tally) -> None:
    """Goal: a majority of the members decides, strangers do not count. Method: a table of votes."""
    assert tally(THREE, {PlainNodeId(node): vote for node, vote in votes.items()}) is expected


@pytest.mark.parametrize(
    ("reached", "expected"),
    [([], 0), ([4], 4), ([4, 9], 4), ([1, 5, 9], 5), ([1, 2, 3, 4], 2), ([9, 9, 1, 2, 3], 3)],
)
def test_majority_value(reached: list[int], expected: int) -> None:
    """Goal: the value that a majority has reached. Method: a table of one to five members."""
    members = Members(Version(1), {PlainNodeId(node): 0 for node in range(len(reached))})
    assert majority_value(members, lambda node: reached[node]) == expected


def test_nouns_survive_the_wire() -> None:
    """Goal: what is sent is what arrives. Method: encode and decode messages as the union."""
    decoder = msgspec.msgpack.Decoder(RaftMessage)
    for message in (
        AppendEntries(ME, PEER, Term(1), Index(0), Term(0), Index(0), entries(1, 2)),
        Vote(ME, PEER, Term(1), Index(0), Term(0), True),
        TimeoutNow(ME, PEER, Term(1)),
    ):
        assert decoder.decode(msgspec.msgpack.encode(message)) == message
    assert decode_members(encode_members(THREE)) == THREE
