"""The controller over a simulated network: placement, failover, rest, and giving up its turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial

from restate_node.fabric.router import Reply
from restate_node.roles.admin.cluster_state import ClusterStateCollector
from restate_node.roles.admin.controller import Controller, NotController
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.fabric import Peer
from restate_node.types.gossip import NodeState as Believed
from restate_node.types.ids import LeaderEpoch, PartitionId, PlainNodeId, Version
from restate_node.types.metadata_kv import VersionedValue
from restate_node.types.partitions import LeadershipPolicy, NodeAffinity
from restate_node.types.processor_messages import (
    ControlAccepted,
    ControlProcessors,
    DetailedRunMode,
    GetNodeState,
    NodeState,
    ProcessorStatus,
    ReplayStatus,
    RunMode,
)
from restate_node.wire.metadata_keys import epoch_metadata_key
from restate_node.wire.partitions import decode_epoch_metadata, encode_epoch_metadata
from tests.roles.admin.admin_world import HandLiveness, Host, MemoryStore, World, life


@dataclass
class FakeWorker:
    """Obeys instructions at once: runs what lists it, leads what names it, claims the epoch."""

    host: Host
    store: MemoryStore
    deaf: bool = False
    goes_on: bool = False
    """When it leads and shall follow, as long as nobody else leads."""
    leads: dict[PartitionId, bool] = field(default_factory=dict[PartitionId, bool])
    told: dict[PartitionId, bool] = field(default_factory=dict[PartitionId, bool])
    """To lead, or to follow."""
    heard: int = 0

    def __post_init__(self) -> None:
        self.host.fabric.router.on(GetNodeState, self.report)
        self.host.fabric.router.on(ControlProcessors, self.obey)

    def report(self, _: Peer, request: GetNodeState, reply: Reply) -> None:
        reply(NodeState(self.host.me, 1, [self.status(p) for p in sorted(self.leads)]))

    def status(self, partition: PartitionId) -> ProcessorStatus:
        lead = self.leads[partition]
        epoch = self.epoch(partition)
        return ProcessorStatus(
            partition,
            RunMode.LEADER if self.told.get(partition, lead) else RunMode.FOLLOWER,
            RunMode.LEADER if lead else RunMode.FOLLOWER,
            DetailedRunMode.LEADER if lead else DetailedRunMode.FOLLOWER,
            ReplayStatus.ACTIVE,
            1,
            observed_epoch=epoch,
        )

    def epoch(self, partition: PartitionId) -> LeaderEpoch:
        return decode_epoch_metadata(self.store.values[epoch_metadata_key(partition)].data).epoch

    def obey(self, _: Peer, control: ControlProcessors, reply: Reply) -> None:
        self.heard += 1
        reply(ControlAccepted())
        if self.deaf:
            return
        for assignment in control.assignments:
            partition = assignment.partition
            metadata = decode_epoch_metadata(assignment.epoch_metadata)
            if self.host.me.id not in metadata.replicas:
                self.leads.pop(partition, None)
                continue
            lead = assignment.target_leader == self.host.me
            self.told[partition] = lead
            if lead and not self.leads.get(partition):
                self.claim(partition)
            self.leads[partition] = lead or (self.goes_on and self.leads.get(partition, False))

    def claim(self, partition: PartitionId) -> None:
        key = epoch_metadata_key(partition)
        claimed = decode_epoch_metadata(self.store.values[key].data)
        claimed = claimed.claim_leadership(self.host.me)
        blob = encode_epoch_metadata(claimed, partition)
        self.store.values[key] = VersionedValue(claimed.version, blob)


@dataclass
class Cluster:
    """Admin nodes with controllers, workers that obey, one store, one opinion of who lives."""

    world: World
    store: MemoryStore = field(default_factory=MemoryStore)
    liveness: HandLiveness = field(default_factory=HandLiveness)
    workers: dict[int, FakeWorker] = field(default_factory=dict[int, FakeWorker])
    controllers: dict[int, Controller] = field(default_factory=dict[int, Controller])
    nodes_expected: int = 1

    def start(self, node: int, generation: int = 1) -> None:
        host = self.world.start(node, generation)
        self.workers[node] = FakeWorker(host, self.store)
        collector = ClusterStateCollector(
            host.cache, self.liveness, host.fabric, self.world.clock, 1500
        )
        controller = Controller(
            host.me, host.cache, self.liveness, collector, self.store, host.fabric,
            self.world.clock, nodes_expected=self.nodes_expected,
        )  # fmt: skip
        collector.start(host.tasks)
        controller.start(host.tasks)
        self.controllers[node] = controller

    def up(self, node: int, generation: int = 1) -> None:
        self.liveness.set(life(node, generation), Believed.ALIVE)

    async def kill(self, node: int) -> None:
        del self.workers[node], self.controllers[node]
        host = self.world.hosts[node]
        generation = host.me.generation
        host.fabric.close("killed")
        await host.tasks.stop(timeout_s=1)
        self.world.kill(node)
        self.liveness.set(life(node, generation), Believed.DEAD)

    def leaders(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for node, worker in sorted(self.workers.items()):
            for partition, lead in worker.leads.items():
                if lead:
                    found.setdefault(partition, []).append(node)
        return found

    def is_led(self, partitions: int, among: set[int]) -> bool:
        leaders = self.leaders()
        return len(leaders) == partitions and all(
            len(nodes) == 1 and nodes[0] in among for nodes in leaders.values()
        )

    def replicas(self, partition: int) -> set[PlainNodeId]:
        blob = self.store.values[epoch_metadata_key(PartitionId(partition))].data
        return set(decode_epoch_metadata(blob).replicas)


def started(loop: SimLoop, nodes: int, partitions: int, copies: int) -> Cluster:
    cluster = Cluster(World(loop))
    for node in range(1, nodes + 1):
        cluster.start(node)
    cluster.world.partition(partitions, copies)
    for node in range(1, nodes + 1):
        cluster.up(node)
    return cluster


def test_fresh_cluster_is_placed_and_led_within_a_second() -> None:
    """Goal: every partition has its copies and one leader, leaders are spread, and only the first
    admin node acts. Method: three nodes come alive together.
    """

    async def scenario(loop: SimLoop) -> Cluster:
        cluster = started(loop, 3, 6, 2)
        await cluster.world.eventually(lambda: cluster.is_led(6, {1, 2, 3}), 1.0)
        return cluster

    for seed in range(5):
        cluster = simulate(seed, scenario).value
        assert all(len(cluster.replicas(p)) == 2 for p in range(6))
        led = [nodes[0] for nodes in cluster.leaders().values()]
        assert max(led.count(node) for node in (1, 2, 3)) <= 3
        assert [c.is_controller for c in cluster.controllers.values()] == [True, False, False]
        assert cluster.controllers[2].instructions_sent == 0
        controller = cluster.controllers[1]
        assert {event.partition for event in controller.events} == set(range(6))
        for kept in controller.events_of(PartitionId(3)):
            assert kept.reason and kept.inputs["replication"] == "{node: 2}"


def test_the_first_placement_waits_for_those_on_their_way() -> None:
    """Goal: a cluster that is founded by three is not placed on two and then moved, and one that
    is founded by two of three begins all the same. Method: the third node comes alive a second
    after the others, or never.
    """

    async def scenario(loop: SimLoop, third: bool) -> Cluster:
        cluster = Cluster(World(loop), nodes_expected=3)
        for node in (1, 2, 3):
            cluster.start(node)
        cluster.world.partition(6, 2)
        for node in (1, 2):
            cluster.up(node)
        if third:
            await asyncio.sleep(1.0)
            assert not cluster.controllers[1].events
            cluster.up(3)
        await cluster.world.eventually(lambda: cluster.is_led(6, {1, 2, 3}), 7.0)
        await asyncio.sleep(5.0)
        return cluster

    for third in (True, False):
        cluster = simulate(1, partial(scenario, third=third)).value
        events = [kept.event.decision for kept in cluster.controllers[1].events]
        assert len([text for text in events if text.startswith("place on")]) == 6
        assert not [text for text in events if text.startswith("move to")]


def test_nothing_is_said_or_written_when_nothing_changes() -> None:
    """Goal: a calm cluster stays calm. Method: thirty virtual seconds after it has settled."""

    async def scenario(loop: SimLoop) -> None:
        cluster = started(loop, 3, 6, 2)
        await cluster.world.eventually(lambda: cluster.is_led(6, {1, 2, 3}), 1.0)
        await cluster.world.eventually(lambda: loop.time() > 15, 20)
        told = [worker.heard for worker in cluster.workers.values()]
        writes, events = cluster.store.writes, len(cluster.controllers[1].events)
        leaders = cluster.leaders()
        await cluster.world.eventually(lambda: loop.time() > 45, 40)
        assert [worker.heard for worker in cluster.workers.values()] == told
        assert cluster.store.writes == writes
        assert len(cluster.controllers[1].events) == events
        assert cluster.leaders() == leaders

    simulate(1, scenario)


def test_leaders_of_a_dead_node_move_at_once_and_its_replicas_later() -> None:
    """Goal: failover within half a second of the verdict; replicas wait for the node's return.

    Method: kill node 3, look at leaders, then at replica sets after the time it is expected back.
    """

    async def scenario(loop: SimLoop) -> None:
        cluster = started(loop, 3, 6, 2)
        await cluster.world.eventually(lambda: cluster.is_led(6, {1, 2, 3}), 1.0)
        await cluster.world.eventually(lambda: loop.time() > 12, 15)
        before = {p: cluster.replicas(p) for p in range(6)}
        await cluster.kill(3)
        await cluster.world.eventually(lambda: cluster.is_led(6, {1, 2}), 0.5)
        assert {p: cluster.replicas(p) for p in range(6)} == before
        moved = {PlainNodeId(1), PlainNodeId(2)}
        await cluster.world.eventually(
            lambda: all(cluster.replicas(p) == moved for p in range(6)), 9
        )

    simulate(2, scenario)


def test_node_that_returns_soon_finds_its_replicas() -> None:
    """Goal: a restart copies nothing and the new life is told its partitions. Method: restart node
    3 within a second, as its next generation.
    """

    async def scenario(loop: SimLoop) -> None:
        cluster = started(loop, 3, 6, 2)
        await cluster.world.eventually(lambda: cluster.is_led(6, {1, 2, 3}), 1.0)
        before = {p: cluster.replicas(p) for p in range(6)}
        mine = {p for p in before if PlainNodeId(3) in before[p]}
        await cluster.kill(3)
        await cluster.world.eventually(lambda: cluster.is_led(6, {1, 2}), 0.5)
        cluster.start(3, generation=2)
        cluster.world.partition(6, 2, version=2)
        cluster.up(3, generation=2)
        await cluster.world.eventually(lambda: set(cluster.workers[3].leads) == mine, 1.0)
        assert {p: cluster.replicas(p) for p in range(6)} == before

    simulate(3, scenario)


def test_new_life_that_leads_already_is_wanted_to_lead() -> None:
    """Goal: who is wanted as the leader is a life, not a node. Method: the new life of node 2 had
    appointed itself, in the moment in which it knew no other controller.
    """

    async def scenario(loop: SimLoop) -> None:
        cluster = started(loop, 2, 2, 1)
        await cluster.world.eventually(lambda: cluster.is_led(2, {1, 2}), 1.0)
        await cluster.world.eventually(lambda: loop.time() > 4, 5)
        partition = next(p for p, leads in cluster.workers[2].leads.items() if leads)
        await cluster.kill(2)
        await cluster.world.eventually(lambda: loop.time() > 5, 6)
        cluster.start(2, generation=2)
        worker = cluster.workers[2]
        worker.goes_on = worker.leads[partition] = True
        worker.claim(partition)
        cluster.world.partition(2, 1, version=2)
        cluster.liveness.set(life(2, 2), Believed.SUSPECT)
        await cluster.world.eventually(lambda: loop.time() > 8, 9)
        cluster.up(2, generation=2)
        await cluster.world.eventually(lambda: worker.told.get(partition, False), 5)

    simulate(7, scenario)


def test_next_admin_takes_over_without_moving_leaders() -> None:
    """Goal: the second controller adopts what it finds. Method: kill node 1, the controller; the
    leaders on the others stay, those of node 1 move; node 1's return moves none.
    """

    async def scenario(loop: SimLoop) -> None:
        cluster = started(loop, 3, 6, 2)
        await cluster.world.eventually(lambda: cluster.is_led(6, {1, 2, 3}), 1.0)
        await cluster.world.eventually(lambda: loop.time() > 4, 5)
        staying = {p: nodes for p, nodes in cluster.leaders().items() if nodes != [1]}
        await cluster.kill(1)
        await cluster.world.eventually(lambda: cluster.is_led(6, {2, 3}), 1.5)
        assert cluster.controllers[2].is_controller
        assert staying.items() <= cluster.leaders().items()
        leaders = cluster.leaders()
        cluster.start(1, generation=2)
        cluster.world.partition(6, 2, version=2)
        cluster.up(1, generation=2)
        await cluster.world.eventually(lambda: cluster.controllers[1].is_controller, 1)
        await cluster.world.eventually(lambda: loop.time() > 8, 9)
        assert not cluster.controllers[2].is_controller
        assert cluster.leaders() == leaders

    simulate(4, scenario)


def test_missing_metadata_store_delays_placement_and_ends_nothing() -> None:
    """Goal: the controller waits and goes on. Method: the store is away while the nodes start."""

    async def scenario(loop: SimLoop) -> None:
        cluster = Cluster(World(loop))
        cluster.store.available = False
        for node in (1, 2):
            cluster.start(node)
        cluster.world.partition(2, 2)
        for node in (1, 2):
            cluster.up(node)
        await cluster.world.eventually(lambda: loop.time() > 5, 6)
        assert cluster.store.values == {}
        cluster.store.available = True
        await cluster.world.eventually(lambda: cluster.is_led(2, {1, 2}), 1.5)
        assert not cluster.world.hosts[1].tasks.is_stopping

    simulate(5, scenario)


def test_worker_that_forgot_is_told_again() -> None:
    """Goal: instructions are repeated until the reports match. Method: a worker accepts and does
    nothing at first.
    """

    async def scenario(loop: SimLoop) -> None:
        cluster = Cluster(World(loop))
        cluster.start(1)
        cluster.workers[1].deaf = True
        cluster.world.partition(1, 1)
        cluster.up(1)
        await cluster.world.eventually(lambda: cluster.workers[1].heard >= 2, 4)
        assert cluster.workers[1].heard < 10
        cluster.workers[1].deaf = False
        await cluster.world.eventually(lambda: cluster.is_led(1, {1}), 3)

    simulate(6, scenario)


def test_pinned_leader_moves_after_resync() -> None:
    """Goal: what an operator writes takes effect when told, not only at the next full read.

    Method: pin partition 0 to the node that follows, resync; the other controller refuses.
    """

    async def scenario(loop: SimLoop) -> None:
        cluster = started(loop, 2, 1, 2)
        await cluster.world.eventually(lambda: cluster.is_led(1, {1, 2}), 1.0)
        await cluster.world.eventually(lambda: loop.time() > 2, 3)
        other = 3 - cluster.leaders()[0][0]
        key = epoch_metadata_key(PartitionId(0))
        metadata = decode_epoch_metadata(cluster.store.values[key].data)
        policy = LeadershipPolicy(NodeAffinity(PlainNodeId(other)))
        pinned = metadata.with_leadership_policy(policy)
        blob = encode_epoch_metadata(pinned, PartitionId(0))
        cluster.store.values[key] = VersionedValue(pinned.version, blob)
        await cluster.controllers[1].resync([PartitionId(0), PartitionId(77)])
        await cluster.world.eventually(lambda: cluster.leaders() == {0: [other]}, 1.0)
        try:
            await cluster.controllers[2].resync([])
        except NotController as error:
            assert str(error) == "Not the cluster controller leader"
        else:
            raise AssertionError("only the controller may be told")

    simulate(7, scenario)


def test_missed_poll_is_no_death() -> None:
    """Goal: a living node that does not answer in time keeps its leaders. Method: node 2 stops
    answering polls while the failure detector hears it.
    """

    async def scenario(loop: SimLoop) -> None:
        cluster = started(loop, 2, 2, 2)
        await cluster.world.eventually(lambda: cluster.is_led(2, {1, 2}), 1.0)
        await cluster.world.eventually(lambda: loop.time() > 3, 4)
        leaders, events = cluster.leaders(), len(cluster.controllers[1].events)
        router = cluster.world.hosts[2].fabric.router
        router.forget(GetNodeState)
        await cluster.world.eventually(lambda: loop.time() > 6, 4)
        router.on(GetNodeState, cluster.workers[2].report)
        await cluster.world.eventually(lambda: loop.time() > 9, 4)
        assert cluster.leaders() == leaders
        assert len(cluster.controllers[1].events) == events

    simulate(8, scenario)


def test_malformed_epoch_metadata_is_left_alone() -> None:
    """Goal: what cannot be understood is not overwritten. Method: garbage under one key."""

    async def scenario(loop: SimLoop) -> None:
        cluster = Cluster(World(loop))
        key = epoch_metadata_key(PartitionId(0))
        garbage = VersionedValue(Version(5), b"\x05{")
        cluster.store.values[key] = garbage
        cluster.start(1)
        cluster.world.partition(2, 1)
        cluster.up(1)
        await cluster.world.eventually(lambda: 1 in cluster.leaders(), 1.0)
        reads = cluster.store.reads
        await cluster.world.eventually(lambda: loop.time() > 6, 7)
        assert cluster.store.values[key] is garbage
        assert cluster.store.reads - reads < 10

    simulate(9, scenario)


def test_new_controller_hears_everybody_before_it_decides() -> None:
    """Goal: a leader whose first report is late is not deposed by a new controller. Method: node 2
    misses the first polls after node 1, the controller, died.
    """

    async def scenario(loop: SimLoop) -> None:
        cluster = started(loop, 3, 3, 3)
        await cluster.world.eventually(lambda: cluster.is_led(3, {1, 2, 3}), 1.0)
        await cluster.world.eventually(lambda: loop.time() > 3, 4)
        of_third = [p for p, nodes in cluster.leaders().items() if nodes == [3]]
        router = cluster.world.hosts[3].fabric.router
        router.forget(GetNodeState)
        await cluster.kill(1)
        await cluster.world.eventually(lambda: loop.time() > 4, 4)
        router.on(GetNodeState, cluster.workers[3].report)
        await cluster.world.eventually(lambda: cluster.is_led(3, {2, 3}), 1.5)
        assert of_third and all(cluster.leaders()[p] == [3] for p in of_third)
        assert not {e.partition for e in cluster.controllers[2].events}.intersection(of_third)

    simulate(10, scenario)
