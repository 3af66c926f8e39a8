"""A few seeds of the whole system: clusters of real nodes, faults, and every invariant."""

from __future__ import annotations

import pytest

from restate_node.sim.__main__ import failure_text, main
from restate_node.sim.budget import QUIET, Budget
from restate_node.sim.run import RunOptions, run_seed

SHORT = Budget(seconds=5.0, faults_min=2, faults_max=4, down_seconds_max=2.0)


@pytest.mark.parametrize("seed", range(1, 7))
def test_short_troubles(seed: int) -> None:
    """Goal: all invariants hold. Method: a few seconds of faults, per seed other ones."""
    report = run_seed(RunOptions(seed, budget=SHORT))
    assert report.is_green, failure_text(report)
    assert report.acknowledged > 100 and report.patched > 5 and report.swapped > 2


def test_a_sunny_day() -> None:
    """Goal: without faults nothing may complain, not even in passing. Method: no faults."""
    report = run_seed(RunOptions(1, budget=Budget(3.0, 0, 0, down_seconds_max=1.0)))
    assert report.is_green, failure_text(report)
    assert report.faults == ()
    assert QUIET.faults_max == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_long_troubles(seed: int) -> None:
    """Goal: all invariants hold. Method: schedules as the command makes them."""
    report = run_seed(RunOptions(seed))
    assert report.is_green, failure_text(report)


def test_the_command_lists_plants(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: a newcomer finds what can be planted. Method: ask."""
    assert main(["--list-plants"]) == 0
    assert "ack-before-fsync" in capsys.readouterr().out


def test_the_command_tells_the_story(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: --verbose is one line per event with a legend. Method: a very short quiet run."""
    assert main(["--seed", "3", "--quiet", "--until", "1", "--verbose"]) == 0
    out = capsys.readouterr().out
    assert "seconds  who       what       details" in out
    assert "n1#1      ready" in out and "seed 3      ok" in out


def test_the_command_refuses_nonsense() -> None:
    """Goal: a typing mistake is told. Method: ranges that are none."""
    for text in ("5-1", "x", "1-x"):
        with pytest.raises(SystemExit):
            main(["--seeds", text])
