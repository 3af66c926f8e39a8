"""The README's walk from one node to five and back, as a reader takes it."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.process.node_processes import clean_environment
from tests.promises.readme_session import Step, free_base, perform, session, steps

ROOT = Path(__file__).resolve().parents[2]
TITLE = "Growing a cluster"
NODES = 5


def walk() -> list[Step]:
    """The steps, as they stand there."""
    return steps((ROOT / "README.md").read_text("utf-8"), TITLE)


def test_expected_lines_are_compared_where_it_matters() -> None:
    """Goal: the comparison can fail. How: outputs that differ in what counts, and in what not."""
    row = Step("restatectl logs list", "…\n0     3    0_2  {node: 2}  N2:1  [N1, N2]")
    assert row.matches("Log chain v7\n0    41   0_9  {node: 2}  N1:4  [N1, N2] \n")
    assert not row.matches("0    41   0_9  {node: 1}  N1:4  [N1, N2]\n")
    assert not row.matches("0    41   0_9  {node: 2}  N1:4  [N1]\n")
    empty = Step("restatectl status", "N5:1  node-5  …  Member  0  0")
    assert empty.matches("N5:3  node-5  12s  Member  0  0\n")
    assert not empty.matches("N5:3  node-5  12s  Member  1  0\n")


@pytest.mark.process
@pytest.mark.slow
def test_growing_and_shrinking(tmp_path: Path) -> None:
    """Goal: a new user can do what the README shows. How: every command of the section in one
    shell, in an empty directory; what is printed is compared."""
    clean_environment()
    rng = Random()
    nodes, admin, ingress = free_base(rng, 1000, NODES), *(free_base(rng, 1, NODES) for _ in "ab")
    ports = {
        "4122": nodes,
        "5122": nodes + 1000,
        "9069": admin,
        "8079": ingress,
    }
    with session(tmp_path) as shell:
        shell.type(f"export RESTATECTL_ADDRESS=http://127.0.0.1:{nodes + 1000}/")
        for step in walk():
            command = step.command
            for shown, free in ports.items():
                command = command.replace(shown, str(free))
            perform(shell, Step(command, step.shown))
