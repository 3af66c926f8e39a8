"""The same seed is the same run, in any process."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
from restate_node.sim.budget import Budget
from restate_node.sim.run import RunOptions, run_seed
from restate_node.sim.scenario import Losses, Scenario, SnapshotPolicy
from restate_node.sim.world import WorldOptions
scenario = Scenario(SnapshotPolicy(every_records=3), has_operator=True, losses=Losses.STORE)
for world in (None, WorldOptions(scenario=scenario)):
    budget = Budget(5.0, 3, 5, down_seconds_max=2.0)
    report = run_seed(RunOptions(11, world=world, budget=budget))
    print(report.trace_hash, report.steps, len(report.findings))
"""


def trace_in_a_new_process(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_same_seed_same_trace_in_two_processes() -> None:
    """Goal: a failure can be replayed. Method: two processes with different hash seeds."""
    first, second = (trace_in_a_new_process(seed) for seed in ("1", "4242"))
    assert first and first == second
