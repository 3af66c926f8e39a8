"""Replica sets and leaders: each rule by table, then whole clusters that must come to rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restate_node.protocol.cluster_view import ClusterView, ProcessorMode, ProcessorStatus
from restate_node.protocol.leaders import AppointLeader
from restate_node.protocol.placement import (
    CompleteReconfiguration,
    Decision,
    Reconfigure,
    SetInitialReplicas,
    plan,
    unplaceable,
)
from restate_node.types.ids import GenerationalNodeId, PartitionId, PlainNodeId, Version
from restate_node.types.nodes import Node, NodeLocation, NodesConfiguration, Role, WorkerState
from restate_node.types.partitions import (
    EpochMetadata,
    LeadershipPolicy,
    LocationAffinity,
    NodeAffinity,
    PartitionTable,
    PlacementPolicy,
)
from restate_node.types.replication import ReplicationProperty

P0 = PartitionId(0)
LEADER = ProcessorStatus(ProcessorMode.LEADER, replay_active=True)
CANDIDATE = ProcessorStatus(ProcessorMode.CANDIDATE, replay_active=True)
FOLLOWER = ProcessorStatus(ProcessorMode.FOLLOWER, replay_active=True)
BEHIND = ProcessorStatus(ProcessorMode.FOLLOWER, replay_active=False)


def life(number: int, generation: int = 1) -> GenerationalNodeId:
    return GenerationalNodeId(PlainNodeId(number), generation)


@dataclass
class Cluster:
    """A cluster that obeys: it carries out plans, and its processors do as they are told."""

    size: int = 3
    partitions: int = 4
    replication: str | None = "2"
    locations: tuple[str, ...] = ()
    dead: set[int] = field(default_factory=set[int])
    states: dict[int, WorkerState] = field(default_factory=dict[int, WorkerState])
    epochs: dict[PartitionId, EpochMetadata] = field(
        default_factory=dict[PartitionId, EpochMetadata]
    )
    leaders: dict[PartitionId, PlainNodeId] = field(default_factory=dict[PartitionId, PlainNodeId])

    def nodes(self) -> NodesConfiguration:
        nodes = NodesConfiguration(Version(0), "c")
        for number in range(1, self.size + 1):
            node = Node(
                f"n{number}",
                life(number),
                "http://n/",
                frozenset((Role.WORKER,)),
                location=NodeLocation.parse(self.locations[number - 1] if self.locations else ""),
                worker_state=self.states.get(number, WorkerState.ACTIVE),
            )
            nodes = nodes.updated(node, None)
        return nodes

    def living(self) -> set[int]:
        return set(range(1, self.size + 1)) - self.dead

    def view(self) -> ClusterView:
        replication = self.replication and ReplicationProperty.parse(self.replication)
        statuses = {
            (node, partition): LEADER if self.leaders.get(partition) == node else FOLLOWER
            for partition, epoch in self.epochs.items()
            for node in epoch.replicas & self.living()
        }
        return ClusterView(
            nodes=self.nodes(),
            table=PartitionTable.equal_ranges(self.partitions, replication or None),
            epochs=dict(self.epochs),
            alive=frozenset(life(number) for number in self.living()),
            processors=statuses,
        )

    def obey(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            epoch = self.epochs.get(decision.partition, EpochMetadata(Version(0)))
            match decision:
                case SetInitialReplicas(_, wanted):
                    epoch = epoch.set_initial_current(wanted.replication, wanted.replica_set, 1)
                case Reconfigure(_, wanted):
                    epoch = epoch.reconfigure(wanted.replication, wanted.replica_set, 1)
                case CompleteReconfiguration():
                    epoch = epoch.complete()
                case AppointLeader(_, node):
                    assert node in self.living()
                    epoch = epoch.claim_leadership(life(node))
                    self.leaders[decision.partition] = node
            self.epochs[decision.partition] = epoch

    def settle(self) -> int:
        """Plan and obey until nothing is left to do; the number of rounds that did something."""
        for rounds in range(20):
            view = self.view()
            decisions = plan(view)
            if not decisions:
                return rounds
            appointed = {d.partition: d.node for d in decisions if isinstance(d, AppointLeader)}
            assert plan(replace(view, targets=appointed)) == decisions, "changed its mind"
            self.obey(decisions)
        raise AssertionError(f"no rest after 20 rounds: {plan(self.view())}")

    def sets(self) -> dict[PartitionId, frozenset[PlainNodeId]]:
        return {p: frozenset(e.placed.replica_set) for p, e in self.epochs.items() if e.placed}


def settled(**fields: object) -> Cluster:
    cluster = Cluster(**fields)  # type: ignore[arg-type]
    cluster.settle()
    return cluster


@pytest.mark.parametrize(
    ("size", "partitions", "replication"),
    [(1, 4, "1"), (3, 4, "1"), (3, 4, "2"), (3, 24, "2"), (5, 24, "3"), (9, 64, "2"), (4, 3, "4")],
)
def test_a_new_cluster_is_balanced(size: int, partitions: int, replication: str) -> None:
    """Goal: replicas and leaders are spread evenly. Method: place from nothing, count."""
    cluster = settled(size=size, partitions=partitions, replication=replication)
    copies = int(replication)
    assert all(len(replicas) == copies for replicas in cluster.sets().values())
    load = Counter(node for replicas in cluster.sets().values() for node in replicas)
    counts = [load[PlainNodeId(n)] for n in range(1, size + 1)]
    assert max(counts) - min(counts) <= 1
    leading = Counter(cluster.leaders.values())
    assert set(cluster.leaders) == set(cluster.sets())
    assert max(leading.values()) <= -(-partitions // size) + 1
    assert all(cluster.leaders[p] in replicas for p, replicas in cluster.sets().items())


def test_too_few_workers_place_nothing_and_say_so() -> None:
    """Goal: the replication is not bent, and is met later.

    Method: two copies on one node, then two.
    """
    cluster = Cluster(size=1, partitions=2)
    assert plan(cluster.view()) == []
    assert unplaceable(cluster.view()) == [0, 1]
    cluster.size = 2
    assert {type(d) for d in plan(cluster.view())} == {SetInitialReplicas}
    assert unplaceable(cluster.view()) == []


def test_everywhere_means_every_active_worker() -> None:
    """Goal: tables of old clusters. Method: no limit; add a node; drain one."""
    cluster = settled(replication=None)
    assert set(cluster.sets().values()) == {frozenset((1, 2, 3))}
    cluster.size = 4
    cluster.settle()
    assert set(cluster.sets().values()) == {frozenset((1, 2, 3, 4))}
    cluster.states[2] = WorkerState.DRAINING
    cluster.settle()
    assert set(cluster.sets().values()) == {frozenset((1, 3, 4))}


def test_a_dead_node_is_replaced_and_only_its_partitions_move() -> None:
    """Goal: survivors stay, leaders move at once. Method: kill one of four, then bring it back."""
    cluster = settled(size=4, partitions=12)
    before, leaders = cluster.sets(), dict(cluster.leaders)
    cluster.dead = {2}
    first = plan(cluster.view())
    appointed = {d.partition for d in first if isinstance(d, AppointLeader)}
    assert appointed == {p for p, leader in leaders.items() if leader == 2}
    cluster.settle()
    for partition, replicas in cluster.sets().items():
        assert 2 not in replicas
        assert len(replicas & before[partition]) >= 1
    cluster.dead = set()
    cluster.settle()
    assert 2 in Counter(n for replicas in cluster.sets().values() for n in replicas)


def test_a_restart_moves_leaders_but_no_replicas() -> None:
    """Goal: a short absence copies no partition.

    Method: one of three dies, expected back or not.
    """
    cluster = settled(partitions=6)
    led = {p for p, leader in cluster.leaders.items() if leader == 1}
    cluster.dead = {1}
    absent = replace(cluster.view(), expected_back=frozenset((PlainNodeId(1),)))
    decisions = plan(absent)
    assert {type(d) for d in decisions} == {AppointLeader}
    assert {d.partition for d in decisions} == led
    assert Reconfigure in {type(d) for d in plan(cluster.view())}

    cluster.partitions = 9
    placed = plan(replace(cluster.view(), expected_back=frozenset((PlainNodeId(1),))))
    sets = [d.wanted.replica_set for d in placed if isinstance(d, SetInitialReplicas)]
    assert [set(s) for s in sets] == [{2, 3}] * 3


def test_a_dead_node_without_a_substitute_keeps_its_place() -> None:
    """Goal: no change that cannot help. Method: kill one of two with two copies."""
    cluster = settled(size=2)
    before = cluster.sets()
    cluster.dead = {1}
    assert {type(d) for d in plan(cluster.view())} <= {AppointLeader}
    cluster.settle()
    assert cluster.sets() == before
    assert set(cluster.leaders.values()) == {2}


@pytest.mark.parametrize("state", [WorkerState.DRAINING, WorkerState.DISABLED])
def test_a_drained_node_owns_nothing(state: WorkerState) -> None:
    """Goal: draining ends with no replica and no leader there. Method: drain one of three."""
    cluster = settled(partitions=6)
    cluster.states[1] = state
    cluster.settle()
    assert set(cluster.sets().values()) == {frozenset((2, 3))}
    assert set(cluster.leaders.values()) <= {2, 3}


def test_a_new_node_takes_its_share() -> None:
    """Goal: growth relieves the old nodes. Method: one node leads all, then two join."""
    cluster = settled(size=1, partitions=12, replication="1")
    cluster.size = 3
    cluster.settle()
    load = Counter(node for replicas in cluster.sets().values() for node in replicas)
    assert sorted(load.values()) == [4, 4, 4]
    assert max(Counter(cluster.leaders.values()).values()) <= 5


def test_new_replication_goes_through_next() -> None:
    """Goal: a change of replication is a reconfiguration.

    Method: from one copy to two, by steps.
    """
    cluster = settled(partitions=2, replication="1")
    cluster.replication = "2"
    decisions = plan(cluster.view())
    assert [type(d) for d in decisions] == [Reconfigure, Reconfigure]
    assert "from {node: 1} to {node: 2}" in decisions[0].reason
    cluster.obey(decisions)
    assert {type(d) for d in plan(cluster.view())} == {CompleteReconfiguration}
    cluster.settle()
    assert all(len(replicas) == 2 for replicas in cluster.sets().values())


def test_zones_are_respected() -> None:
    """Goal: copies are in different zones, also after a loss. Method: three zones of two nodes."""
    zones = ("a.1", "a.1", "a.2", "a.2", "a.3", "a.3")
    cluster = settled(size=6, partitions=9, replication="{node: 2, zone: 2}", locations=zones)

    def zone_counts() -> set[int]:
        return {len({zones[n - 1] for n in replicas}) for replicas in cluster.sets().values()}

    assert zone_counts() == {2}
    cluster.dead = {3, 4}
    cluster.settle()
    assert zone_counts() == {2}
    assert not any(replicas & {3, 4} for replicas in cluster.sets().values())


TWO = ReplicationProperty.of_nodes(2)


def one_partition(
    statuses: dict[int, ProcessorStatus],
    policy: LeadershipPolicy | None = None,
    *,
    leader: int | None = 1,
    replicas: tuple[int, ...] = (1, 2),
    targets: dict[PartitionId, PlainNodeId] | None = None,
    alive: tuple[int, ...] = (1, 2, 3),
    states: dict[int, WorkerState] | None = None,
) -> ClusterView:
    """Partition 0 of one, two copies, with exactly these reports."""
    nodes = tuple(PlainNodeId(n) for n in replicas)
    epoch = EpochMetadata(Version(0)).set_initial_current(TWO, nodes, 1)
    if leader is not None:
        epoch = epoch.claim_leadership(life(leader))
    epoch = replace(epoch, leadership_policy=policy or LeadershipPolicy())
    epoch = replace(epoch, placement_policy=PlacementPolicy("this test is about leaders"))
    locations = ("a.1", "a.2", "b.1")
    cluster = Cluster(partitions=1, locations=locations, states=states or {})
    return replace(
        cluster.view(),
        epochs={P0: epoch},
        alive=frozenset(life(n) for n in alive),
        processors={(PlainNodeId(n), P0): status for n, status in statuses.items()},
        targets=targets or {},
    )


ON_2 = LeadershipPolicy(NodeAffinity(PlainNodeId(2)))
ON_A2 = LeadershipPolicy(LocationAffinity(NodeLocation("a", "2")))
FROZEN = LeadershipPolicy(freeze_reason="maintenance")


@pytest.mark.parametrize(
    ("view", "node", "reason"),
    [
        (one_partition({1: LEADER, 2: FOLLOWER}), None, ""),
        (one_partition({1: CANDIDATE, 2: FOLLOWER}), None, ""),
        (one_partition({1: BEHIND, 2: FOLLOWER}), 2, "no leader"),
        (one_partition({1: FOLLOWER, 2: BEHIND}), 1, "no leader"),
        (one_partition({2: BEHIND}, alive=(2, 3)), 2, "no leader"),
        (one_partition({}, alive=(3,)), None, ""),
        (one_partition({2: BEHIND}, leader=None), 2, "no leader"),
        # The one appointed before is on its way: do not appoint another.
        (one_partition({1: FOLLOWER, 2: FOLLOWER}, targets={P0: PlainNodeId(1)}), 1, "no leader"),
        (one_partition({1: FOLLOWER, 2: FOLLOWER}, targets={P0: PlainNodeId(2)}), 2, "no leader"),
        # Where the operator wants it, once it can take over.
        (one_partition({1: LEADER, 2: FOLLOWER}, ON_2), 2, "wanted on N2"),
        (one_partition({1: LEADER, 2: BEHIND}, ON_2), None, ""),
        (one_partition({1: LEADER, 2: CANDIDATE}, ON_2), None, ""),
        (one_partition({1: FOLLOWER, 2: FOLLOWER}, ON_2), 2, "no leader"),
        (one_partition({1: FOLLOWER, 2: BEHIND}, ON_2), 1, "no leader"),
        (one_partition({1: LEADER, 2: FOLLOWER}, ON_A2), 2, "wanted on N2"),
        # Frozen: never another node; told again after a restart.
        (one_partition({1: LEADER, 2: FOLLOWER}, FROZEN), None, ""),
        (one_partition({1: FOLLOWER, 2: FOLLOWER}, FROZEN), 1, "frozen"),
        (one_partition({2: FOLLOWER}, FROZEN, alive=(2, 3)), None, ""),
        # No longer a replica, or leaving.
        (one_partition({3: LEADER, 1: FOLLOWER, 2: BEHIND}, leader=3), 1, "no longer a replica"),
        (one_partition({3: LEADER, 1: BEHIND, 2: BEHIND}, leader=3), None, ""),
        (
            one_partition({1: LEADER, 2: FOLLOWER}, states={1: WorkerState.DRAINING}),
            2,
            "takes no more",
        ),
        (
            one_partition({1: LEADER, 2: BEHIND}, states={1: WorkerState.DRAINING}),
            None,
            "",
        ),
        # Two that say they lead: the one of the latest epoch counts.
        (
            one_partition({3: LEADER, 1: LEADER, 2: FOLLOWER}, ON_2, leader=3),
            2,
            "no longer a replica",
        ),
        (one_partition({1: LEADER, 2: LEADER}, leader=2), None, ""),
    ],
)
def test_leader_of_one_partition(view: ClusterView, node: int | None, reason: str) -> None:
    """Goal: each rule of the election. Method: table of reports and policies."""
    decisions = plan(view)
    if node is None:
        assert decisions == []
        return
    (decision,) = decisions
    assert isinstance(decision, AppointLeader)
    assert decision.node == node
    assert reason in decision.reason


def test_an_overloaded_leader_gives_some_away() -> None:
    """Goal: leaders spread out by themselves, and no further than needed.

    Method: all on one node.
    """
    cluster = settled(size=3, partitions=9, replication="3")
    for partition, epoch in cluster.epochs.items():
        cluster.epochs[partition] = epoch.claim_leadership(life(1))
        cluster.leaders[partition] = PlainNodeId(1)
    decisions = plan(cluster.view())
    assert len(decisions) == 9 - (3 + 1)
    assert "more than 4" in decisions[0].reason
    assert cluster.settle() == 1
    assert max(Counter(cluster.leaders.values()).values()) == 4


def test_an_overload_that_cannot_be_evened_out_rests() -> None:
    """Goal: no leader goes to and fro.

    Method: nine partitions pinned to two of five nodes, 5 : 4.
    """
    cluster = Cluster(size=5, partitions=9)
    pair = (PlainNodeId(1), PlainNodeId(2))
    for number in range(9):
        node = pair[number % 2]
        epoch = EpochMetadata(Version(0)).set_initial_current(TWO, pair, 1)
        epoch = epoch.with_placement_policy(PlacementPolicy("pinned"))
        cluster.epochs[PartitionId(number)] = epoch.claim_leadership(life(node))
        cluster.leaders[PartitionId(number)] = node
    assert plan(cluster.view()) == []


def test_frozen_placement_stays_but_completes() -> None:
    """Goal: an operator's set is put in place and kept. Method: write next with a freeze."""
    cluster = settled(size=3, partitions=1)
    pinned = tuple(sorted(cluster.sets()[P0]))[:1]
    epoch = cluster.epochs[P0].reconfigure(ReplicationProperty.of_nodes(1), pinned, 2)
    cluster.epochs[P0] = epoch.with_placement_policy(PlacementPolicy("mine"))
    assert isinstance(plan(cluster.view())[0], CompleteReconfiguration)
    cluster.settle()
    assert cluster.sets()[P0] == frozenset(pinned)


def moving(next_set: tuple[int, ...], statuses: dict[int, ProcessorStatus]) -> ClusterView:
    view = one_partition(statuses)
    nodes = tuple(PlainNodeId(n) for n in next_set)
    return replace(view, epochs={P0: view.epochs[P0].reconfigure(TWO, nodes, 1)})


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (moving((2, 3), {1: LEADER, 3: BEHIND}), None),
        (moving((2, 3), {1: LEADER, 3: FOLLOWER}), "N3 has caught up"),
        # What a dead node reported last does not count.
        (
            replace(moving((3,), {1: LEADER, 3: FOLLOWER}), alive=frozenset((life(1), life(2)))),
            None,
        ),
        (moving((), {1: LEADER}), "is empty"),
        (
            replace(
                moving((3,), {3: BEHIND}),
                nodes=Cluster(states={1: WorkerState.DISABLED, 2: WorkerState.DISABLED}).nodes(),
            ),
            "every present replica is disabled",
        ),
    ],
)
def test_when_a_move_is_complete(view: ClusterView, reason: str | None) -> None:
    """Goal: the three ways to complete, and waiting otherwise. Method: table."""
    completions = [d for d in plan(view) if isinstance(d, CompleteReconfiguration)]
    assert [reason in d.reason for d in completions if reason] == ([True] if reason else [])
    assert bool(completions) == (reason is not None)


EVENTS = st.lists(
    st.tuples(st.sampled_from(["kill", "revive", "drain", "activate"]), st.integers(1, 6)),
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(
    size=st.integers(1, 6),
    partitions=st.integers(1, 12),
    replication=st.sampled_from(["1", "2", "3", "{node: 2, zone: 2}"]),
    events=EVENTS,
)
def test_any_cluster_comes_to_rest(
    size: int, partitions: int, replication: str, events: list[tuple[str, int]]
) -> None:
    """
    Goal: after any history an obeyed plan leads to rest, and what can have a leader has one.

    Method: random clusters and events; `settle` fails if plans never end.
    """
    zones = ("a.1", "a.2", "a.3", "a.1", "a.2", "a.3")
    cluster = Cluster(size, partitions, replication, zones)
    cluster.settle()
    for name, number in events:
        match name:
            case "kill":
                cluster.dead.add(number)
            case "revive":
                cluster.dead.discard(number)
            case "drain":
                cluster.states[number] = WorkerState.DRAINING
            case _:
                cluster.states.pop(number, None)
        cluster.settle()
        for partition, replicas in cluster.sets().items():
            if replicas & cluster.living():
                assert cluster.leaders[partition] in cluster.living()
