"""Schedules of faults: equal for equal seeds, and within their budget."""

from __future__ import annotations

from random import Random

import pytest

from restate_node.sim.budget import QUIET, Budget
from restate_node.sim.nemesis import IMPAIRING, Blackout, Fault, end, plan

HOSTS = ("n1", "n2", "n3")
BUDGET = Budget()


def schedule(seed: int, budget: Budget = BUDGET) -> tuple[Fault, ...]:
    return plan(Random(seed), HOSTS, budget)


def away_at(faults: tuple[Fault, ...], moment: float) -> list[Fault]:
    return [f for f in faults if isinstance(f, IMPAIRING) and f.at <= moment < end(f)]


def test_equal_seeds_give_equal_schedules() -> None:
    """Goal: a seed names a schedule. Method: plan twice, and with other seeds."""
    assert schedule(7) == schedule(7)
    assert len({schedule(seed) for seed in range(20)}) == 20


@pytest.mark.parametrize("impaired", [0, 1, 2])
def test_the_budget_holds_at_every_instant(impaired: int) -> None:
    """Goal: never more hosts away than allowed. Method: look right after each fault begins."""
    budget = Budget(impaired_hosts_max=impaired, blackouts_max=1)
    most = 0
    for seed in range(200):
        faults = schedule(seed, budget)
        for fault in faults:
            away = away_at(faults, fault.at)
            most = max(most, len(away))
            assert end(fault) <= budget.seconds
            assert not (isinstance(fault, Blackout) and away)
        assert sum(isinstance(fault, Blackout) for fault in faults) <= 1
        assert list(faults) == sorted(faults, key=lambda fault: fault.at)
    assert most == impaired


def test_all_kinds_of_faults_occur() -> None:
    """Goal: no kind is planned away by the budget. Method: the kinds of 200 schedules."""
    kinds = {type(fault).__name__ for seed in range(200) for fault in schedule(seed)}
    assert kinds == {kind.__name__ for kind in IMPAIRING} | {
        "Blackout",
        "BadLink",
        "Resets",
        "BusyDisk",
    }


def test_a_quiet_budget_has_no_faults() -> None:
    """Goal: the sunny day exists. Method: several seeds without faults."""
    assert all(schedule(seed, QUIET) == () for seed in range(5))


def test_faults_say_what_they_do() -> None:
    """Goal: a schedule can be read. Method: every fault names its hosts."""
    for seed in range(50):
        for fault in schedule(seed):
            hosts = getattr(fault, "hosts", None) or (getattr(fault, "host", ""),)
            assert all(host in str(fault) for host in hosts)
