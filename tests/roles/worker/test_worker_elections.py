"""Elections over a log and a metadata store: who leads, who serves, who is fenced."""

from __future__ import annotations

import asyncio

import pytest
from worker_world import P0, World, run

from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.ids import PartitionId
from restate_node.types.options import WorkerOptions
from restate_node.types.partitions import PartitionTable
from restate_node.types.processor_messages import (
    DetailedRunMode,
    PatchState,
    ReplayStatus,
    RunMode,
)

pytestmark = pytest.mark.parametrize("seed", [1, 2, 3])


def test_one_leader_serves_all_replicas(seed: int) -> None:
    """Goal: an ordered worker leads, its patches are visible on all replicas, with equal hashes
    (P1). Method: three replicas, one order, some patches."""

    async def main(world: World) -> None:
        one, two, three = await world.add_workers(3)
        await world.elect(two)
        for number in range(20):
            assert await two.patch(f"k{number % 3}", value=str(number)) >= 2
        await world.caught_up(one, two, three)
        for worker in (one, two, three):
            assert worker.state("k1") == {"value": "19"}
            assert worker.hash() == world.expected_hash()
            status = await worker.status()
            assert status is not None
            assert status.replay_status is ReplayStatus.ACTIVE
            assert (status.observed_epoch, status.observed_leader) == (1, two.me)
            assert status.applied_lsn == 21 and status.target_tail_lsn == 22
            leads = worker is two
            assert status.planned_mode is (RunMode.LEADER if leads else RunMode.FOLLOWER)
            assert status.effective_mode is status.planned_mode
            assert (status.detailed_mode is DetailedRunMode.LEADER) is leads
        assert two.events == ["leader 0", "announce 0 epoch 1"]
        assert one.events == three.events == []
        metadata = world.metadata.epoch(P0)
        assert (metadata.epoch, metadata.leader) == (1, two.me)

    run(main, seed)


def test_leadership_moves(seed: int) -> None:
    """Goal: a leader steps down when it reads a higher epoch, and not before; repeated orders do
    not shake a leader. Method: elect one, order it again, elect the other."""

    async def main(world: World) -> None:
        one, two = await world.add_workers(2)
        await world.elect(one)
        for _ in range(3):
            await world.order(one)
        await world.order(two, to=[two])
        await world.until(lambda: _leads(world, 1))
        await world.caught_up(one, two)
        assert one.events == ["leader 0", "announce 0 epoch 1", "follower 0"]
        assert two.events == ["leader 0", "announce 0 epoch 2"]
        with pytest.raises(RpcFailure, match="led by N2:1 since epoch 2") as failure:
            await one.patch("k", value="x")
        assert failure.value.code is RpcCode.NOT_READY
        await asyncio.sleep(30)
        assert world.metadata.epoch(P0).epoch == 2

    run(main, seed)


def test_a_late_announcement_is_fenced(seed: int) -> None:
    """Goal: P2. Method: two candidates whose announcements are held back come to the log in the
    wrong order: the higher epoch first. The lower one must not count."""

    async def main(world: World) -> None:
        one, two = await world.add_workers(2)
        world.logs.held.set(True)
        await world.order(one, to=[one])
        await asyncio.sleep(1)
        await world.order(two, to=[two])
        await asyncio.sleep(1)
        assert world.metadata.epoch(P0).epoch == 2 and world.log.records == []
        with pytest.raises(RpcFailure, match="has no leader yet") as failure:
            async with asyncio.timeout(1):
                await one.patch("k", value="too early")
        assert failure.value.code is RpcCode.NOT_READY
        first, second = world.logs.appenders
        second.write_now()
        first.write_now()
        world.logs.held.set(False)
        await world.caught_up(one, two)
        await asyncio.sleep(5)
        assert one.events == [] and two.events == ["leader 0", "announce 0 epoch 2"]
        assert one.hash() == two.hash() == world.expected_hash()
        assert await two.patch("k", value="x")

    run(main, seed)


def test_a_paused_leader_finds_out(seed: int) -> None:
    """Goal: who slept through its own fall serves no more. Method: freeze the leader, elect
    another, let the first go on."""

    async def main(world: World) -> None:
        one, two = await world.add_workers(2)
        await world.elect(one)
        world.loop.pause(one.process)
        await world.order(two, to=[two])
        await world.until(lambda: _leads(world, 1))
        assert await two.patch("k", value="by two")
        world.loop.resume(one.process)
        await world.caught_up(one, two)
        assert one.events[-1] == "follower 0"
        assert one.hash() == two.hash() == world.expected_hash()

    run(main, seed)


def test_rivals_end_with_one_leader(seed: int) -> None:
    """Goal: P2 when all campaign at once. Method: each node is told that it shall lead."""

    async def main(world: World) -> None:
        workers = await world.add_workers(3)
        for worker in workers:
            await world.order(worker, to=[worker])
        await asyncio.sleep(5)
        statuses = [await worker.status() for worker in workers]
        leaders = [s for s in statuses if s and s.effective_mode is RunMode.LEADER]
        assert len(leaders) == 1
        assert {s.observed_leader for s in statuses if s} == {leaders[0].observed_leader}

    run(main, seed)


@pytest.mark.parametrize("fault", ["metadata", "log"])
def test_claims_that_fail_are_repeated_on_order(seed: int, fault: str) -> None:
    """Goal: nothing is stuck after an outage. Method: order during it, and again after it."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        target = world.metadata if fault == "metadata" else world.logs
        target.unavailable = True
        await world.order(one)
        await asyncio.sleep(5)
        status = await one.status()
        assert status is not None and status.detailed_mode is DetailedRunMode.FOLLOWER
        target.unavailable = False
        await world.elect(one)

    run(main, seed)


def test_a_broken_appender_ends_the_term(seed: int) -> None:
    """Goal: no leader without a way to the log. Method: the appender fails while a patch waits; the
    caller learns that it may have been executed."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        await world.elect(one)
        world.logs.failing = True
        with pytest.raises(RpcFailure) as failure:
            await one.patch("k", value="x")
        assert failure.value.maybe_executed
        assert one.events[-1] == "follower 0"
        world.logs.failing = False
        await world.elect(one)
        assert world.metadata.epoch(P0).epoch == 2

    run(main, seed)


def test_pressure_is_refused(seed: int) -> None:
    """Goal: bounded queues. Method: hold the log, send more than may wait, then a full appender."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        await world.elect(one)
        world.logs.held.set(True)
        waiting = [asyncio.ensure_future(one.patch("k", value=str(n))) for n in range(2)]
        await asyncio.sleep(1)
        with pytest.raises(RpcFailure) as failure:
            await one.patch("k", value="too much")
        assert failure.value.code is RpcCode.OVERLOADED
        world.logs.held.set(False)
        assert sorted(await asyncio.gather(*waiting)) == [2, 3]
        world.logs.appenders[-1].is_full = True
        with pytest.raises(RpcFailure) as failure:
            await one.patch("k", value="too much")
        assert failure.value.code is RpcCode.OVERLOADED

    run(main, seed, WorkerOptions(internal_queue_length=2))


def test_keys_of_other_partitions_are_refused(seed: int) -> None:
    """Goal: a stale router does no harm. Method: two partitions, every key sent to the first."""

    async def main(world: World) -> None:
        world.table.set(PartitionTable.equal_ranges(2))
        (one,) = await world.add_workers(1)
        await world.elect(one)
        codes: set[RpcCode] = set()
        for number in range(20):
            try:
                await one.patch(f"k{number}", value="x")
                codes.add(RpcCode.OK)
            except RpcFailure as failure:
                codes.add(failure.code)
        assert codes == {RpcCode.OK, RpcCode.FORBIDDEN}
        with pytest.raises(RpcFailure, match="does not run on this node"):
            await one.ask(PatchState(PartitionId(1), "Box", "k", {}))

    run(main, seed)


async def _leads(world: World, index: int) -> bool:
    status = await world.workers[index].status()
    return status is not None and status.effective_mode is RunMode.LEADER
