"""The README's first service, as a reader takes it: write, start, register, call, kill -9."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random

import pytest

from tests.process.node_processes import clean_environment
from tests.promises.readme_session import Step, free_base, perform, session, steps

ROOT = Path(__file__).resolve().parents[2]
TITLE = "A first service"
SHOWN = ("5122", "8080", "9070", "9080")


@pytest.mark.process
def test_a_node_is_killed_in_mid_handler(tmp_path: Path) -> None:
    """Goal: the first thing that users try works, kill -9 included. How: every command of the
    section in one shell, in an empty directory, on free ports; what is printed is compared.
    """
    clean_environment()
    rng = Random()
    ports = {shown: str(free_base(rng, 1, 1)) for shown in SHOWN}
    with session(tmp_path) as shell:
        shell.type(f'python() {{ {sys.executable} "$@"; }}')
        shell.type(f"export RESTATE_BIND_PORT={ports['5122']} RESTATE_DEFAULT_NUM_PARTITIONS=4")
        shell.type(f"export RESTATE_ADMIN__BIND_PORT={ports['9070']}")
        shell.type(f"export RESTATE_INGRESS__BIND_PORT={ports['8080']}")
        for step in steps((ROOT / "README.md").read_text("utf-8"), TITLE):
            command = step.command
            for shown, free in ports.items():
                command = command.replace(f":{shown}", f":{free}")
            perform(shell, Step(command, step.shown))
