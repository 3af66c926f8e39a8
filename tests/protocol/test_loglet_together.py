"""Sequencer, waves, log servers, seal, search and repair together, under seeded faults."""

from __future__ import annotations

import pytest
from loglet_world import World

TURNS = 250


@pytest.mark.parametrize("decade", range(30))
def test_promises_hold_under_faults(decade: int) -> None:
    """Goal: L1 readable, L2 one value, L3 tails monotone and final, L4 no promise above the tail.

    Method: ten seeds; messages are lost, late and doubled, crashes lose what is not synced, two
    rivals seal and repair while the sequencer goes on; a server may lose its disk for ever. A
    failure names the invariant.
    """
    for seed in range(decade * 10, decade * 10 + 10):
        try:
            World(seed).run(TURNS)
        except AssertionError as broken:
            raise AssertionError(f"seed {seed}: {broken}") from broken


def test_the_faults_reach_what_they_are_meant_to_reach() -> None:
    """Goal: the runs above are not idle. Method: count what happened in some worlds."""
    promised = left_over = rivals_differ = jumps = settled = came_back = 0
    for seed in range(60):
        world = World(seed)
        world.run(TURNS)
        promised += len(world.acknowledged)
        left_over += len(world.written) > len(world.acknowledged)
        rivals_differ += len(set(world.proposed)) > 1
        jumps += any(server.state.unbroken_from > 1 for server in world.servers.values())
        settled += world.settled > 0
        came_back += world.came_back
    assert promised > 1000
    assert left_over > 20
    assert rivals_differ > 0, "no two searches found different tails"
    assert jumps > 10
    assert settled > 3, "no tail was taken that cannot get its write quorum any more"
    assert came_back > 5


def test_silence_is_not_loss() -> None:
    """Goal: only the configuration lowers what a tail's records need. Method: rivals that take each
    silent server for one that lost its data leave records behind with too few copies."""
    with pytest.raises(AssertionError, match="L1: too few copies"):
        for seed in range(100):
            World(seed, counts_silence_as_loss=True).run(TURNS)
