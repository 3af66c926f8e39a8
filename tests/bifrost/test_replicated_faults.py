"""A replicated loglet while hosts, disks and links fail. Three simulated hosts, replication 2."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from log_world import Host, World, appended, batch, tell

from restate_node.bifrost.loglet import AppendResult, Loglet, LogletUnavailable
from restate_node.roles.log_server.service import LogServerState
from restate_node.sim.disk import DiskFaults
from restate_node.sim.hosts import Death
from restate_node.types.fabric import Swimlane
from restate_node.types.log_messages import AppendStatus, LogletHeader, Records, Status, Store
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import StorageState
from restate_node.types.offsets import OLDEST_OFFSET, LogletOffset, LogletTail, TailState
from restate_node.types.records import RecordBatch


def texts(records: Records) -> list[str]:
    return [
        record.decode()
        for run in records.runs
        for record in RecordBatch(run.count, run.body).records()
    ]


async def read(loglet: Loglet, first: int, tail: int) -> list[str]:
    """Read a short window, retrying while nobody has it at hand."""
    found: list[str] = []
    for _ in range(50):
        try:
            position = LogletOffset(first + len(found))
            found += texts(await loglet.read(position, LogletOffset(tail), 1 << 20))
        except LogletUnavailable:
            await asyncio.sleep(0.1)
        if len(found) == tail - first:
            return found
    raise AssertionError(f"could not read {first}..{tail}: {found}")


async def patiently_sealed(loglet: Loglet) -> LogletTail:
    for _ in range(50):
        try:
            return await loglet.seal()
        except LogletUnavailable:
            await asyncio.sleep(0.1)
    raise AssertionError("the loglet could not be sealed")


@pytest.mark.parametrize("death", list(Death))
def test_one_dead_log_server_does_not_stop_appends(death: Death) -> None:
    """Goal: a write quorum of 2 of 3 suffices. Method: kill a member between two appends."""

    async def story(world: World) -> None:
        host = world.hosts[1]
        loglet = host.loglet(world.params())
        assert (await host.run(appended(loglet, batch("a")))).status is AppendStatus.OK
        world.kill(3, death)
        for text in "bcd":
            result = await asyncio.wait_for(host.run(appended(loglet, batch(text))), 10)
            assert result.status is AppendStatus.OK
        assert await host.run(read(loglet, 1, 5)) == ["a", "b", "c", "d"]

    tell(story)


@pytest.mark.parametrize("death", list(Death))
def test_the_tail_of_a_dead_sequencer_covers_what_it_acknowledged(death: Death) -> None:
    """Goal: without the sequencer's host the others seal, find a tail at or above every
    acknowledgement, and read all below it. Method: kill the host in the middle of a burst."""

    async def story(world: World) -> None:
        params = world.params()
        acknowledged: list[int] = []

        async def write(host: Host) -> None:
            loglet = host.loglet(params)

            def on_appended(result: AppendResult) -> None:
                assert result.status is AppendStatus.OK
                acknowledged.append(result.first_offset)

            for number in range(300):
                assert loglet.append(batch(f"r{number + 1}"), on_appended)
                await asyncio.sleep(0.0002)

        world.hosts[1].spawn(write(world.hosts[1]))
        await asyncio.sleep(world.rng.uniform(0.005, 0.04))
        world.kill(1, death)
        survivor = world.hosts[2]
        loglet = survivor.loglet(params)
        tail = await survivor.run(patiently_sealed(loglet))
        assert tail.is_sealed
        assert acknowledged, "the burst had begun"
        assert max(acknowledged) < tail.offset
        expected = [f"r{number}" for number in range(1, tail.offset)]
        assert await survivor.run(read(loglet, 1, tail.offset)) == expected
        third = world.hosts[3]
        again = await third.run(patiently_sealed(third.loglet(params)))
        assert max(acknowledged) < again.offset

    tell(story, range(6))


def store_at(world: World, number: int, first: int, text: str, known: int) -> Store:
    params, what = world.params(), batch(text)
    return Store(
        params.loglet_id,
        params.sequencer,
        LogletOffset(known),
        LogletOffset(first),
        what.count,
        what.body,
    )


def test_a_half_stored_group_is_repaired() -> None:
    """Goal: a record that only one log server has, and that the proposed tail includes, is on a
    write quorum afterwards. Method: store it by hand on one server as the sequencer's host, kill
    that host, seal from another, then kill the only original holder and read."""

    async def story(world: World) -> None:
        params = world.params()
        first = world.hosts[1]

        async def store_half() -> None:
            for member in params.nodeset:
                reply = await first.fabric.call(
                    member, store_at(world, member, 1, "a", 1), LogletHeader
                )
                assert reply.status is Status.OK
            member = params.nodeset[1]
            request = store_at(world, member, 2, "half", 1)
            assert (await first.fabric.call(member, request, LogletHeader)).status is Status.OK

        await first.run(store_half())
        world.kill(1)
        third = world.hosts[3]
        loglet = third.loglet(params)
        tail = await third.run(patiently_sealed(loglet))
        assert tail == LogletTail(TailState.SEALED, LogletOffset(3)), "the half is within reach"
        world.kill(2)
        assert await third.run(read(loglet, 1, 3)) == ["a", "half"]

    tell(story)


def test_a_sealed_tail_that_was_only_proven_leads_no_reader() -> None:
    """Goal: two searches of a sealed loglet may prove different tails, so neither is `known_tail`:
    a reader that followed the higher one would deliver what the chain then replaces.
    Method: a record on one server only; one search cannot hear it, the other can."""

    async def story(world: World) -> None:
        params = world.params()
        first = world.hosts[1]

        async def store_on_second_only() -> None:
            request = store_at(world, 2, 1, "x", 1)
            await first.fabric.call(params.nodeset[1], request, LogletHeader)

        await first.run(store_on_second_only())
        world.kill(1)
        second = world.hosts[2]
        loglet = second.loglet(params)
        tail = await second.run(patiently_sealed(loglet))
        assert tail.offset == 2
        assert loglet.known_tail.value == LogletTail(TailState.SEALED, OLDEST_OFFSET)
        assert await second.run(loglet.find_tail()) == tail, "asked again, it says the same"

    tell(story)


def test_appends_through_another_hosts_sequencer() -> None:
    """Goal: a host that is not the sequencer appends by asking it, and learns the tail on the way;
    an unreachable sequencer is told apart from a full one."""

    async def story(world: World) -> None:
        host = world.hosts[2]
        params = world.params()
        world.hosts[1].loglet(params)
        loglet = host.loglet(params)
        assert not loglet.keeps_order
        for number, text in enumerate("abc", start=1):
            result = await host.run(appended(loglet, batch(text)))
            assert (result.status, result.first_offset) == (AppendStatus.OK, number)
        assert loglet.known_tail.value.offset == 4
        assert await host.run(read(loglet, 1, 4)) == ["a", "b", "c"]
        world.kill(1)
        result = await host.run(appended(loglet, batch("d")))
        assert result.status is AppendStatus.NOT_SEQUENCER

    tell(story)


def test_a_node_that_never_heard_of_the_loglet_is_no_sequencer() -> None:
    """Goal: an Append for a loglet that the chain does not give to this process is refused."""

    async def story(world: World) -> None:
        host = world.hosts[2]
        result = await host.run(appended(host.loglet(world.params(segment=9)), batch("a")))
        assert result.status is AppendStatus.NOT_SEQUENCER

    tell(story)


@pytest.mark.parametrize("death", list(Death))
def test_restarted_log_servers_still_have_what_they_acknowledged(death: Death) -> None:
    """Goal: acknowledged records survive a crash of every host. Method: append, kill all three at
    once, start new lives on the same disks, seal the old loglet and read it."""

    async def story(world: World) -> None:
        params = world.params()
        host = world.hosts[1]
        loglet = host.loglet(params)
        for number in range(20):
            assert (await host.run(appended(loglet, batch(f"r{number}")))).status is AppendStatus.OK
        await host.run(loglet.trim(LogletOffset(3)))
        for number in (1, 2, 3):
            world.kill(number, death)
        for number in (1, 2, 3):
            await world.restart(number)
        host = world.hosts[2]
        loglet = host.loglet(params)
        tail = await host.run(patiently_sealed(loglet))
        assert tail.offset == 21
        expected = [f"r{number}" for number in range(3, 20)]
        assert await host.run(read(loglet, 4, 21)) == expected
        assert await host.run(loglet.trim_point()) == 3

    tell(story)


def test_a_failed_disk_acknowledges_nothing_more() -> None:
    """Goal: after a failed fsync the log server is fail-safe: it denies, the others carry on, and
    two failed disks stop the appends instead of losing them. Method: break one disk, then two."""

    async def story(world: World) -> None:
        host = world.hosts[1]
        loglet = host.loglet(world.params())
        world.medium(world.hosts[3].id).faults = DiskFaults(sync_error_probability=1.0)
        for text in "ab":
            assert (await host.run(appended(loglet, batch(text)))).status is AppendStatus.OK
        await asyncio.sleep(0.5)
        assert world.hosts[3].log_server.state is LogServerState.FAIL_SAFE
        assert (await host.run(appended(loglet, batch("c")))).status is AppendStatus.OK
        world.medium(world.hosts[2].id).faults = DiskFaults(write_error_probability=1.0)
        ended = host.spawn(appended(loglet, batch("d")))
        await asyncio.sleep(5)
        assert not ended.done() or ended.result().status is not AppendStatus.OK
        assert await host.run(read(loglet, 1, 4)) == ["a", "b", "c"]

    tell(story)


def test_a_busy_disk_is_only_late() -> None:
    """Goal: a store that asks for a pause loses nothing and breaks nothing."""

    async def story(world: World) -> None:
        host = world.hosts[1]
        loglet = host.loglet(world.params())
        for number in (1, 2, 3):
            world.medium(world.hosts[number].id).faults = DiskFaults(busy_probability=0.5)
        for number in range(20):
            assert (await host.run(appended(loglet, batch(f"r{number}")))).status is AppendStatus.OK
        await host.run(loglet.trim(LogletOffset(10)))
        assert all(h.log_server.state is LogServerState.READY for h in world.hosts.values())

    tell(story)


def test_a_damaged_row_is_read_from_another_log_server() -> None:
    """Goal: a flipped bit is noticed and never delivered (L7). Method: flip bits of one disk until
    each row has had a chance, read everything from the host of that disk."""

    async def story(world: World) -> None:
        host = world.hosts[1]
        loglet = host.loglet(world.params())
        for number in range(10):
            await host.run(appended(loglet, batch(f"record {number}")))
        await asyncio.sleep(0.1)
        reader = world.hosts[2]
        for _ in range(20):
            world.medium(reader.id).flip_bit("log-store")
        expected = [f"record {number}" for number in range(10)]
        assert await reader.run(read(reader.loglet(world.params()), 1, 11)) == expected

    tell(story, range(5))


def test_a_follower_does_not_depend_on_its_own_log_server() -> None:
    """Goal: a reader goes on although the log server next to it hears nothing any more.
    Method: cut the append lane of one host, read there what is appended meanwhile."""

    async def story(world: World) -> None:
        world.network.cut("node-1", "node-3", Swimlane.APPEND)
        host, follower = world.hosts[1], world.hosts[3]
        loglet, followed = host.loglet(world.params()), follower.loglet(world.params())

        async def follow() -> None:
            while followed.known_tail.value.offset < 2:
                try:
                    await followed.wait_for_tail(LogletOffset(2))
                except LogletUnavailable:
                    await asyncio.sleep(0.1)

        following = follower.spawn(follow())
        await asyncio.sleep(0.1)
        await host.run(appended(loglet, batch("a")))
        await asyncio.wait_for(following, 20)
        assert await follower.run(read(followed, 1, 2)) == ["a"]

    tell(story)


def test_who_waits_in_vain_is_answered_and_forgotten() -> None:
    """Goal: tail waits of askers that gave up do not pile up on a log server. Method: follow an
    idle loglet for a minute, count what is left a while after the follower is gone."""

    async def story(world: World) -> None:
        follower = world.hosts[3]
        followed = follower.loglet(world.params())
        world.hosts[1].loglet(world.params())

        async def follow() -> None:
            while True:
                try:
                    await followed.wait_for_tail(LogletOffset(2))
                except LogletUnavailable:
                    await asyncio.sleep(0.1)

        following = follower.spawn(follow())
        await asyncio.sleep(60)
        following.cancel()
        await asyncio.sleep(5)
        workers = [
            host.log_server.worker(world.params().loglet_id) for host in world.hosts.values()
        ]
        assert all(worker.is_idle for worker in workers)

    tell(story, range(1))


def test_a_loglet_without_write_quorum_of_servers_asks_for_another_nodeset() -> None:
    """Goal: when the nodes configuration leaves too few writable members, appends end with
    RECONFIGURE rather than hang. Method: turn two members to `gone`."""

    async def story(world: World) -> None:
        host = world.hosts[1]
        loglet = host.loglet(world.params())
        nodes = world.nodes
        for number in (2, 3):
            member = nodes.node(world.hosts[number].id)
            assert member is not None
            nodes = nodes.updated(replace(member, storage_state=StorageState.GONE), None)
        host.cache.install(MetadataKind.NODES_CONFIGURATION, nodes)
        result = await asyncio.wait_for(host.run(appended(loglet, batch("a"))), 10)
        assert result.status is AppendStatus.RECONFIGURE

    tell(story)
