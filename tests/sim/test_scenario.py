"""What runs are about: the seed decides, and what it decides can be carried out."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from restate_node.sim.budget import QUIET, Budget
from restate_node.sim.nemesis import (
    LONG_CUT_SECONDS,
    Blackout,
    Crash,
    Fault,
    Isolation,
    end,
    plan_all,
)
from restate_node.sim.nemesis_storage import FullDisk, ObjectTrouble, Rot, StoreLoss
from restate_node.sim.scenario import Losses, Scenario, SnapshotPolicy, choose
from restate_node.sim.streams import Streams
from restate_node.sim.world import WorldOptions, node_options
from restate_node.types.option_rules import validate

SEEDS = range(200)
HOSTS = ("n1", "n2", "n3")


def schedules(scenario: Scenario) -> list[tuple[Fault, ...]]:
    return [plan_all(Streams(seed), HOSTS, Budget(), scenario) for seed in SEEDS]


def test_a_seed_has_one_scenario_and_seeds_have_all() -> None:
    """Goal: replay, and no kind of run that never comes up. Method: 200 seeds, twice."""
    chosen = [choose(Random(seed)) for seed in SEEDS]
    assert chosen == [choose(Random(seed)) for seed in SEEDS]
    assert {scenario.losses for scenario in chosen} == set(Losses)
    assert {scenario.has_operator for scenario in chosen} == {True, False}
    assert {scenario.snapshots is None for scenario in chosen} == {True, False}
    assert any(scenario.quiet_seconds for scenario in chosen)
    beyond = [scenario for scenario in chosen if scenario.losses is Losses.BEYOND]
    assert 1 <= len(beyond) <= 30 and not any(scenario.has_operator for scenario in beyond)


def test_every_scenario_is_a_valid_configuration() -> None:
    """Goal: nodes start. Method: the options' own rules."""
    for seed in SEEDS:
        world = WorldOptions(HOSTS, scenario=choose(Random(seed)))
        assert validate(node_options("n1", world)) == []


@pytest.mark.parametrize("losses", Losses)
def test_losses_stay_within_what_the_scenario_says(losses: Losses) -> None:
    """Goal: a failure is the system's. Method: count the hosts that lose what they had stored."""
    for schedule in schedules(Scenario(losses=losses)):
        lost = {fault.host for fault in schedule if isinstance(fault, StoreLoss)}
        rotten = {fault.host for fault in schedule if isinstance(fault, Rot)}
        expected = {Losses.NONE: (0, 0), Losses.ROT: (0, 1), Losses.STORE: (1, 0)}
        assert (len(lost), len(rotten)) == expected.get(losses, (2, 0))


def test_object_troubles_need_a_repository_and_do_not_overlap() -> None:
    """Goal: one kind of trouble at a time. Method: ends against begins."""
    assert not any(
        isinstance(fault, ObjectTrouble) for plan in schedules(Scenario()) for fault in plan
    )
    kinds: set[object] = set()
    for schedule in schedules(Scenario(snapshots=SnapshotPolicy(every_records=3))):
        troubles = [fault for fault in schedule if isinstance(fault, ObjectTrouble)]
        kinds |= {trouble.kind for trouble in troubles}
        for former, latter in pairwise(troubles):
            assert end(former) <= latter.at
    assert len(kinds) == 6


def test_disks_fill_up_in_some_schedule_and_nothing_breaks_in_a_quiet_one() -> None:
    """Goal: the kinds are reached, and a budget of none is none. Method: look for them."""
    assert any(isinstance(fault, FullDisk) for plan in schedules(Scenario()) for fault in plan)
    scenario = Scenario(snapshots=SnapshotPolicy(), losses=Losses.STORE)
    assert plan_all(Streams(1), HOSTS, QUIET, scenario) == ()


def test_one_kind_of_fault_does_not_move_the_others() -> None:
    """Goal: a seed can be narrowed down. Method: the schedule with and without losses."""
    with_rot, without = (
        plan_all(Streams(5), HOSTS, Budget(), Scenario(losses=losses))
        for losses in (Losses.ROT, Losses.NONE)
    )
    assert [fault for fault in with_rot if not isinstance(fault, Rot)] == list(without)


def test_some_hosts_are_cut_off_for_longer_than_news_take() -> None:
    """Goal: a status that ignores silence can be caught, within the budget. Method: look for long
    cuts, for who else is away, and at runs in which a store is lost.
    """
    shortest, longest = LONG_CUT_SECONDS
    found = 0
    for schedule in schedules(Scenario()):
        for cut in (f for f in schedule if isinstance(f, Isolation) and f.seconds >= shortest):
            found += 1
            assert cut.seconds <= longest and end(cut) <= Budget().seconds
            crashes = [f for f in schedule if isinstance(f, Crash | Blackout)]
            assert not any(cut.at <= crash.at < end(cut) for crash in crashes)
    assert 5 <= found <= 40
    assert not any(
        isinstance(fault, Isolation) and fault.seconds >= shortest
        for schedule in schedules(Scenario(losses=Losses.STORE))
        for fault in schedule
    )
