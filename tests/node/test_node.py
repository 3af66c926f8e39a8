"""A node's life: founding, joining, coming back, being refused, stopping."""

from __future__ import annotations

import asyncio

import pytest
from node_world import NodeWorld, run

from restate_node.node.marker import MARKER_FILE, MarkerError
from restate_node.runtime.ports import StoreLocked
from restate_node.types.ids import GenerationalNodeId, PlainNodeId
from restate_node.types.nodes import MetadataServerState, Role, StorageState, WorkerState
from restate_node.types.processor_messages import DetailedRunMode


def leads(world: NodeWorld, name: str) -> int:
    worker = world.nodes[name].worker
    assert worker is not None
    modes = [status.detailed_mode for status in worker.statuses()]
    return modes.count(DetailedRunMode.LEADER)


def test_single_node_founds_a_cluster_and_leads_all_of_it() -> None:
    """Goal: one node without configuration is a working cluster. How: start it on a new disk."""

    async def scenario(world: NodeWorld) -> None:
        world.start("node-1")
        await world.ready("node-1")
        await world.until(lambda: leads(world, "node-1") == 2)
        node = world.nodes["node-1"]
        member = node.cache.nodes.value.node(PlainNodeId(1))
        assert node.cache.me == GenerationalNodeId(PlainNodeId(1), 2)
        assert member is not None
        assert member.storage_state is StorageState.READ_WRITE
        await world.until(lambda: _worker_state(world) is WorkerState.ACTIVE)

    run(scenario)


def _worker_state(world: NodeWorld) -> WorkerState:
    member = world.nodes["node-1"].cache.nodes.value.node(PlainNodeId(1))
    assert member is not None
    return member.worker_state


def test_node_that_starts_before_its_cluster_waits() -> None:
    """Goal: start order does not matter. How: node-2 first; then node-1 founds, both are ready."""

    async def scenario(world: NodeWorld) -> None:
        world.start("node-2")
        await asyncio.sleep(5)
        assert not world.nodes["node-2"].ready.value
        assert world.nodes["node-2"].cache.me is None
        world.start("node-1")
        await world.ready("node-1", "node-2")

    run(scenario)


def test_new_metadata_servers_join_by_themselves() -> None:
    """Goal: three nodes make a metadata cluster of three. How: wait for three members."""

    async def scenario(world: NodeWorld) -> None:
        for name in ("node-1", "node-2", "node-3"):
            world.start(name)
        await world.ready("node-1", "node-2", "node-3")
        await world.until(lambda: _members(world) == 3)

    run(scenario)


def _members(world: NodeWorld) -> int:
    servers = world.nodes["node-1"].cache.nodes.value.with_role(Role.METADATA_SERVER)
    return sum(s.metadata_server_state is MetadataServerState.MEMBER for s in servers)


def test_killed_node_comes_back_in_its_next_life() -> None:
    """Goal: a restart keeps the id and raises the generation. How: kill, start, compare."""

    async def scenario(world: NodeWorld) -> None:
        world.start("node-1")
        await world.ready("node-1")
        world.kill("node-1")
        world.start("node-1")
        await world.ready("node-1")
        assert world.nodes["node-1"].cache.me == GenerationalNodeId(PlainNodeId(1), 3)
        await world.until(lambda: leads(world, "node-1") == 2)

    run(scenario)


def test_orderly_stop_says_why_and_ends_soon() -> None:
    """Goal: a stop is orderly and takes less than five seconds. How: ask, look at the cause."""

    async def scenario(world: NodeWorld) -> None:
        world.start("node-1")
        await world.ready("node-1")
        asked_at = world.loop.time()
        world.nodes["node-1"].tasks.request_shutdown("a test")
        await world.until(lambda: "node-1" in world.causes)
        assert world.causes["node-1"].error is None
        assert world.loop.time() - asked_at < 5
        assert len(world.nodes["node-1"].tasks) == 0

    run(scenario)


def test_lost_log_store_is_noticed_and_stops_the_node() -> None:
    """Goal: a log server that lost its data must not come back as an empty one.

    How: remove its log store, start: it ends with the operations page's line, the state is
    data-loss, and the next start is refused with the same line.
    """
    line = (
        "Node cannot start a log-server on N2, it has detected that it has lost its data. "
        "storage-state is `data-loss`"
    )

    async def scenario(world: NodeWorld) -> None:
        world.start("node-1")
        world.start("node-2", roles=(Role.LOG_SERVER,))
        await world.ready("node-1", "node-2")
        world.kill("node-2")
        for _ in range(2):
            world.medium("node-2").wipe()
            world.start("node-2", roles=(Role.LOG_SERVER,))
            await world.until(lambda: "node-2" in world.causes)
            assert line in world.causes["node-2"].reason
            await world.until(lambda: _state_of_two(world) is StorageState.DATA_LOSS)
            world.kill("node-2")

    run(scenario)


def _state_of_two(world: NodeWorld) -> StorageState:
    return world.nodes["node-1"].cache.nodes.value.storage_state(PlainNodeId(2))


def test_data_of_another_cluster_is_refused_before_anything_else() -> None:
    """Goal: a directory belongs to one cluster. How: start it under another cluster name."""

    async def scenario(world: NodeWorld) -> None:
        world.start("node-1")
        await world.ready("node-1")
        world.kill("node-1")
        world.start("node-1", cluster_name="other")
        await world.until(lambda: "node-1" in world.errors)
        assert isinstance(world.errors["node-1"], MarkerError)
        assert "cluster-name" in str(world.errors["node-1"])

    run(scenario)


def test_reborn_cluster_of_the_same_name_is_refused() -> None:
    """Goal: the name is not enough. How: wipe the founder; the other member refuses to join it."""

    async def scenario(world: NodeWorld) -> None:
        world.start("node-1")
        world.start("node-2", roles=(Role.LOG_SERVER,))
        await world.ready("node-1", "node-2")
        world.kill("node-1")
        world.kill("node-2")
        world.medium("node-1").wipe()
        world.start("node-1")
        await world.ready("node-1")
        world.start("node-2", roles=(Role.LOG_SERVER,))
        await world.until(lambda: "node-2" in world.causes)
        assert "fingerprint mismatch" in world.causes["node-2"].reason

    run(scenario)


def test_one_process_per_data_directory() -> None:
    """Goal: the directory is locked. How: a second node on the same disk of the same life."""

    async def scenario(world: NodeWorld) -> None:
        world.start("node-1")
        await world.ready("node-1")
        node = world.nodes["node-1"]
        disk = world.medium("node-1").mount(world.loop.boot("intruder"))
        with pytest.raises(StoreLocked):
            disk.lock()
        assert node.ports.disk.read_file(MARKER_FILE) is not None

    run(scenario)
