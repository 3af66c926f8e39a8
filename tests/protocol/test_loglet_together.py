"""Sequencer, waves, log servers, seal, search and repair together, under seeded faults."""

from __future__ import annotations

import pytest
from loglet_world import World

TURNS = 250


@pytest.mark.parametrize("decade", range(30))
def test_promises_hold_under_faults(decade: int) -> None:
    """Goal: L1 readable, L2 one value, L3 tails monotone and final, L4 no promise above the tail.

    Method: ten seeds; messages are lost, late and doubled, crashes lose what is not synced, two
    rivals seal and repair while the sequencer goes on. A failure names the invariant.
    """
    for seed in range(decade * 10, decade * 10 + 10):
        try:
            World(seed).run(TURNS)
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken


def test_the_faults_reach_what_they_are_meant_to_reach() -> None:
    """Goal: the runs above are not idle. Method: count what happened in some worlds."""
    promised = left_over = rivals_differ = jumps = 0
    for seed in range(60):
        world = World(seed)
        world.run(TURNS)
        promised += len(world.acknowledged)
        left_over += len(world.written) > len(world.acknowledged)
        rivals_differ += len(set(world.proposed)) > 1
        jumps += any(server.state.unbroken_from > 1 for server in world.servers.values())
    assert promised > 1000
    assert left_over > 20
    assert rivals_differ > 0, "no two searches found different tails"
    assert jumps > 10
