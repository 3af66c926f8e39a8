"""The operator: speaks to nodes through their own tables of methods, and leaves order behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from restate_node.roles.admin.cluster_ctrl import ClusterCtrl
from restate_node.sim.history import History
from restate_node.sim.history_cluster import ClusterSeen, OperatorSaid, StatusSaid
from restate_node.sim.loop import SimLoop, simulate
from restate_node.sim.node_logs import NodeLogs
from restate_node.sim.operating.commands import (
    COMMANDS,
    NONSENSE,
    Desk,
    read_configuration,
    remove_node,
    set_configuration,
)
from restate_node.sim.operating.console import CLUSTER, Console, Refused
from restate_node.sim.operating.operator import Operator
from restate_node.sim.operating.survey import read_nodes, say_status, survey
from restate_node.sim.recorder import Recorder
from restate_node.sim.scenario import Losses, Scenario, SnapshotPolicy
from restate_node.sim.timeline import Timeline
from restate_node.sim.world import NodeLife, World, WorldOptions
from restate_node.types.nodes import StorageState, WorkerState
from restate_node.wire.pb import cluster_ctrl_pb2 as ctrl

SCENARIO = Scenario(snapshots=SnapshotPolicy(every_records=3), has_operator=True)


class Office:
    """A cluster that is up, and who works on it."""

    def __init__(self, loop: SimLoop) -> None:
        self.findings: list[str] = []
        self.loop = loop
        self.recorder = Recorder(loop, Timeline(loop.trace))
        options = WorldOptions(partitions=2, scenario=SCENARIO)
        self.world = World(loop, options, self.recorder, self.findings.append, self._serve)
        rng = loop.streams.stream("operator")
        self.console = Console(self.world, rng, self.findings.append)
        self.desk = Desk(self.console, self.findings.append, Losses.NONE)
        self.operator = Operator(self.world, rng, self.findings.append, Losses.NONE)

    @property
    def history(self) -> History:
        return self.recorder.history

    def _serve(self, life: NodeLife) -> None:
        """No clients here."""


def tell(story: Callable[[Office], Awaitable[None]], seed: int = 5) -> Office:
    """A cluster of three without faults, and a story about it."""
    offices: list[Office] = []

    async def main(loop: SimLoop) -> None:
        office = Office(loop)
        offices.append(office)
        for host in office.world.hosts:
            office.world.start(host)
        await asyncio.sleep(8.0)  # Virtual seconds: they cost nothing, and decide nothing.
        assert office.world.all_ready
        await story(office)

    with NodeLogs().captured():
        simulate(seed, main)
    return offices[0]


def test_nonsense_is_refused_by_every_node() -> None:
    """Goal: no input makes a server do anything but refuse. Method: all of it, one by one."""

    async def story(office: Office) -> None:
        for path, request, response in NONSENSE:
            with pytest.raises(Refused, match=r"n\d#1: [A-Z_]+: "):
                await office.console.call(path, request, response)

    assert tell(story).findings == []


def test_a_handler_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: a panic does not pass for a refusal. Method: a handler that raises a ValueError."""

    async def breaks(_: ClusterCtrl, __: object) -> None:
        raise ValueError("unexpected")

    monkeypatch.setattr(ClusterCtrl, "find_tail", breaks)

    async def story(office: Office) -> None:
        with pytest.raises(Refused):
            await office.console.call(
                f"{CLUSTER}/FindTail", ctrl.FindTailRequest(log_id=0), ctrl.FindTailResponse
            )

    findings = tell(story).findings
    assert len(findings) == 3 and "ValueError('unexpected')" in findings[0]


def test_a_change_that_nobody_can_satisfy_must_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: the operator notices that a node says yes to everything. Method: one that does."""

    async def yes(_: ClusterCtrl, __: object) -> ctrl.SetClusterConfigurationResponse:
        return ctrl.SetClusterConfigurationResponse()

    monkeypatch.setattr(ClusterCtrl, "set_cluster_configuration", yes)

    async def story(office: Office) -> None:
        for _ in range(40):
            await set_configuration(office.desk)

    assert any("not refused although" in text for text in tell(story).findings)


def test_members_are_not_removed() -> None:
    """Goal: a cluster keeps what it needs. Method: try to remove some node."""

    async def story(office: Office) -> None:
        with pytest.raises(Refused, match="member of the metadata cluster"):
            await remove_node(office.desk)

    assert tell(story).findings == []


def test_order_is_restored_after_everything() -> None:
    """Goal: what is owed after the healing is owed to a cluster as it was. Method: each command a
    few times, then order; configuration and states are those of the start, and status says so.
    """

    async def story(office: Office) -> None:
        before = await read_configuration(office.console)
        for command, _ in COMMANDS:
            for _ in range(3):
                await office.operator.give(command.__name__, partial(command, office.desk))
        await office.operator.restore()
        assert await read_configuration(office.console) == before
        for node in (await read_nodes(office.console)).members():
            assert node.storage_state is StorageState.READ_WRITE
            assert node.worker_state is WorkerState.ACTIVE
        await asyncio.sleep(15.0)
        await survey(office.console)
        for _ in range(2):  # one look alone says nothing
            await say_status(office.console)

    office = tell(story)
    assert office.findings == []
    said = [event.text for event in office.history.of(OperatorSaid)]
    assert len(said) == 3 * len(COMMANDS) + 1
    assert sum("refused" not in text for text in said) > len(said) // 3
    seen = office.history.last(ClusterSeen)
    assert seen is not None and seen.copies == 2 and len(seen.partitions) == 2
    status = office.history.last(StatusSaid)
    assert status is not None and status.healthy
