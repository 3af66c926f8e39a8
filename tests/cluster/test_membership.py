"""Membership over a real fabric: nodes in one process, frames passed from memory to memory."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from restate_node.cluster.membership import Membership
from restate_node.fabric.fabric import Fabric
from restate_node.fabric.router import Reply
from restate_node.protocol.handshake import Identity
from restate_node.runtime.ports import FrameAcceptor, FrameConnection, FrameReceiver, Unreachable
from restate_node.runtime.tasks import TaskCenter
from restate_node.runtime.watch import Watch
from restate_node.types.fabric import Peer, Swimlane
from restate_node.types.gossip import Gossip, NodeState, Phase
from restate_node.types.ids import (
    GenerationalNodeId,
    LeaderEpoch,
    PartitionId,
    PlainNodeId,
    Version,
)
from restate_node.types.metadata import MetadataVersions
from restate_node.types.nodes import Node, NodesConfiguration
from restate_node.types.options import GossipOptions

T = TypeVar("T")

OPTIONS = GossipOptions(tick_interval_ms=10, suspect_interval_ms=50)
PATIENCE_S = 10.0
"""Longer than any healthy run, however busy the machine is."""


class MemoryConnection:
    """One end of a pair; frames arrive in the next turn of the loop."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.backlog_bytes = 0
        self.receiver: FrameReceiver | None = None
        self.other: MemoryConnection | None = None

    def send(self, frame: bytes) -> None:
        other = self.other
        if other is not None:
            asyncio.get_running_loop().call_soon(other.deliver, frame)

    def deliver(self, frame: bytes) -> None:
        if self.receiver is not None:
            self.receiver.frames_received([frame])

    async def drained(self) -> None:
        return

    def close(self, reason: str) -> None:
        other, self.other = self.other, None
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            asyncio.get_running_loop().call_soon(receiver.connection_lost, reason)
        if other is not None:
            other.close(reason)


@dataclass
class Network:
    """Who listens where; a killed node is taken out together with its connections."""

    acceptors: dict[str, FrameAcceptor] = field(default_factory=dict)
    connections: dict[str, list[MemoryConnection]] = field(default_factory=dict)

    def kill(self, address: str) -> None:
        self.acceptors.pop(address, None)
        for connection in self.connections.pop(address, []):
            connection.close("killed")


class MemoryTransport:
    def __init__(self, network: Network, address: str) -> None:
        self._network = network
        self._address = address

    async def connect(
        self, address: str, lane: Swimlane, receiver: FrameReceiver
    ) -> FrameConnection:
        acceptor = self._network.acceptors.get(address)
        if acceptor is None:
            raise Unreachable("nobody listens")
        mine, theirs = MemoryConnection(address), MemoryConnection(self._address)
        mine.other, theirs.other, mine.receiver = theirs, mine, receiver
        theirs.receiver = acceptor(theirs)
        for end, connection in ((self._address, mine), (address, theirs)):
            self._network.connections.setdefault(end, []).append(connection)
        return mine

    def accept(self, acceptor: FrameAcceptor) -> None:
        self._network.acceptors[self._address] = acceptor


class MemoryDirectory:
    def __init__(self, me: GenerationalNodeId, nodes: Watch[NodesConfiguration | None]) -> None:
        self._identity = Identity("test", 1, me)
        self._nodes = nodes

    def identity(self) -> Identity:
        return self._identity

    def address_of(self, node: PlainNodeId) -> str | None:
        member = self._nodes.value.node(node) if self._nodes.value else None
        return None if member is None else member.address

    def generation_of(self, node: PlainNodeId) -> int:
        member = self._nodes.value.node(node) if self._nodes.value else None
        return 0 if member is None else member.current_generation.generation

    def versions(self) -> MetadataVersions:
        return MetadataVersions()

    def observed(self, peer: Peer, versions: MetadataVersions) -> None:
        return


@dataclass
class RealClock:
    ahead_ms: int = 0

    def unix_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def monotonic(self) -> float:
        return time.monotonic()


@dataclass
class RunningNode:
    membership: Membership
    tasks: TaskCenter
    fabric: Fabric
    address: str


def life(node: int, generation: int = 1) -> GenerationalNodeId:
    return GenerationalNodeId(PlainNodeId(node), generation)


class World:
    """Nodes that share one nodes configuration."""

    def __init__(self) -> None:
        self.network = Network()
        self.nodes: Watch[NodesConfiguration | None] = Watch(None)
        self.running: dict[int, RunningNode] = {}

    def start(self, node: int, generation: int = 1, clock_ahead_ms: int = 0) -> Membership:
        me, address = life(node, generation), f"memory-{node}"
        before = self.nodes.value or NodesConfiguration(Version(0), "test")
        self.nodes.set(before.updated(Node(f"n{node}", me, address, frozenset()), None))
        tasks = TaskCenter()
        directory = MemoryDirectory(me, self.nodes)
        transport = MemoryTransport(self.network, address)
        fabric = Fabric(transport, directory, tasks, random.Random(node))
        membership = Membership(
            me, fabric, self.nodes, OPTIONS, RealClock(clock_ahead_ms), random.Random(node)
        )
        membership.start(tasks)
        self.running[node] = RunningNode(membership, tasks, fabric, address)
        return membership

    async def kill(self, node: int) -> None:
        victim = self.running.pop(node)
        self.network.kill(victim.address)
        await victim.tasks.stop(timeout_s=1.0)

    async def all_see(self, node: int, state: NodeState) -> None:
        for running in self.running.values():
            await eventually(
                running.membership.states, lambda states: states.get(PlainNodeId(node)) is state
            )


@asynccontextmanager
async def world(count: int) -> AsyncIterator[World]:
    made = World()
    try:
        for node in range(1, count + 1):
            made.start(node).ready()
        yield made
    finally:
        for node in list(made.running):
            await made.kill(node)


async def eventually(watch: Watch[T], condition: Callable[[T], bool]) -> T:
    async with asyncio.timeout(PATIENCE_S):
        return await watch.until(condition)


async def test_nodes_find_each_other_and_notice_a_death_and_a_return() -> None:
    """Goal: the life cycle of a peer reaches the watches.

    Method: three nodes; kill one without a word, start its next generation.
    """
    async with world(3) as cluster:
        everybody = {life(1), life(2), life(3)}
        for running in list(cluster.running.values()):
            await eventually(running.membership.alive, lambda alive: alive == everybody)
        await cluster.kill(3)
        await cluster.all_see(3, NodeState.DEAD)
        first = cluster.running[1].membership
        seen_ms = first.last_seen_ms(PlainNodeId(3))
        assert seen_ms is not None and 0 < RealClock().unix_ms() - seen_ms < 60_000
        assert first.alive.value == {life(1), life(2)}

        cluster.start(3, generation=2).ready()
        await eventually(first.alive, lambda alive: life(3, 2) in alive)
        assert life(3, 1) not in first.alive.value


async def test_node_says_when_it_is_ready_and_when_it_leaves() -> None:
    """Goal: the two announcements count at once, here and there. Method: walk through them."""
    async with world(2) as cluster:
        third = cluster.start(3)
        assert third.state_of(PlainNodeId(3)) is NodeState.SUSPECT
        assert life(3) not in third.alive.value
        third.ready()
        assert life(3) in third.alive.value
        await cluster.all_see(3, NodeState.ALIVE)
        third.failing_over()
        assert third.state_of(PlainNodeId(3)) is NodeState.FAILING_OVER
        assert life(3) not in third.alive.value
        await cluster.all_see(3, NodeState.FAILING_OVER)


async def test_leaders_spread() -> None:
    """Goal: a leadership announced by one node is known to all, the highest epoch in the end.

    Method: two nodes claim one partition, one of them with many more.
    """
    async with world(3) as cluster:
        await cluster.all_see(3, NodeState.ALIVE)
        first, second = cluster.running[1].membership, cluster.running[2].membership
        for partition in range(50):
            first.announce_leadership(PartitionId(partition), LeaderEpoch(3))
        second.announce_leadership(PartitionId(7), LeaderEpoch(4))
        second.announce_leadership(PartitionId(8), LeaderEpoch(2))
        leaders = {partition: life(1) for partition in range(50)} | {7: life(2)}
        for running in cluster.running.values():
            await eventually(
                running.membership.leaders,
                lambda known: {p: entry.node for p, entry in known.items()} == leaders,
            )


async def test_removed_node_disappears_and_strangers_are_dead() -> None:
    """Goal: states follow the nodes configuration. Method: remove a node that still talks."""
    async with world(3) as cluster:
        await cluster.all_see(3, NodeState.ALIVE)
        nodes = cluster.nodes.value
        assert nodes is not None
        cluster.nodes.set(nodes.removed(PlainNodeId(3), None))
        first = cluster.running[1].membership
        await eventually(first.states, lambda states: PlainNodeId(3) not in states)
        assert first.state_of(PlainNodeId(3)) is NodeState.DEAD
        assert first.last_seen_ms(PlainNodeId(3)) is None


async def test_announcements_of_one_moment_travel_in_one_message() -> None:
    """Goal: taking over many partitions is one urgent message. Method: count what node 2 gets."""
    async with world(2) as cluster:
        await cluster.all_see(2, NodeState.ALIVE)
        second = cluster.running[2]
        news: asyncio.Future[Gossip] = asyncio.get_running_loop().create_future()

        def listen(peer: Peer, gossip: Gossip, reply: Reply) -> None:
            if gossip.leaderships and not news.done():
                news.set_result(gossip)

        second.fabric.router.forget(Gossip)
        second.fabric.router.on(Gossip, listen)
        first = cluster.running[1].membership
        for partition in range(30):
            first.announce_leadership(PartitionId(partition), LeaderEpoch(1))
        gossip = await asyncio.wait_for(news, PATIENCE_S)
        assert len(gossip.leaderships) == 30
        assert gossip.sender.phase is Phase.READY


async def test_wall_clock_ahead_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Goal: an operator learns of a wrong clock, without a flood, and nobody dies of it.

    Method: let one of two nodes live five seconds ahead, and be heard at least twice.
    """
    async with world(1) as cluster:
        second = cluster.start(2, clock_ahead_ms=5000)
        second.ready()
        await cluster.all_see(2, NodeState.ALIVE)
        await cluster.all_see(1, NodeState.ALIVE)
        second.failing_over()
        await cluster.all_see(2, NodeState.FAILING_OVER)
        assert capsys.readouterr().out.count("wall clocks differ") == 1
