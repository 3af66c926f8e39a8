"""The failure detector as a cluster sees it: seeded runs with loss, pauses, splits and kills."""

from __future__ import annotations

import pytest

from restate_node.protocol.gossip_leaders import LEADERSHIPS_PER_MESSAGE_MAX
from restate_node.types.gossip import Leadership, NodeState, Phase
from restate_node.types.ids import LeaderEpoch, PartitionId, PlainNodeId
from tests.protocol.gossip_cluster import Cluster, life

SEEDS = range(5)
SIZES = (2, 3, 5, 7)


def settled(count: int, seed: int) -> Cluster:
    cluster = Cluster(count, seed)
    cluster.run_until(cluster.all_alive, 1000)
    cluster.run(1500)
    assert cluster.all_alive()
    return cluster


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", SIZES)
def test_fresh_cluster_is_alive_at_once(count: int, seed: int) -> None:
    """Goal: nodes that start together agree within a second that all are alive.

    Method: start, and take the time.
    """
    cluster = Cluster(count, seed)
    assert cluster.run_until(cluster.all_alive, 1000) <= 500


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", SIZES)
def test_killed_node_is_dead_in_time(count: int, seed: int) -> None:
    """Goal: a killed node is dead to all after one threshold and a little, and no other one is.

    Method: kill one, take the time.
    """
    cluster = settled(count, seed)
    cluster.kill(1)
    took_ms = cluster.run_until(lambda: cluster.all_think(1, NodeState.DEAD), 2000)
    assert 900 <= took_ms <= (1300 if count <= 3 else 1600)
    assert cluster.all_alive()


@pytest.mark.parametrize("seed", SEEDS)
def test_restarted_node_is_alive_at_once(seed: int) -> None:
    """Goal: a new life serves no probation, whether or not the former one was found dead.

    Method: kill and restart, quickly and slowly.
    """
    cluster = settled(3, seed)
    for absent_ms in (200, 3000):
        cluster.kill(2)
        cluster.run(absent_ms)
        cluster.restart(2)
        assert cluster.run_until(cluster.all_alive, 1000) <= 500


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", SIZES)
def test_restarted_node_accuses_nobody_whose_link_backs_off(count: int, seed: int) -> None:
    """Goal: others may need a while to connect again; the restarted node asks before it accuses.

    Method: after the restart only node 2 itself can open connections to the others, for 3 s.
    """
    cluster = settled(count, seed)
    cluster.kill(2)
    cluster.run(3000)
    cluster.restart(2)
    cluster.cannot_connect = {(node, 2) for node in cluster.processes}
    cluster.run_until(cluster.all_alive, 1000)

    def all_are_alive() -> None:
        assert cluster.all_alive()

    cluster.run(3000, all_are_alive)
    cluster.cannot_connect.clear()
    cluster.run(1000, all_are_alive)


@pytest.mark.parametrize("seed", SEEDS)
def test_paused_node_accuses_nobody_and_comes_back(seed: int) -> None:
    """Goal: a node that was stopped finds its peers alive, always; they put it on probation.

    Method: pause for many thresholds with its mail waiting, resume, watch every step.
    """
    cluster = settled(3, seed)
    cluster.processes[1].paused = True
    cluster.run_until(lambda: cluster.all_think(1, NodeState.DEAD), 1500)
    cluster.run(5000)
    cluster.processes[1].paused = False

    def nobody_is_accused() -> None:
        assert {cluster.state(1, 2), cluster.state(1, 3)} == {NodeState.ALIVE}

    cluster.run(500, nobody_is_accused)
    assert cluster.all_think(1, NodeState.SUSPECT)
    took_ms = cluster.run_until(cluster.all_alive, 6000)
    assert took_ms >= cluster.options.suspect_interval_ms - 600


@pytest.mark.parametrize("seed", SEEDS)
def test_paused_node_whose_mail_was_lost_accuses_nobody(seed: int) -> None:
    """Goal: the silence of the pause is forgiven even when no mail of that time is left to read.

    Method: pause, throw the mail away, resume; new mail comes with the next ticks of the others.
    """
    cluster = settled(3, seed)
    cluster.processes[1].paused = True
    cluster.run(4000)
    cluster.processes[1].mail.clear()
    cluster.processes[1].paused = False

    def nobody_is_accused() -> None:
        assert {cluster.state(1, 2), cluster.state(1, 3)} == {NodeState.ALIVE}

    cluster.run(2000, nobody_is_accused)


@pytest.mark.parametrize("seed", SEEDS)
def test_silence_just_before_a_pause_is_forgiven(seed: int) -> None:
    """Goal: a silence that was nearly too long does not become a verdict because of the pause.

    Method: cut node 1 off for eight ticks, pause it with all mail lost, resume with the link whole.
    """
    cluster = settled(3, seed)
    cluster.lose = lambda source, target: 1 in (source, target)
    cluster.run(850)
    assert cluster.state(1, 2) is cluster.state(1, 3) is NodeState.ALIVE
    cluster.processes[1].paused = True
    cluster.run(4000)
    cluster.lose = lambda source, target: False
    cluster.processes[1].mail.clear()
    cluster.processes[1].paused = False

    def nobody_is_accused() -> None:
        assert {cluster.state(1, 2), cluster.state(1, 3)} == {NodeState.ALIVE}

    cluster.run(2000, nobody_is_accused)


@pytest.mark.parametrize("seed", SEEDS)
def test_stuttering_node_still_notices_a_death(seed: int) -> None:
    """Goal: a node that is always late accuses no living peer, yet finds a dead one in time.

    Method: let node 1 run 50 ms of every 700 ms; kill node 3 in the end.
    """
    cluster = settled(3, seed)

    def stutter(times: int) -> None:
        for _ in range(times):
            cluster.processes[1].paused = True
            cluster.run(650)
            cluster.processes[1].paused = False
            cluster.run(50)
            assert cluster.state(1, 2) is NodeState.ALIVE

    stutter(20)
    assert cluster.state(1, 3) is NodeState.ALIVE
    cluster.kill(3)
    stutter(12)
    assert cluster.state(1, 3) is NodeState.DEAD


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", (3, 5, 7))
def test_loss_kills_nobody(count: int, seed: int) -> None:
    """Goal: a node that loses a fifth of its messages, in both directions, stays alive to all.

    Method: a minute of it, every step checked.
    """
    cluster = settled(count, seed)
    cluster.lose = lambda source, target: 1 in (source, target) and cluster.rng.random() < 0.2

    def all_are_alive() -> None:
        assert cluster.all_alive()

    cluster.run(60_000 // count, all_are_alive)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("latency_ms", (5, 80, 250))
def test_two_that_cannot_talk_are_kept_alive_by_a_third(latency_ms: int, seed: int) -> None:
    """Goal: rumours replace a broken link, and death is still found through rumours.

    Method: cut 1 from 2, with slow links too (an age would shrink on each detour); kill 2.
    """
    cluster = settled(3, seed)
    cluster.lose = lambda source, target: {source, target} == {1, 2}
    cluster.latency_ms = lambda source, target: latency_ms

    def all_are_alive() -> None:
        assert cluster.all_alive()

    cluster.run(5000, all_are_alive)
    cluster.kill(2)
    took_ms = cluster.run_until(lambda: cluster.all_think(2, NodeState.DEAD), 3000)
    assert took_ms <= 1300 + 2 * latency_ms


@pytest.mark.parametrize("seed", SEEDS)
def test_split_heals_after_probation(seed: int) -> None:
    """Goal: each side finds the other dead, keeps its own alive, and both meet again.

    Method: split 3 from 2, heal.
    """
    cluster = settled(5, seed)
    sides = ({1, 2, 3}, {4, 5})
    cluster.lose = lambda source, target: (source in sides[0]) != (target in sides[0])

    def split_is_seen() -> bool:
        return all(
            (cluster.state(a, b) is NodeState.ALIVE) is ((a in sides[0]) == (b in sides[0]))
            for a in cluster.processes
            for b in cluster.processes
        )

    assert cluster.run_until(split_is_seen, 2000) >= 900
    cluster.run(5000)
    cluster.lose = lambda source, target: False
    took_ms = cluster.run_until(cluster.all_alive, 10_000)
    assert took_ms >= cluster.options.suspect_interval_ms


@pytest.mark.parametrize("seed", SEEDS)
def test_deaf_node_is_dead_to_the_others(seed: int) -> None:
    """Goal: a node that can speak but not listen stops beating, and its words do not revive it.

    Method: drop all that goes to node 1.
    """
    cluster = settled(3, seed)
    cluster.lose = lambda source, target: target == 1
    cluster.run_until(lambda: cluster.all_think(1, NodeState.DEAD), 5000)

    def stays_dead() -> None:
        assert cluster.all_think(1, NodeState.DEAD)

    cluster.run(3000, stays_dead)
    assert cluster.processes[1].detector.is_lonely(cluster.now_s())


@pytest.mark.parametrize("jump_ms", (-3_600_000, -1500, 1500, 3_600_000))
def test_clock_jumps_kill_nobody(jump_ms: int) -> None:
    """Goal: liveness does not depend on wall clocks. Method: jump the clock of one node for 5 s."""
    cluster = settled(3, 1)
    cluster.processes[1].clock_error_ms = jump_ms

    def all_are_alive() -> None:
        assert cluster.all_alive()

    cluster.run(5000, all_are_alive)
    skewed = sum(process.detector.skewed_count for process in cluster.processes.values())
    assert skewed > 0


def test_leaving_node_is_known_at_once_and_dead_later() -> None:
    """Goal: others need no threshold to move work off a leaving node. Method: enter the phase."""
    cluster = settled(5, 3)
    process = cluster.processes[4]
    effects = process.detector.enter(Phase.FAILING_OVER, cluster.now_s(), cluster.unix_ms())
    cluster.act(4, effects)
    cluster.run(10)
    assert cluster.all_think(4, NodeState.FAILING_OVER)
    assert cluster.state(4, 4) is NodeState.FAILING_OVER
    cluster.kill(4)
    cluster.run_until(lambda: cluster.all_think(4, NodeState.DEAD), 2000)


@pytest.mark.parametrize("seed", SEEDS)
def test_starting_node_waits_to_be_ready(seed: int) -> None:
    """Goal: a node that is up but not ready gets no work, and gets it as soon as it says so.

    Method: restart without `ready`, then enter it; a node that never says so counts after a while.
    """
    cluster = settled(3, seed)
    for says_so in (True, False):
        cluster.kill(3)
        cluster.generations[3] += 1
        cluster.start(3, ready=False)
        cluster.run(1000)
        assert cluster.all_think(3, NodeState.SUSPECT)
        if says_so:
            detector = cluster.processes[3].detector
            cluster.act(3, detector.enter(Phase.READY, cluster.now_s(), cluster.unix_ms()))
            cluster.run(10)
        else:
            cluster.run(cluster.options.suspect_interval_ms)
        assert cluster.all_think(3, NodeState.ALIVE)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("partitions", (24, LEADERSHIPS_PER_MESSAGE_MAX * 3))
def test_leaderships_converge(partitions: int, seed: int) -> None:
    """Goal: all learn the highest epoch of every partition, even who was cut off or came later.

    Method: rivals announce different epochs while a link is cut and node 3 is paused; then heal,
    and start node 2 anew.
    """
    cluster = settled(3, seed)
    cluster.lose = lambda source, target: {source, target} == {1, 2}
    cluster.processes[3].paused = True
    expected = {}
    for partition in range(partitions):
        rivals = [(1, cluster.rng.randrange(1, 9)), (2, cluster.rng.randrange(9, 20))]
        for node, epoch in rivals:
            entry = Leadership(PartitionId(partition), LeaderEpoch(epoch), life(node))
            cluster.processes[node].detector.announce(entry)
            expected[PartitionId(partition)] = entry
    cluster.run(1000)
    cluster.processes[3].paused = False
    cluster.lose = lambda source, target: False

    def agreed() -> bool:
        return all(p.detector.leaders() == expected for p in cluster.processes.values())

    cluster.run_until(agreed, 6000)
    cluster.restart(2)
    cluster.run_until(agreed, 6000)


def test_removed_member_is_forgotten_and_not_believed() -> None:
    """Goal: a node that is not a member has no state, whatever it sends. Method: remove one."""
    cluster = settled(3, 0)
    del cluster.generations[3]
    cluster.publish_members()
    cluster.run(1000)
    assert PlainNodeId(3) not in cluster.processes[1].detector.states()
    assert cluster.state(1, 2) is NodeState.ALIVE


def test_runs_are_repeatable() -> None:
    """Goal: one seed gives one run, so that a failure can be replayed. Method: run twice."""

    def story(seed: int) -> list[int]:
        cluster = Cluster(5, seed)
        cluster.lose = lambda source, target: cluster.rng.random() < 0.3
        counts: list[int] = []
        cluster.run(3000, lambda: counts.append(cluster.messages_sent))
        return counts

    assert story(7) == story(7)
    assert story(7) != story(8)
