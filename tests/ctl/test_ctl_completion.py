"""Completion in shells: the script, and the words that it gets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from restate_node.ctl.completion import VARIABLE, Shell, completion_script, shell_of


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lo"], {"logs"}),
        (["logs", "de"], {"describe"}),
        (["partitions", "leadership", "un"], {"unpin", "unfreeze"}),
        (["logs", "describe", "--h"], {"--head", "--help"}),
        (["nodes", ""], {"list", "remove", "set-storage-state", "set-worker-state"}),
    ],
)
def test_words_are_completed(words: list[str], expected: set[str]) -> None:
    """Goal: nouns, commands and options complete, although nouns are loaded late. Method: ask as
    bash does.
    """
    environment = {
        **os.environ,
        VARIABLE: "complete_bash",
        "COMP_WORDS": "\n".join(["restatectl", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run(
        [sys.executable, "-m", "restate_node.ctl"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert set(done.stdout.split()) == expected, done.stderr


def test_bash_reads_the_script(tmp_path: Path) -> None:
    """Goal: the script is one that bash takes. Method: bash reads it, and says what it knows."""
    script = tmp_path / "restatectl.bash"
    script.write_text(completion_script(Shell.BASH))
    told = subprocess.run(
        ["bash", "-c", f"source {script} && complete -p restatectl"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "-F _restatectl_completion restatectl" in told.stdout


def test_every_shell_has_a_script() -> None:
    """Goal: each shell that is offered is supported, each asks in its own way. Method: compare."""
    scripts = {completion_script(shell) for shell in Shell}
    assert len(scripts) == len(Shell)
    assert all(VARIABLE in script for script in scripts)


def test_the_shell_of_the_user() -> None:
    """Goal: nobody has to name the shell that runs. Method: $SHELL, one that is not known, none."""
    assert shell_of({"SHELL": "/usr/bin/zsh"}) is Shell.ZSH
    assert shell_of({"SHELL": "/bin/dash"}) is None
    assert shell_of({}) is None
