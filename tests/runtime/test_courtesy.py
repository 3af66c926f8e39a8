"""Transfers make room for a node that has work, and only for that."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from restate_node.runtime.real.courtesy import BUSY_BYTES_PER_S_MAX, LOOK_SECONDS_MIN, Courtesy

PIECE_BYTES = BUSY_BYTES_PER_S_MAX // 64


class Machine:
    """Time goes on while a piece is moved and while a thread rests; the loop computes meanwhile."""

    def __init__(self, computing: float = 0.0, syncs_per_s: int = 0) -> None:
        self.now = 1000.0
        self.rested_s = 0.0
        self.computing = computing
        self.syncs_per_s = syncs_per_s
        self.computed_s = 0.0
        self.syncs = 0.0
        self.courtesy = Courtesy(lambda: self.now, self.rest)
        self.courtesy.observe(lambda: self.computed_s)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.computed_s += seconds * self.computing
        before, self.syncs = self.syncs, self.syncs + seconds * self.syncs_per_s
        for _ in range(int(self.syncs) - int(before)):
            self.courtesy.synced()

    def rest(self, seconds: float) -> None:
        self.rested_s += seconds
        self.pass_by(seconds)

    def move(self, pieces: int) -> None:
        for _ in range(pieces):
            self.pass_by(0.005)
            self.courtesy.wait(PIECE_BYTES)


@pytest.mark.parametrize(
    ("computing", "syncs_per_s", "rests"),
    [(0.0, 0, 0), (0.02, 10, 0), (0.2, 0, 0), (0.4, 0, 80), (0.95, 900, 80), (0.0, 50, 80)],
)
def test_only_a_busy_node_slows_transfers(computing: float, syncs_per_s: int, rests: int) -> None:
    """Goal: full speed on an idle node, the rate on a busy one. How: a hundred pieces each."""
    machine = Machine(computing, syncs_per_s)
    machine.move(100)
    assert rests / 64 <= machine.rested_s <= (rests and 100) / 64


def test_a_loop_that_changes() -> None:
    """Goal: what counts is the load of now. How: a loop that was idle for long, then busy, then
    idle again.
    """
    machine = Machine()
    machine.pass_by(3600.0)
    machine.computing = 0.9
    machine.move(30)
    assert machine.rested_s >= 10 / 64
    machine.computing = 0.0
    machine.move(30)
    before = machine.rested_s
    machine.move(100)
    assert machine.rested_s == before


def test_threads_rest_by_turns() -> None:
    """Goal: the rate is that of all together. How: three threads; count who rests at a time."""
    resting, most = 0, 0

    def rest(seconds: float) -> None:
        nonlocal resting, most
        resting += 1
        most = max(most, resting)
        together.wait(0.01)  # nobody else comes
        resting -= 1

    now, together = [1000.0], threading.Event()
    courtesy = Courtesy(lambda: now[0], rest)
    courtesy.observe(lambda: now[0])
    now[0] += LOOK_SECONDS_MIN
    threads = [threading.Thread(target=courtesy.wait, args=(1,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


async def test_the_loop_is_known_by_its_thread() -> None:
    """Goal: another thread sees what this one computes. How: compute until it rests, then idle
    until it does not.
    """
    rests: list[float] = []
    courtesy = Courtesy(rest=rests.append)
    courtesy.observe()
    async with asyncio.timeout(20):
        while not rests:
            end = time.thread_time() + 2 * LOOK_SECONDS_MIN
            while time.thread_time() < end:
                pass
            await asyncio.to_thread(courtesy.wait, PIECE_BYTES)
        rested = 0
        while rested < len(rests):
            rested = len(rests)
            await asyncio.sleep(4 * LOOK_SECONDS_MIN)
            await asyncio.to_thread(courtesy.wait, PIECE_BYTES)
    assert set(rests) == {PIECE_BYTES / BUSY_BYTES_PER_S_MAX}
