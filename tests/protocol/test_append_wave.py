"""The waves of one store group, as transcripts."""

from __future__ import annotations

from random import Random

import pytest
from loglet_quorum import copies

from restate_node.protocol.append_wave import (
    DEAD_WAVES_MAX,
    AppendWave,
    Committed,
    Graylist,
    NextWaveAfter,
    Reconfigure,
    SealedByMajority,
    SendStore,
    WaveEffect,
    WavePhase,
)
from restate_node.types.ids import PlainNodeId
from restate_node.types.log_messages import Status

PENALTY_MS = 1000
BACK_OFF = NextWaveAfter(250)


def node(number: int) -> PlainNodeId:
    return PlainNodeId(number)


def sends(*numbers: int) -> list[WaveEffect]:
    return [SendStore(node(number)) for number in numbers]


def wave(size: int = 3, replication: int = 2, graylist: Graylist | None = None) -> AppendWave:
    quorum = copies(size, replication)
    return AppendWave(quorum, Random(1), graylist or Graylist(PENALTY_MS), BACK_OFF.milliseconds)


def targets(effects: list[WaveEffect]) -> list[WaveEffect]:
    """The same effects in order of node: the spread is shuffled."""
    return sorted(effects, key=str)


OK, SEALED, SEALING = Status.OK, Status.SEALED, Status.SEALING
BOUNDS, DISABLED, DROPPED = Status.OUT_OF_BOUNDS, Status.DISABLED, Status.DROPPED

# Replies in order, and the effect of the last one; all before it have none.
TRANSCRIPTS: list[tuple[str, list[tuple[int, Status]], list[WaveEffect]]] = [
    ("one copy is not enough", [(1, OK)], []),
    ("two copies commit", [(1, OK), (3, OK)], [Committed()]),
    ("the same node twice is one copy", [(1, OK), (1, OK)], []),
    ("one refusal leaves two to hope for", [(1, DISABLED)], []),
    ("two refusals end the wave early", [(1, DISABLED), (2, DROPPED)], [BACK_OFF]),
    ("a copy does not mend two refusals", [(3, OK), (1, BOUNDS), (2, BOUNDS)], [BACK_OFF]),
    ("one sealed node decides nothing", [(1, SEALED)], []),
    ("sealed by f-majority", [(1, SEALED), (2, SEALING)], [SealedByMajority()]),
    ("a copy does not stop a seal", [(3, OK), (1, SEALED), (2, SEALED)], [SealedByMajority()]),
    ("a copy after a seal commits", [(1, OK), (2, SEALED), (3, OK)], [Committed()]),
    ("sealed and refused", [(1, SEALED), (2, BOUNDS)], [BACK_OFF]),
]


@pytest.mark.parametrize(
    ("name", "replies", "expected"), TRANSCRIPTS, ids=[case[0] for case in TRANSCRIPTS]
)
def test_first_wave(
    name: str, replies: list[tuple[int, Status]], expected: list[WaveEffect]
) -> None:
    """Goal: what each answer means. Method: replication 2 of 3, replies, the last effect."""
    one = wave()
    assert targets(one.next_wave(0)) == sends(1, 2, 3)
    *before, (last, status) = replies
    for number, early in before:
        assert one.replied(node(number), early, 0) == []
    assert one.replied(node(last), status, 0) == expected


def test_an_ended_wave_is_silent() -> None:
    """Goal: exactly one end. Method: all kinds of events after the commit."""
    one = wave()
    one.next_wave(0)
    one.replied(node(1), OK, 0)
    assert one.replied(node(2), OK, 0) == [Committed()]
    assert one.replied(node(3), OK, 0) == []
    assert one.replied(node(3), SEALED, 0) == []
    assert one.failed(node(3), 0) == []
    assert one.timed_out(0) == []
    assert one.next_wave(0) == []
    assert one.phase is WavePhase.ENDED


def test_a_time_out_leads_to_a_wave_without_the_silent_ones() -> None:
    """Goal: one slow node costs one time-out. Method: N3 is silent; then a group behind it."""
    graylist = Graylist(PENALTY_MS)
    one = wave(size=4, graylist=graylist)
    one.next_wave(0)
    for number in (1, 2):
        one.replied(node(number), BOUNDS, 0)
    assert one.replied(node(4), OK, 0) == []
    assert one.timed_out(10) == [BACK_OFF]
    assert targets(one.next_wave(260)) == sends(1, 2)
    assert targets(wave(size=4, graylist=graylist).next_wave(260)) == sends(1, 2, 4)
    assert targets(wave(size=4, graylist=graylist).next_wave(10 + PENALTY_MS)) == sends(1, 2, 3, 4)


def test_the_graylist_yields_when_it_must() -> None:
    """Goal: graylisted nodes are better than none. Method: two of three have failed."""
    one = wave()
    one.next_wave(0)
    assert one.failed(node(1), 0) == []
    assert one.failed(node(2), 0) == [BACK_OFF]
    assert targets(one.next_wave(250)) == sends(1, 2), "N3 still has its store of the first wave"
    assert one.replied(node(3), OK, 300) == []
    assert one.replied(node(2), OK, 300) == [Committed()]


def test_an_answer_ends_the_penalty() -> None:
    """Goal: who answers is welcome. Method: fail, then a late OK, then the next group."""
    graylist = Graylist(PENALTY_MS)
    one = wave(graylist=graylist)
    one.next_wave(0)
    one.failed(node(1), 0)
    assert targets(wave(graylist=graylist).next_wave(1)) == sends(2, 3)
    one.replied(node(1), OK, 1)
    assert targets(wave(graylist=graylist).next_wave(1)) == sends(1, 2, 3)


def test_an_answer_during_the_pause_counts() -> None:
    """Goal: stores of a former wave are not lost. Method: the copies arrive after the time-out."""
    one = wave()
    one.next_wave(0)
    assert one.timed_out(10) == [BACK_OFF]
    assert one.replied(node(1), OK, 20) == []
    assert one.replied(node(2), OK, 20) == [Committed()]


def test_a_seal_during_the_pause_ends_it() -> None:
    """Goal: no needless wave. Method: f-majority sealed after the time-out."""
    one = wave()
    one.next_wave(0)
    one.timed_out(10)
    assert one.replied(node(1), SEALED, 20) == []
    assert one.replied(node(2), SEALED, 20) == [SealedByMajority()]


def test_sealed_nodes_are_known_to_all_groups() -> None:
    """Goal: one group learns for all. Method: two groups, the first is told of both seals.

    The second has a copy on a node that sealed later, and one that may still come: it waits.
    """
    graylist = Graylist(PENALTY_MS)
    first, second = wave(graylist=graylist), wave(graylist=graylist)
    first.next_wave(0)
    second.next_wave(0)
    second.replied(node(1), OK, 0)
    first.replied(node(1), SEALED, 0)
    assert first.replied(node(2), SEALED, 0) == [SealedByMajority()]
    assert second.replied(node(2), SEALED, 0) == []
    assert second.replied(node(3), OK, 0) == [Committed()]
    assert wave(graylist=graylist).next_wave(0) == [SealedByMajority()]


def test_too_few_writable_nodes_reconfigure() -> None:
    """Goal: a hopeless nodeset ends the loglet. Method: replication 3 of 5 with two writable."""
    one = AppendWave(copies(5, 3, writable=2), Random(1), Graylist(PENALTY_MS), 250)
    [effect] = one.next_wave(0)
    assert isinstance(effect, Reconfigure)
    assert "N1, N2" in effect.reason


def test_dead_nodes_are_given_up_after_some_waves() -> None:
    """Goal: replication as large as the nodeset survives a death. Method: 3 of 3, N2 is dead."""
    graylist = Graylist(PENALTY_MS)
    graylist.dead = frozenset((node(2),))
    one = wave(replication=3, graylist=graylist)
    for number in range(DEAD_WAVES_MAX):
        assert one.next_wave(number), "the failure detector may be wrong"
        for ready in (1, 3):
            one.replied(node(ready), OK, number)
        assert one.timed_out(number) == [BACK_OFF]
    [effect] = one.next_wave(9)
    assert isinstance(effect, Reconfigure)
    assert "N1, N3" in effect.reason


def test_dead_nodes_are_left_out() -> None:
    """Goal: no store to the dead without need. Method: one of three is dead."""
    graylist = Graylist(PENALTY_MS)
    graylist.dead = frozenset((node(2),))
    assert targets(wave(graylist=graylist).next_wave(0)) == sends(1, 3)


def test_a_member_is_taken_away_meanwhile() -> None:
    """Goal: a group does not wait for ever for a member that is alive and refuses. Method: 2 of 2;
    N2 refuses wave by wave, then the configuration says that it has lost its data."""
    one = wave(2, 2)
    one.next_wave(0)
    one.replied(node(1), OK, 1)
    assert one.replied(node(2), Status.DISABLED, 1) == [BACK_OFF]
    assert one.next_wave(300) == sends(2)
    assert one.replied(node(2), Status.DISABLED, 301) == [BACK_OFF]
    one.judge_by(copies(2, 2, lost=[node(2)]))
    [effect] = one.next_wave(600)
    assert isinstance(effect, Reconfigure)
