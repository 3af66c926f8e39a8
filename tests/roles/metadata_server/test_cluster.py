"""Metadata servers together, over a simulated network and disks."""

from __future__ import annotations

import asyncio

import pytest

from restate_node.cluster.metadata_client import MetadataUnavailable, NotProvisioned
from restate_node.sim.hosts import Death
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.ids import Version
from restate_node.types.metadata_kv import DoesNotExist, MatchesVersion
from restate_node.types.metadata_messages import (
    MembershipVerdict,
    MetadataServerPhase,
    RemoveFromMetadataCluster,
)
from restate_node.types.nodes import MetadataServerState
from restate_node.types.options import MetadataServerOptions
from tests.roles.metadata_server.metadata_world import World, address, first_nodes, value

HOSTS = ("n1", "n2", "n3")


def test_provision_and_join_make_three_members() -> None:
    """Goal: the way from nothing to three members. Method: found on one, let two join; the group,
    the nodes configuration and the caches must agree, and a write must be readable everywhere.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)
        n1, n3 = world.machines["n1"], world.machines["n3"]
        await world.run(n1, n1.client.put("key", value(1, "one"), DoesNotExist()))
        assert await world.run(n3, n3.client.get("key")) == value(1, "one")
        assert await world.run(n3, n3.client.get_version("key")) == 1
        await world.until(lambda: n3.cache.nodes.value.version == n1.cache.nodes.value.version)
        states = {node.metadata_server_state for node in n3.cache.nodes.value.members()}
        assert states == {MetadataServerState.MEMBER}
        assert n1.server is not None
        assert set(n1.server.status().members) == {1, 2, 3}

    simulate(1, main)


@pytest.mark.parametrize("seed", range(5))
def test_two_clients_provision_once(seed: int) -> None:
    """Goal: one founder. Method: two clients, on the server's node and on another, race with
    different fingerprints; exactly one is told that it founded the cluster, and its fingerprint
    holds, also after a restart.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        n1 = await world.boot("n1")
        rival = await world.boot("c1", ("n1",), is_server=False)
        results = await asyncio.gather(
            world.run(n1, n1.client.provision(first_nodes("n1", 1))),
            world.run(rival, rival.client.provision(first_nodes("n1", 2))),
        )
        assert sorted(results) == [False, True]
        winner = 1 if results[0] else 2
        assert n1.cache.fingerprint == winner
        world.kill("n1")
        n1 = await world.boot("n1")
        assert n1.cache.fingerprint == winner
        assert not await world.run(n1, n1.client.provision(first_nodes("n1", 3)))

    simulate(seed, main)


def test_before_provisioning_everybody_says_so_quickly() -> None:
    """Goal: the error that operators see first. Method: read from a server that waits; the error
    comes at once, names the address, and has the text that tools know.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        n1 = await world.boot("n1")
        assert n1.phase is MetadataServerPhase.AWAITING_PROVISIONING
        started = loop.time()
        with pytest.raises(NotProvisioned) as raised:
            await world.run(n1, n1.client.get("key"))
        assert loop.time() - started < 0.5
        assert "Metadata store has not been provisioned yet" in str(raised.value)
        assert address("n1") in str(raised.value)

    simulate(1, main)


def test_a_blank_disk_of_a_provisioned_node_founds_nothing() -> None:
    """Goal: a lost disk must not found a second cluster. Method: start blank with the node's word
    that it had a cluster; it is a standby and refuses to found.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        n1 = await world.boot("n1", knows_cluster=True)
        assert n1.phase is MetadataServerPhase.STANDBY
        with pytest.raises(MetadataUnavailable):
            await world.run(n1, n1.client.provision(first_nodes("n1"), timeout_s=2.0))

    simulate(1, main)


@pytest.mark.parametrize("death", list(Death))
def test_all_restart_from_disk(death: Death) -> None:
    """Goal: what was acknowledged survives all of them. Method: kill all three at once; their new
    lives find each other by what is on the disks alone, elect, and serve the value.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)
        n2 = world.machines["n2"]
        await world.run(n2, n2.client.put("key", value(1, "kept"), DoesNotExist()))
        for host in HOSTS:
            world.kill(host, death)
        for host in HOSTS:
            await world.boot(host, (host,))
        n2 = world.machines["n2"]
        await world.until(lambda: world.leader() is not None)
        assert await world.run(n2, n2.client.get("key")) == value(1, "kept")

    simulate(3, main)


def test_without_a_majority_everything_fails_with_a_reason_and_recovers() -> None:
    """Goal: no majority, no answer, within a bounded time. Method: kill two of three; writes and
    reads fail with each server's reason; restart one; both work again.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)
        leader = world.leader()
        assert leader is not None
        followers = [host for host in HOSTS if host != leader.host]
        for host in followers:
            world.kill(host)
        for work in (
            lambda: leader.client.put("key", value(1), DoesNotExist()),
            lambda: leader.client.get("key"),
        ):
            started = loop.time()
            with pytest.raises(MetadataUnavailable) as raised:
                await world.run(leader, work())
            assert loop.time() - started < 6.0
            for host in HOSTS:
                assert address(host) in str(raised.value)
        await world.restart(followers[0], (leader.host,))
        await world.until(lambda: world.leader() is not None)
        await world.run(leader, leader.client.put("other", value(1), DoesNotExist()))
        assert await world.run(leader, leader.client.get("other")) == value(1)

    simulate(2, main)


def test_remove_and_add_again() -> None:
    """Goal: membership by order. Method: remove a follower, see it as a standby that stays one;
    order it to join again; remove an unknown node; each verdict is the documented one.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)
        leader = world.leader()
        assert leader is not None and leader.server is not None
        host = next(name for name in HOSTS if name != leader.host)
        other = world.machines[host]
        assert other.server is not None and other.cache.me is not None
        order = RemoveFromMetadataCluster(other.cache.me.id)
        reply = await world.run(leader, leader.server.remove(order))
        assert reply.verdict is MembershipVerdict.DONE
        await world.until(lambda: other.phase is MetadataServerPhase.STANDBY)
        await asyncio.sleep(5)
        assert other.phase is MetadataServerPhase.STANDBY
        assert _state(leader, host) is MetadataServerState.STANDBY
        again = await world.run(leader, leader.server.remove(order))
        assert again.verdict is MembershipVerdict.NOT_A_MEMBER
        assert again.reason == f"node 'N{other.cache.me.id}' is not a member"
        joined = await world.run(other, other.server.join_now())
        assert joined.verdict is MembershipVerdict.DONE
        await world.until(lambda: world.is_settled_member(host))
        twice = await world.run(other, other.server.join_now())
        assert twice.verdict is MembershipVerdict.ALREADY_MEMBER

    simulate(4, main)


def test_the_leader_removes_itself_and_the_last_member_stays() -> None:
    """Goal: the two special removals. Method: of two members remove the leader; the other one
    leads; it refuses to be removed.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS[:2])
        leader = world.leader()
        assert leader is not None and leader.server is not None and leader.cache.me is not None
        other = next(one for one in world.machines.values() if one is not leader)
        order = RemoveFromMetadataCluster(leader.cache.me.id)
        await world.run(leader, leader.server.remove(order))
        await world.until(lambda: other.leads and len(other.server.status().members) == 1)
        assert other.server is not None and other.cache.me is not None
        last = RemoveFromMetadataCluster(other.cache.me.id)
        reply = await world.run(other, other.server.remove(last))
        assert reply.verdict is MembershipVerdict.REFUSED
        assert reply.reason == "cannot remove the only member"
        await world.until(lambda: _state(other, leader.host) is MetadataServerState.STANDBY)
        assert await world.run(leader, leader.client.get("nodes_config")) is not None

    simulate(5, main)


def test_a_member_that_was_removed_while_it_was_down_retires() -> None:
    """Goal: it must not campaign against those who stayed. Method: remove a dead member, restart
    it; it learns from the nodes configuration that it is a standby and can be added again.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)
        leader = world.leader()
        assert leader is not None and leader.server is not None
        host = next(name for name in HOSTS if name != leader.host)
        gone = world.machines[host].cache.me
        assert gone is not None
        world.kill(host)
        await world.run(leader, leader.server.remove(RemoveFromMetadataCluster(gone.id)))
        await world.until(lambda: _state(leader, host) is MetadataServerState.STANDBY)
        back = await world.restart(host, (leader.host,))
        await world.until(lambda: back.cache.me is not None)
        await world.until(lambda: back.phase is MetadataServerPhase.STANDBY)
        term = leader.server.status().term
        await asyncio.sleep(5)
        assert back.phase is MetadataServerPhase.STANDBY
        assert leader.leads and leader.server.status().term == term
        assert back.server is not None
        await world.run(back, back.server.join_now())
        await world.until(lambda: world.is_settled_member(host))

    simulate(6, main)


def test_a_lost_disk_is_not_taken_for_the_member() -> None:
    """Goal: who forgot its votes is not heard. Method: wipe a member's disk; it is refused with
    the documented words until it was removed, then it can be added as somebody new.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)
        leader = world.leader()
        assert leader is not None and leader.server is not None
        host = next(name for name in HOSTS if name != leader.host)
        gone = world.machines[host].cache.me
        assert gone is not None
        world.kill(host)
        world.medium(host).wipe()
        back = await world.restart(host, (leader.host,))
        await world.until(lambda: back.server is not None and back.server.replica is not None)
        assert back.server is not None
        refused = await world.run(back, back.server.join_now())
        assert refused.verdict is MembershipVerdict.FORBIDDEN
        assert "has registered before with a different storage id" in refused.reason
        await asyncio.sleep(3)
        assert back.phase is MetadataServerPhase.STANDBY
        await world.run(leader, leader.server.remove(RemoveFromMetadataCluster(gone.id)))
        await world.until(lambda: _state(leader, host) is MetadataServerState.STANDBY)
        joined = await world.run(back, back.server.join_now())
        assert joined.verdict is MembershipVerdict.DONE
        await world.until(lambda: world.is_settled_member(host))

    simulate(7, main)


def test_a_follower_far_behind_gets_a_snapshot() -> None:
    """Goal: compaction and the image for those behind it. Method: a threshold of 20 entries, one
    follower down for 100 writes of 100 KB; after its restart it holds all, without the old entries.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop, MetadataServerOptions(log_trim_threshold=20))
        await world.found(HOSTS)
        leader = world.leader()
        assert leader is not None and leader.server is not None
        host = next(name for name in HOSTS if name != leader.host)
        world.kill(host)
        text = "x" * 100_000
        for number in range(100):
            put = leader.client.put(f"key{number}", value(1, text), DoesNotExist())
            await world.run(leader, put)
        status = leader.server.status()
        assert status.snapshot_index > 80 and status.first_index > 60
        assert status.snapshot_bytes > 1 << 20, "the image must need several fragments"
        back = await world.restart(host, (leader.host,))
        assert back.server is not None
        replica = back.server.replica
        assert replica is not None
        await world.until(lambda: replica.kv.get("key99") is not None)
        assert all(replica.kv.get(f"key{number}") == value(1, text) for number in range(100))
        world.kill(host)
        again = await world.boot(host, (leader.host,))
        assert again.server is not None and again.server.replica is not None
        assert again.server.replica.kv.get("key99") == value(1, text)

    simulate(8, main)


def test_a_value_larger_than_an_envelope_reaches_all() -> None:
    """Goal: entries travel in fragments, too. Method: 5 MB, read by each replica itself."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)
        n1 = world.machines["n1"]
        large = value(1, "x" * 5_000_000)
        await world.run(n1, n1.client.put("key", large, DoesNotExist()))

        def has_it(host: str) -> bool:
            server = world.machines[host].server
            assert server is not None and server.replica is not None
            return server.replica.kv.get("key") == large

        await world.until(lambda: all(has_it(host) for host in HOSTS))

    simulate(12, main)


def test_an_orderly_stop_hands_the_leadership_over() -> None:
    """Goal: a rolling restart costs no election timeout. Method: hand over, then kill; another
    member leads at once.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)
        leader = world.leader()
        assert leader is not None and leader.server is not None
        started = loop.time()
        await world.run(leader, leader.server.hand_over())
        assert loop.time() - started < 0.5
        world.kill(leader.host)
        successor = world.leader()
        assert successor is not None and successor is not leader
        await world.run(successor, successor.client.put("key", value(1), DoesNotExist()))

    simulate(9, main)


def test_an_idle_lone_member_writes_nothing() -> None:
    """Goal: no fsync without a reason. Method: count the batches written in ten idle seconds."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS[:1])
        await asyncio.sleep(1)
        image = world.medium("n1").stores["replicated-metadata-server"]
        written = image.written
        await asyncio.sleep(10)
        assert image.written == written

    simulate(1, main)


def test_updates_of_rivals_all_count() -> None:
    """Goal: read, edit, write loses no edit. Method: clients on three nodes increment one number,
    20 times each, at once.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)

        def increment(stored: bytes | None) -> bytes:
            version = 0 if stored is None else int(stored.split(b":")[1].split(b",")[0])
            return value(version + 1).data

        async def many(host: str) -> None:
            for _ in range(20):
                await world.machines[host].client.update("n", increment, timeout_s=60)

        await asyncio.gather(*(world.run(world.machines[host], many(host)) for host in HOSTS))
        n1 = world.machines["n1"]
        assert await world.run(n1, n1.client.get("n")) == value(60)
        await world.run(n1, n1.client.delete("n", MatchesVersion(Version(60))))
        assert await world.run(n1, n1.client.get("n")) is None

    simulate(10, main)


def _state(machine: object, host: str) -> MetadataServerState | None:
    server = machine.server  # type: ignore[attr-defined]
    node = server.stored_nodes().by_name(host)
    return None if node is None else node.metadata_server_state


def test_foreign_storage_is_refused() -> None:
    """Goal: a copied data directory must not vote twice. Method: start n2 on the disk of n1; the
    node is asked to stop, with the reason.
    """

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)
        world.kill("n1")
        world.kill("n2")
        world.swap_disk("n2", "n1")
        n2 = await world.boot("n2")
        cause = await world.run(n2, n2.tasks.shutdown_requested())
        assert "belongs to N1, this is N2" in cause.reason

    simulate(11, main)
