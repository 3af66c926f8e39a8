"""Leadership: every transition, and elections of several nodes over one log."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as some

from restate_node.protocol.dedup import Number, is_new, number_of
from restate_node.protocol.leadership import (
    TRANSITIONS,
    Event,
    IllegalTransition,
    Leader,
    Leadership,
    RunState,
    Verdict,
)
from restate_node.types.ids import GenerationalNodeId, LeaderEpoch, PlainNodeId
from restate_node.types.wal import SelfProposal

ME = GenerationalNodeId(PlainNodeId(1), 1)
OTHER = GenerationalNodeId(PlainNodeId(2), 4)


def leader(node: GenerationalNodeId, epoch: int) -> Leader:
    return Leader(node, LeaderEpoch(epoch))


def reached(state: RunState) -> Leadership:
    """A processor in that state; its epoch is 3 once it has one."""
    steps: list[Callable[[Leadership], object]] = [
        lambda it: it.campaign(),
        lambda it: it.claimed(LeaderEpoch(3)),
        lambda it: it.announced(leader(ME, 3)),
        lambda it: it.started(),
    ]
    leadership = Leadership(ME, leader(OTHER, 1))
    for step in steps[: list(RunState).index(state)]:
        step(leadership)
    assert leadership.state is state
    return leadership


def test_the_way_up() -> None:
    """Goal: claim, announce, win, lead. Method: each step with what it returns."""
    leadership = Leadership(ME, None)
    assert leadership.campaign()
    assert leadership.claimed(LeaderEpoch(3)) == SelfProposal(LeaderEpoch(3), 0)
    assert leadership.announced(leader(OTHER, 2)) is Verdict.FOLLOW
    assert leadership.announced(leader(ME, 3)) is Verdict.WON
    assert not leadership.is_leader
    leadership.started()
    assert leadership.is_leader
    assert leadership.next_number() == SelfProposal(LeaderEpoch(3), 1)
    assert leadership.next_number() == SelfProposal(LeaderEpoch(3), 2)


@pytest.mark.parametrize("state", list(RunState))
def test_a_higher_epoch_ends_it(state: RunState) -> None:
    """Goal: whoever reads a higher epoch does not lead. Method: from each state."""
    leadership = reached(state)
    verdict = leadership.announced(leader(OTHER, 4))
    owned = state in (RunState.CANDIDATE, RunState.BECOMING_LEADER, RunState.LEADER)
    assert verdict is (Verdict.LOST if owned else Verdict.FOLLOW)
    assert not leadership.is_leader and leadership.epoch == 0
    assert leadership.observed == leader(OTHER, 4)


@pytest.mark.parametrize("state", list(RunState))
def test_campaign_begins_once(state: RunState) -> None:
    """Goal: orders are idempotent. Method: campaign in each state."""
    leadership = reached(state)
    assert leadership.campaign() is (state is RunState.FOLLOWER)


def test_a_late_claim_is_not_announced() -> None:
    """Goal: an epoch below one that was read is given up. Method: a rival wins while claiming."""
    leadership = reached(RunState.CLAIMING)
    leadership.announced(leader(OTHER, 5))
    assert leadership.claimed(LeaderEpoch(4)) is None
    assert leadership.state is RunState.FOLLOWER


@pytest.mark.parametrize("state", list(RunState))
@pytest.mark.parametrize("event", list(Event))
def test_illegal_events_tell_their_story(state: RunState, event: Event) -> None:
    """Goal: the machine never wanders. Method: all pairs; what the table lacks must raise."""
    leadership = reached(state)
    actions: dict[Event, Callable[[], object]] = {
        Event.CAMPAIGN: leadership.campaign,
        Event.CLAIMED: lambda: leadership.claimed(LeaderEpoch(9)),
        Event.WON: lambda: leadership.announced(leader(ME, 3)),
        Event.STARTED: leadership.started,
        Event.STEP_DOWN: leadership.step_down,
    }
    following = TRANSITIONS.get((state, event))
    if following is not None:
        actions[event]()
        assert leadership.state is following
    elif event is Event.CLAIMED or event is Event.STARTED:
        with pytest.raises(IllegalTransition, match=f"happen to a {state.value}; before: "):
            actions[event]()


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (RunState.CANDIDATE, lambda it: it.announced(leader(OTHER, 3))),
        (RunState.LEADER, lambda it: it.announced(leader(ME, 3))),
        (RunState.FOLLOWER, lambda it: it.announced(leader(OTHER, 1))),
        (RunState.FOLLOWER, lambda it: it.next_number()),
        (RunState.CLAIMING, lambda it: it.next_number()),
    ],
)
def test_impossible_announcements(state: RunState, event: Callable[[Leadership], object]) -> None:
    """Goal: two owners of an epoch, or one read twice, are noticed. Method: a table."""
    with pytest.raises(IllegalTransition):
        event(reached(state))


@given(some.data())
def test_one_effective_leader_per_epoch(data: some.DataObject) -> None:
    """Goal: P2. Method: three nodes claim and announce at random, each reads the log at its pace;
    of what all of them write, only records of the last announced leader are applied."""
    nodes = [GenerationalNodeId(PlainNodeId(n), 1) for n in range(3)]
    machines = [Leadership(node, None) for node in nodes]
    read: list[int] = [0] * 3
    highest: list[Number | None] = [None] * 3
    log: list[tuple[GenerationalNodeId, SelfProposal]] = []
    applied: list[list[tuple[GenerationalNodeId, SelfProposal]]] = [[], [], []]
    epoch = 0
    for _ in range(data.draw(some.integers(0, 60))):
        index = data.draw(some.integers(0, 2))
        machine = machines[index]
        match data.draw(some.sampled_from(("campaign", "claim", "read", "propose"))):
            case "campaign":
                machine.campaign()
            case "claim" if machine.state is RunState.CLAIMING:
                epoch += 1
                if (number := machine.claimed(LeaderEpoch(epoch))) is not None:
                    log.append((nodes[index], number))
            case "propose" if machine.is_leader:
                log.append((nodes[index], machine.next_number()))
            case "read" if read[index] < len(log):
                writer, number = log[read[index]]
                read[index] += 1
                if is_new(highest[index], number_of(number)):
                    highest[index] = number_of(number)
                    applied[index].append((writer, number))
                    if number.sequence == 0:
                        verdict = machine.announced(Leader(writer, number.epoch))
                        if verdict is Verdict.WON:
                            machine.started()
            case _:
                pass
    longest = max(applied, key=len)
    assert all(history == longest[: len(history)] for history in applied)
    assert [n for _, n in longest] == sorted(
        (n for _, n in longest), key=lambda number: (number.epoch, number.sequence)
    )
    owners = {(number.epoch, writer) for writer, number in longest}
    assert len(owners) == len({number.epoch for _, number in longest})
