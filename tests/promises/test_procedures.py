"""The troubleshooting procedures of the operations page, run command by command.

Each is a script that a person can run too, with the programs of this installation on the path:

    PATH=.venv/bin:$PATH tests/promises/procedures/trim-gap-repository.sh
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.process.node_processes import PROGRAMS, clean_environment

pytestmark = [pytest.mark.process, pytest.mark.slow]

PROCEDURES = Path(__file__).parent / "procedures"
ENDS_WITHIN_S = 240.0
COMMANDS = {
    "reused-node-id": (
        "replicated-loglet servers",
        "logs list",
        "replicated-loglet set-storage-state --node 3 --storage-state read-write --force",
    ),
    "trim-gap-repository": ("partitions list", "snapshots create-snapshot 0"),
    "trim-gap-transfer": ("partitions list", "snapshots create-snapshot 0"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_procedure(name: str) -> None:
    """Goal: who follows the page gets out of trouble. How: run the script, which checks each step;
    it must come to its end, with the page's commands."""
    clean_environment()
    path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["bash", str(PROCEDURES / f"{name}.sh")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PATH": path, "NO_COLOR": "1"},
        start_new_session=True,
    ) as script:
        try:
            shown, _ = script.communicate(timeout=ENDS_WITHIN_S)
        finally:
            if script.poll() is None:
                os.killpg(script.pid, signal.SIGTERM)
    assert script.returncode == 0, shown
    assert shown.rstrip().endswith("# Done."), shown
    commands = re.findall(r"^\$ restatectl (.*)$", shown, re.MULTILINE)
    assert [command for command in COMMANDS[name] if command not in commands] == []
