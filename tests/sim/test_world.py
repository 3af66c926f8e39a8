"""The world by itself: it restarts what ends, tells what it must, and excuses what a fault did."""

from __future__ import annotations

import asyncio

from restate_node.sim.history import History, NodeEnded, NodeReady, NodeStarted
from restate_node.sim.hosts import Death
from restate_node.sim.injection import carry_out
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.nemesis import Crash, DiskError, DiskOperation, Fault
from restate_node.sim.node_logs import NodeLogs
from restate_node.sim.recorder import Recorder
from restate_node.sim.timeline import Timeline
from restate_node.sim.world import NodeLife, World, WorldOptions, node_options
from restate_node.types.option_rules import validate

ONE = WorldOptions(hosts=("n1",), replication=1, partitions=1)


def live(
    faults: tuple[Fault, ...], seconds: float, stop_at: float = 0.0
) -> tuple[History, list[str]]:
    """One node for that long; at `stop_at` it is asked to stop. History and findings."""
    findings: list[str] = []
    lives: list[NodeLife] = []
    recorders: list[Recorder] = []

    async def main(loop: SimLoop) -> None:
        recorder = Recorder(loop, Timeline(loop.trace))
        recorders.append(recorder)
        world = World(loop, ONE, recorder, findings.append, lives.append)
        world.start("n1")
        if stop_at:
            await asyncio.sleep(stop_at)
            lives[0].node.tasks.request_shutdown("a test wants it")
        await carry_out(faults, world, recorder)
        await asyncio.sleep(seconds)

    with NodeLogs().captured():
        simulate(1, main)
    return recorders[0].history, findings


def test_a_node_that_ends_by_itself_is_told_and_started_again() -> None:
    """Goal: no silent ends. Method: ask a node to stop behind the world's back."""
    history, findings = live((), 4.0, stop_at=2.0)
    assert [event.node for event in history.of(NodeStarted)] == ["n1#1", "n1#2"]
    assert [event.node for event in history.of(NodeReady)] == ["n1#1", "n1#2"]
    assert findings == ["n1#1 ended by itself: a test wants it"]


def test_a_crash_is_no_finding() -> None:
    """Goal: ordered deaths are expected. Method: kill the node, start it again."""
    history, findings = live((Crash(2.0, "n1", Death.KILLED, 0.5),), 3.0)
    assert [event.reason for event in history.of(NodeEnded)] == ["killed"]
    assert [event.node for event in history.of(NodeReady)] == ["n1#1", "n1#2"]
    assert findings == []


def test_a_broken_disk_excuses_its_node() -> None:
    """Goal: a node may give up over its disk. Method: syncs fail, then the disk works again."""
    history, findings = live((DiskError(2.0, "n1", DiskOperation.SYNC, 1.0),), 3.0)
    assert findings == []
    assert len(list(history.of(NodeReady))) >= 2


def test_simulated_nodes_have_valid_options() -> None:
    """Goal: what is simulated could be deployed. Method: the rules of all configurations."""
    assert validate(node_options("n1", WorldOptions())) == []


def test_a_host_that_lost_its_store_says_so_and_stays_away() -> None:
    """Goal: data loss is the log server's to notice; the world only watches. Method: one of three
    loses its log store and starts again: it ends by itself, nobody complains, the others go on.
    """
    findings: list[str] = []
    recorders: list[Recorder] = []

    async def main(loop: SimLoop) -> None:
        recorder = Recorder(loop, Timeline(loop.trace))
        recorders.append(recorder)
        world = World(loop, WorldOptions(), recorder, findings.append, lambda life: None)
        for host in world.hosts:
            world.start(host)
        await asyncio.sleep(8.0)
        assert world.all_ready
        world.lose_store("n2")
        world.start("n2")
        await asyncio.sleep(8.0)
        world.heal()
        assert world.all_ready and {life.host for life in world.lives} == {"n1", "n3"}

    with NodeLogs().captured():
        simulate(3, main)
    assert findings == []
    ends = [event for event in recorders[0].history.of(NodeEnded) if event.node == "n2#2"]
    assert len(ends) == 1 and "lost its data" in ends[0].reason
