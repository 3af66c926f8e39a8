"""Going on from one metadata server: what is kept, what happens to those that come back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
import structlog

from restate_node.cluster.metadata_client import MetadataUnavailable
from restate_node.roles.metadata_server.recovery import (
    VERSION_STRIDE,
    RecoveryPlan,
    RecoveryRefused,
)
from restate_node.roles.metadata_server.recovery_handlers import RecoveryHandlers
from restate_node.sim.hosts import Death
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.grpc_status import GrpcError
from restate_node.types.ids import LeaderEpoch, PartitionId, PlainNodeId, Version
from restate_node.types.logs import Logs
from restate_node.types.metadata import MetadataKind
from restate_node.types.metadata_kv import DoesNotExist, MatchesVersion, VersionedValue
from restate_node.types.metadata_messages import MembershipVerdict, MetadataServerPhase
from restate_node.types.nodes import MetadataServerState
from restate_node.types.partitions import EpochMetadata
from restate_node.wire.logs import decode_logs, encode_logs
from restate_node.wire.metadata_keys import LOGS_KEY, epoch_metadata_key
from restate_node.wire.partitions import decode_epoch_metadata, encode_epoch_metadata
from restate_node.wire.pb import operator_pb2 as operator
from tests.roles.metadata_server.metadata_world import Machine, World, value

HOSTS = ("n1", "n2", "n3")
P0 = PartitionId(0)
N2 = PlainNodeId(2)


async def bereaved(world: World) -> Machine:
    """N2, whose two peers are gone."""
    await world.found(HOSTS)
    n1 = world.machines["n1"]
    await world.run(n1, n1.client.put("key", value(1, "kept"), DoesNotExist()))
    epoch = EpochMetadata(Version(3), LeaderEpoch(5))
    blob = encode_epoch_metadata(epoch, P0)
    stored = VersionedValue(Version(3), blob)
    await world.run(n1, n1.client.put(epoch_metadata_key(P0), stored, DoesNotExist()))
    logs = VersionedValue(Version(1), encode_logs(Logs(Version(1))))
    await world.run(n1, n1.client.put(LOGS_KEY, logs, DoesNotExist()))
    n2 = world.machines["n2"]
    server = n2.server
    assert server is not None and server.replica is not None
    replica = server.replica
    await world.until(lambda: replica.kv.version(LOGS_KEY) == 1)
    world.kill("n1", Death.POWER_LOST)
    world.kill("n3", Death.POWER_LOST)
    await world.until(lambda: replica.leader is None)
    return n2


async def recover(
    world: World, machine: Machine, copies: Mapping[MetadataKind, bytes] | None = None
) -> RecoveryPlan:
    assert machine.server is not None
    plan = await world.run(machine, machine.server.recover(copies or {}))
    await world.until(lambda: machine.cache.nodes.value.version > VERSION_STRIDE)
    return plan


def states(machine: Machine) -> list[MetadataServerState]:
    assert machine.server is not None
    return [node.metadata_server_state for node in machine.server.stored_nodes().members()]


def test_the_survivor_goes_on_with_what_it_has() -> None:
    """Goal: nothing that it had is lost, all objects are renumbered, writes work, also after a
    restart; before, they are refused. Method: kill two of three, recover, read, write, restart."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        n2 = await bereaved(world)
        assert n2.server is not None
        with pytest.raises(MetadataUnavailable):
            await world.run(n2, n2.client.put("key", value(2), MatchesVersion(Version(1))))
        nodes_before = n2.server.stored_nodes().version
        plan = await recover(world, n2)
        assert plan.former_names == "N1, N2, N3"
        assert set(n2.server.status().members) == {N2}
        assert await world.run(n2, n2.client.get("key")) == value(1, "kept")
        epoch = await world.run(n2, n2.client.get(epoch_metadata_key(P0)))
        assert epoch is not None and epoch.version == 3 + VERSION_STRIDE
        assert decode_epoch_metadata(epoch.data).epoch == 5 + VERSION_STRIDE
        assert n2.server.stored_nodes().version >= nodes_before + VERSION_STRIDE
        assert n2.cache.logs.value.version == 1 + VERSION_STRIDE
        gone = MetadataServerState.STANDBY
        assert states(n2) == [gone, MetadataServerState.MEMBER, gone]
        await world.run(n2, n2.client.put("key", value(2), MatchesVersion(Version(1))))
        world.kill("n2", Death.POWER_LOST)
        n2 = await world.boot("n2")
        await world.until(lambda: n2.leads)
        assert await world.run(n2, n2.client.get("key")) == value(2)

    simulate(1, main)


@pytest.mark.parametrize("seed", range(20))
def test_a_crash_leaves_one_group_or_the_other(seed: int) -> None:
    """Goal: recovery is one step. Method: lose power at some moment of it; the next life has the
    three former members, or itself, and then all objects renumbered; a second attempt succeeds."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        n2 = await bereaved(world)
        assert n2.server is not None
        loop.spawn(n2.incarnation, n2.server.recover({}))
        await asyncio.sleep(loop.streams.stream("crash").uniform(0.0, 0.02))
        world.kill("n2", Death.POWER_LOST)
        n2 = await world.boot("n2")
        assert n2.server is not None and n2.server.replica is not None
        members = set(n2.server.status().members)
        assert members in ({1, 2, 3}, {2})
        if members == {1, 2, 3}:
            await recover(world, n2)
        await world.until(lambda: n2.leads)
        logs = await world.run(n2, n2.client.get(LOGS_KEY))
        assert logs is not None and logs.version == 1 + VERSION_STRIDE

    simulate(seed, main)


def test_what_nodes_know_better_is_taken_from_them() -> None:
    """Goal: objects that the store lost are in caches. Method: give a newer copy of the logs; an
    older one changes nothing; one of another cluster is refused."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        n2 = await bereaved(world)
        newer = encode_logs(Logs(Version(9)))
        with pytest.raises(RecoveryRefused, match="not usable"):
            await recover(world, n2, {MetadataKind.LOGS: b"\x05nonsense"})
        world.kill("n2")
        n2 = await world.boot("n2")
        plan = await recover(world, n2, {MetadataKind.LOGS: newer})
        (row,) = [row for row in plan.keys if row.key == LOGS_KEY]
        assert (row.stored, row.cached, row.after) == (1, 9, 9 + VERSION_STRIDE)
        stored = await world.run(n2, n2.client.get(LOGS_KEY))
        assert stored is not None and decode_logs(stored.data).version == 9 + VERSION_STRIDE

    simulate(1, main)


def fenced(machine: Machine) -> bool:
    assert machine.server is not None
    return machine.server.is_left_behind


def is_retired(machine: Machine) -> bool:
    """It knows from the nodes configuration that it is no member, and campaigns no more."""
    assert machine.server is not None and machine.server.replica is not None
    return machine.server.replica.is_retired


@pytest.mark.parametrize("seed", range(5))
def test_former_members_that_come_back_are_refused(seed: int) -> None:
    """Goal: the old majority serves nothing, says so in one line, for ever, and may come back
    blank. Method: boot both with their disks; ask one for a value; restart it; then wipe it and add
    it again."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        n2 = await bereaved(world)
        await recover(world, n2)
        await world.run(n2, n2.client.put("key", value(2), MatchesVersion(Version(1))))
        with structlog.testing.capture_logs() as lines:
            n1 = await world.restart("n1", ("n1", "n2", "n3"))
            n3 = await world.restart("n3", ("n1", "n2", "n3"))
            await world.until(lambda: fenced(n1) or is_retired(n1))
            await world.until(lambda: fenced(n3) or is_retired(n3))
            assert await world.run(n1, n1.client.get("key")) == value(2)
        said = [line["event"] for line in lines if line["log_level"] == "error"]
        assert len(said) == fenced(n1) + fenced(n3)
        assert all("continued without it" in line for line in said)
        for machine in (n1, n3):
            assert machine.phase is MetadataServerPhase.STANDBY
            assert machine.server is not None
            reply = await world.run(machine, machine.server.join_now())
            assert reply.verdict is MembershipVerdict.FORBIDDEN
            assert "replicated-metadata-server" in reply.reason
        assert n2.server is not None and set(n2.server.status().members) == {N2}
        for host in [machine.host for machine in (n1, n3) if fenced(machine)]:
            world.kill(host)
            again = await world.boot(host, HOSTS)
            assert fenced(again) and again.phase is MetadataServerPhase.STANDBY
        world.kill("n1")
        world.wipe("n1")
        n1 = await world.boot("n1", ("n2",), knows_cluster=True)
        await world.join("n1")
        await world.until(lambda: n1.server is not None and n1.server.replica is not None)
        assert n1.server is not None
        reply = await world.run(n1, n1.server.join_now())
        assert reply.verdict is MembershipVerdict.DONE, reply
        await world.until(lambda: n1.phase is MetadataServerPhase.MEMBER)
        await world.run(n1, n1.client.put("key", value(3), MatchesVersion(Version(2))))

    simulate(seed, main)


def test_the_old_majority_gives_up_without_meeting_the_survivor() -> None:
    """Goal: news of the recovered group are enough, wherever they come from. Method: the survivor
    is cut off; both others come back and elect a leader; then one hears of a nodes configuration
    that it cannot have written."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        n2 = await bereaved(world)
        await recover(world, n2)
        news = n2.cache.blob(MetadataKind.NODES_CONFIGURATION)
        world.network.partition([("n1", "n3"), ("n2",)])
        n1 = await world.boot("n1")
        n3 = await world.boot("n3")
        await world.until(lambda: n1.leads or n3.leads)
        leader = n1 if n1.leads else n3
        loop.call_soon(
            lambda: leader.cache.install_blob(MetadataKind.NODES_CONFIGURATION, news),
            context=leader.incarnation.context.copy(),
        )
        await world.until(lambda: fenced(leader))
        assert leader.phase is MetadataServerPhase.STANDBY
        assert leader.server is not None and leader.server.replica is None

    simulate(1, main)


def test_an_ordinary_leader_never_gives_up() -> None:
    """Goal: caches that are ahead of a new leader's store for a moment do no harm. Method: change
    the nodes configuration again and again while leaders are killed; nobody gives up."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)
        for _ in range(6):
            leader = world.leader()
            assert leader is not None
            await world.join(leader.host)
            world.kill(leader.host, Death.POWER_LOST)
            await world.until(lambda: world.leader() is not None)
            await world.restart(leader.host, HOSTS)
            await world.until(lambda host=leader.host: world.is_settled_member(host), 60)
            assert not any(fenced(machine) for machine in world.machines.values())

    simulate(3, main)


def test_refusals() -> None:
    """Goal: nothing is given up while a majority answers or another one knows more; the only
    member has nothing to recover. Method: a whole group; a lone one."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        n1 = await world.boot("n1")
        assert n1.server is not None
        with pytest.raises(RecoveryRefused, match="not a member"):
            await world.run(n1, n1.server.recovery_standing())
        world.kill("n1")
        world.wipe("n1")
        await world.found(HOSTS)
        n2 = world.machines["n2"]
        assert n2.server is not None
        standing = await world.run(n2, n2.server.recovery_standing())
        assert standing.objection is not None and "nothing is lost" in standing.objection
        assert standing.answering == (1, 3)
        world.kill("n1")
        world.kill("n3")
        standing = await world.run(n2, n2.server.recovery_standing())
        assert (standing.objection, standing.answering) == (None, ())
        await recover(world, n2)
        with pytest.raises(RecoveryRefused, match="only member"):
            await world.run(n2, n2.server.recovery_standing())

    simulate(1, main)


def test_a_forced_recovery_ends_a_group_that_is_alive() -> None:
    """Goal: operators get the refusal first; with --force the rest of the group, leader included,
    hears that it is over. Method: the service on a whole group: ask, order, force; then read."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        await world.found(HOSTS)
        leader = world.leader()
        assert leader is not None
        (one, *_) = [machine for machine in world.machines.values() if machine is not leader]
        assert one.server is not None
        handlers = RecoveryHandlers(one.server)
        for accept_loss in (False, True):
            order = operator.RecoverMetadataRequest(accept_loss=accept_loss)
            told = await world.run(one, handlers.recover(order))
            assert "nothing is lost" in told.refusal and not told.done
            assert list(told.members) == [1, 2, 3] and len(told.answering) == 2
        odd = operator.RecoverMetadataRequest(copies=[operator.MetadataCopy(kind=99)])
        with pytest.raises(GrpcError, match="unknown metadata kind"):
            await world.run(one, handlers.recover(odd))
        order = operator.RecoverMetadataRequest(accept_loss=True, force=True)
        told = await world.run(one, handlers.recover(order))
        assert told.done and {row.key for row in told.keys} == {"nodes_config"}
        others = [machine for machine in world.machines.values() if machine is not one]
        await world.until(lambda: all(fenced(m) or is_retired(m) for m in others))
        assert fenced(leader)
        await world.run(one, one.client.put("key", value(1), DoesNotExist()))
        for machine in others:
            assert machine.phase is MetadataServerPhase.STANDBY
            assert await world.run(machine, machine.client.get("key")) == value(1)

    simulate(1, main)


def test_of_two_survivors_the_one_with_more_is_named() -> None:
    """Goal: no entry is given up that somebody has. Method: five members, three lost; of the two
    left one was down while the others went on."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        hosts = ("n1", "n2", "n3", "n4", "n5")
        await world.found(hosts)
        leader = world.leader()
        assert leader is not None
        behind = "n2" if leader.host != "n2" else "n3"
        ahead = "n4" if leader.host != "n4" else "n5"
        world.kill(behind, Death.POWER_LOST)
        for version in range(1, 4):
            wanted = DoesNotExist() if version == 1 else MatchesVersion(Version(version - 1))
            await world.run(leader, leader.client.put("key", value(version), wanted))
        other = world.machines[ahead].server
        assert other is not None and other.replica is not None
        replica = other.replica
        await world.until(lambda: replica.kv.version("key") == 3)
        for host in hosts:
            if host not in (behind, ahead):
                world.kill(host, Death.POWER_LOST)
        server = (await world.boot(behind)).server
        assert server is not None
        standing = await world.run(world.machines[behind], server.recovery_standing())
        assert standing.objection is not None
        assert f"--from N{ahead[1]}" in standing.objection
        standing = await world.run(world.machines[ahead], other.recovery_standing())
        assert standing.objection is None

    simulate(1, main)
