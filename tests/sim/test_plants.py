"""Planted bugs: each is found, and the product is as before afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from restate_node.sim.__main__ import failure_text
from restate_node.sim.plants import PLANTS
from restate_node.sim.run import Report, RunOptions, run_seed
from restate_node.sim.substitution import Substitution, substituted

SEEDS_MAX = 200


@dataclass
class Speaker:
    def say(self) -> str:
        return "plain"


def louder(inner: Callable[[Speaker], str]) -> Callable[[Speaker], str]:
    return lambda speaker: inner(speaker) + "!"


def test_substitutes_wrap_and_are_taken_away() -> None:
    """Goal: nothing of a plant stays. Method: two substitutes on one function, and an error."""
    original = Speaker.say
    substitution = Substitution(Speaker, "say", louder)
    with pytest.raises(RuntimeError), substituted([substitution, substitution]):
        assert Speaker().say() == "plain!!"
        raise RuntimeError
    assert Speaker.say is original


@pytest.mark.parametrize("name", PLANTS)
def test_plants_fit_into_the_product(name: str) -> None:
    """Goal: a renamed function is noticed. Method: put each plant in place."""
    plant = PLANTS[name]
    assert plant.mistake
    for substitution in plant.substitutions:
        before = getattr(substitution.owner, substitution.name)
        with substituted([substitution]):
            assert getattr(substitution.owner, substitution.name) is not before
        assert getattr(substitution.owner, substitution.name) is before


def first_failure(name: str) -> Report:
    for seed in range(1, SEEDS_MAX + 1):
        report = run_seed(RunOptions(seed, plant=name))
        if not report.is_green:
            return report
    raise AssertionError(f"{name} was not found within {SEEDS_MAX} seeds")


def test_a_planted_bug_is_found_and_told() -> None:
    """Goal: the simulator has teeth, and its report helps. Method: seeds until one fails."""
    name = "skip-epoch-check"
    report = first_failure(name)
    text = failure_text(report, name)
    assert f"--seed {report.seed} --plant {name} --verbose" in text
    assert any("violated" in finding for finding in report.findings)
    assert all(str(fault) in text for fault in report.faults)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTS)
def test_every_planted_bug_is_found(name: str) -> None:
    """Goal: no checker is blind. Method: seeds until one fails, for each plant."""
    assert first_failure(name).findings


TELLING = {
    "silence-is-health": ("H1", 14),
    "read-only-in-nodesets": ("C1", 4),
    "leaders-swing": ("C2", 10),
    "drained-worker-is-eligible": ("C3", 2),
    "leaders-uncounted": ("C4", 43),
    "late-report-counts": ("P11", 13),
    "attach-loses-outcome": ("P12", 4),
    "pause-is-only-said": ("P13", 7),
}
"""Who tells, and a seed at which to begin: not every run has an occasion."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TELLING)
def test_checkers_find_what_they_are_for(name: str) -> None:
    """Goal: a checker has teeth of its own, whichever others tell, too. Method: seeds until it
    does.
    """
    checker, first = TELLING[name]
    for seed in range(first, first + SEEDS_MAX):
        report = run_seed(RunOptions(seed, plant=name))
        if any(finding.startswith(f"{checker} violated") for finding in report.findings):
            return
    raise AssertionError(f"{checker} does not find {name}")
