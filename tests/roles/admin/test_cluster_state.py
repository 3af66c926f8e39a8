"""The collector of the cluster state over a simulated network, and its message."""

from __future__ import annotations

import asyncio

import pytest
from google.protobuf.message import Message

from restate_node.fabric.router import Reply
from restate_node.roles.admin.cluster_state import (
    AliveNode,
    ClusterState,
    ClusterStateCollector,
    DeadNode,
)
from restate_node.roles.admin.cluster_state_message import cluster_state_message
from restate_node.runtime.tasks import TaskCenter
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.fabric import Peer
from restate_node.types.gossip import Leadership
from restate_node.types.gossip import NodeState as Believed
from restate_node.types.ids import LeaderEpoch, PartitionId, PlainNodeId
from restate_node.types.metadata import MetadataVersions
from restate_node.types.offsets import Lsn
from restate_node.types.processor_messages import (
    DetailedRunMode,
    GetNodeState,
    NodeState,
    ProcessorStatus,
    ReplayStatus,
    RunMode,
)
from tests.roles.admin.admin_world import HandLiveness, Host, World, life

LEADING = ProcessorStatus(
    PartitionId(0),
    RunMode.LEADER,
    RunMode.LEADER,
    DetailedRunMode.LEADER,
    ReplayStatus.ACTIVE,
    1_700_000_000_123,
)


def answering(host: Host, *processors: ProcessorStatus) -> None:
    def answer(_: Peer, request: GetNodeState, reply: Reply) -> None:
        reply(NodeState(host.me, 12, list(processors)))

    host.fabric.router.on(GetNodeState, answer)


def collector(world: World, host: Host, liveness: HandLiveness) -> ClusterStateCollector:
    made = ClusterStateCollector(host.cache, liveness, host.fabric, world.clock, 1500)
    made.start(host.tasks)
    return made


def test_every_member_is_alive_or_dead_after_the_first_round() -> None:
    """Goal: status right after the start is complete, and a silent member is listed as dead.

    Method: one node answers with a processor, one joined and is silent, one is given up by the
    failure detector.
    """

    async def scenario(loop: SimLoop) -> ClusterState:
        world = World(loop)
        first = world.start(1)
        for node in (2, 3):
            world.start(node)
        answering(first, LEADING)
        answering(world.hosts[3])
        liveness = HandLiveness(life(1), life(2))
        liveness.seen_ms[PlainNodeId(3)] = 77
        state = await collector(world, first, liveness).settled()
        assert loop.time() < 1.1
        return state

    nodes = simulate(1, scenario).value.nodes
    assert isinstance(nodes[PlainNodeId(1)], AliveNode)
    assert nodes[PlainNodeId(1)].processors == {0: LEADING}
    assert nodes[PlainNodeId(2)] == DeadNode(None)
    assert nodes[PlainNodeId(3)] == DeadNode(77)


def test_news_do_not_wait_for_the_heartbeat() -> None:
    """Goal: a death and a moved leader show at once. Method: virtual time until they show."""

    async def scenario(loop: SimLoop) -> None:
        world = World(loop)
        first, second = world.start(1), world.start(2)
        answering(first)
        answering(second)
        liveness = HandLiveness(life(1), life(2))
        made = collector(world, first, liveness)
        await made.settled()
        assert len(made.state.value.alive()) == 2

        refreshed = made.state.value.refreshed_at
        liveness.leaders.set({PartitionId(0): Leadership(PartitionId(0), LeaderEpoch(1), life(2))})
        await world.eventually(lambda: made.state.value.refreshed_at > refreshed, 0.2)

        world.kill(2)
        liveness.set(life(2), Believed.DEAD)
        dead = PlainNodeId(2)
        await world.eventually(lambda: isinstance(made.state.value.nodes[dead], DeadNode), 0.2)
        assert made.state.value.nodes[dead].last_seen_ms is not None

    simulate(2, scenario)


def test_what_a_former_life_said_is_not_the_present() -> None:
    """Goal: whoever looks right after a node was stopped does not see its processors. Method: a
    node that is leaving, looked at before the next round.
    """

    async def scenario(loop: SimLoop) -> None:
        world = World(loop)
        first, second = world.start(1), world.start(2)
        answering(first)
        answering(second, LEADING)
        liveness = HandLiveness(life(1), life(2))
        made = collector(world, first, liveness)
        assert len((await made.settled()).alive()) == 2
        liveness.set(life(2), Believed.FAILING_OVER)
        assert [entry.node for entry in (await made.settled()).alive()] == [life(1)]

    simulate(2, scenario)


def test_silent_node_does_not_hold_back_the_others() -> None:
    """Goal: answers are published as they come. Method: one node never answers; the other's
    processor shows long before the timeout.
    """

    async def scenario(loop: SimLoop) -> None:
        world = World(loop)
        first, second = world.start(1), world.start(2)
        answering(first, LEADING)
        second.fabric.router.on(GetNodeState, lambda _, request, reply: None)
        made = collector(world, first, HandLiveness(life(1), life(2)))
        await world.eventually(lambda: PlainNodeId(1) in made.state.value.nodes, 0.2)
        state = await made.settled()
        assert isinstance(state.nodes[PlainNodeId(2)], DeadNode)

    simulate(3, scenario)


def test_no_members_is_an_empty_state() -> None:
    """Goal: before provisioning there is nothing, and asking does not hang."""

    async def scenario(loop: SimLoop) -> ClusterState:
        world = World(loop)
        host = world.start(1)
        lonely = World(loop)
        made = ClusterStateCollector(
            type(host.cache)("test"), HandLiveness(), host.fabric, lonely.clock, 1500
        )
        made.start(TaskCenter())
        async with asyncio.timeout(5):
            return await made.settled()

    assert simulate(4, scenario).value.nodes == {}


FULL = ProcessorStatus(
    PartitionId(3),
    RunMode.LEADER,
    RunMode.FOLLOWER,
    DetailedRunMode.BECOMING_LEADER,
    ReplayStatus.CATCHING_UP,
    1_700_000_000_123,
    observed_epoch=LeaderEpoch(0),
    observed_leader=life(2, 5),
    applied_lsn=Lsn(0),
    applied_at_ms=1_700_000_000_000,
    durable_lsn=Lsn(4),
    target_tail_lsn=Lsn(9),
    archived_lsn=Lsn(2),
)


@pytest.mark.parametrize(
    ("status", "present", "absent"),
    [
        (
            FULL,
            ["last_observed_leader_epoch", "last_applied_log_lsn", "durable_lsn",
             "target_tail_lsn", "last_archived_log_lsn", "last_observed_leader_node",
             "last_record_applied_at"],
            ["last_applied_schema_version", "storage_version"],
        ),
        (
            LEADING,
            ["updated_at"],
            ["last_observed_leader_epoch", "last_applied_log_lsn", "durable_lsn",
             "target_tail_lsn", "last_archived_log_lsn", "last_observed_leader_node",
             "last_record_applied_at"],
        ),
    ],
)  # fmt: skip
def test_what_is_not_known_is_left_out(
    status: ProcessorStatus, present: list[str], absent: list[str]
) -> None:
    """Goal: `-` and `0` differ for the reader. Method: which wrappers exist in the message."""
    node = AliveNode(life(1), 5, 1, {status.partition: status})
    message: Message = (
        cluster_state_message(ClusterState(1.0, MetadataVersions(), {PlainNodeId(1): node}), 1.0)
        .nodes[1]
        .alive.partitions[status.partition]
    )
    assert all(message.HasField(name) for name in present)
    assert not any(message.HasField(name) for name in absent)


def test_message_has_the_numbers_of_the_state() -> None:
    """Goal: modes, versions, ages and times arrive as they are. Method: one of each."""
    node = AliveNode(life(1, 4), 1_700_000_000_123, 57, {FULL.partition: FULL})
    dead = DeadNode(1_600_000_000_500)
    versions = MetadataVersions(nodes_configuration=12, logs=6, schema=1, partition_table=2)
    nodes = {PlainNodeId(1): node, PlainNodeId(2): dead, PlainNodeId(3): DeadNode(None)}
    state = ClusterState(10.0, versions, nodes)
    message = cluster_state_message(state, 11.5)
    assert message.last_refreshed.ToMilliseconds() == 1500
    assert message.nodes_config_version.value == 12
    assert (message.logs_metadata_version.value, message.partition_table_version.value) == (6, 2)
    assert message.nodes[2].dead.last_seen_alive.ToMilliseconds() == 1_600_000_000_500
    assert message.nodes[3].WhichOneof("state") == "dead"
    assert not message.nodes[3].dead.HasField("last_seen_alive")
    alive = message.nodes[1].alive
    assert (alive.generational_node_id.id, alive.generational_node_id.generation) == (1, 4)
    assert (alive.uptime_s, alive.last_heartbeat_at.ToMilliseconds()) == (57, 1_700_000_000_123)
    processor = alive.partitions[3]
    assert (processor.planned_mode, processor.effective_mode) == (1, 2)
    assert (processor.detailed_effective_mode, processor.replay_status) == (3, 3)
    assert (processor.target_tail_lsn.value, processor.durable_lsn.value) == (9, 4)
