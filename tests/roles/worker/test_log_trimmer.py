"""Logs are trimmed as far as the durability mode allows, and no further."""

from __future__ import annotations

import asyncio

import pytest

from restate_node.types.options import DurabilityMode, WorkerOptions
from tests.roles.worker.worker_world import Worker, World, run

DELAY_MS = 60_000


def options(mode: DurabilityMode | None) -> WorkerOptions:
    return WorkerOptions(durability_mode=mode, trim_delay_interval_ms=DELAY_MS)


async def write(leader: Worker, count: int) -> None:
    for number in range(count):
        await leader.patch("k", value=str(number))


def test_a_single_node_trims_what_its_disk_has() -> None:
    """Goal: trimmed after the delay, not before, never above the durable LSN, and an idle log comes
    to rest. Method: write, watch the trim point over minutes."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        await world.elect(one)
        await write(one, 10)
        await asyncio.sleep(DELAY_MS / 1000)
        assert world.log.trimmed == 0
        await asyncio.sleep(120)
        status = await one.status()
        assert status is not None and status.durable_lsn is not None
        assert 10 <= world.log.trimmed <= status.durable_lsn
        tail = world.log.tail.value
        await asyncio.sleep(600)
        assert world.log.tail.value == tail

    run(main, options=options(None))


@pytest.mark.parametrize(
    "mode", [None, DurabilityMode.SNAPSHOT_ONLY, DurabilityMode.SNAPSHOT_AND_REPLICA_SET]
)
def test_a_cluster_without_a_repository_trims_nothing(mode: DurabilityMode | None) -> None:
    """Goal: only a snapshot lets a record go. Method: two replicas, no repository, a long time."""

    async def main(world: World) -> None:
        one, two = await world.add_workers(2)
        await world.elect(one)
        await write(one, 10)
        await world.caught_up(one, two)
        tail = world.log.tail.value
        await asyncio.sleep(900)
        assert world.log.trimmed == 0 and world.log.tail.value == tail

    run(main, options=options(mode))


def test_a_cluster_trims_to_its_snapshot() -> None:
    """Goal: balanced means archived and durable somewhere. Method: publish, write on, wait; also
    with one replica down."""

    async def main(world: World) -> None:
        world.add_bucket()
        one, two = await world.add_workers(2)
        await world.elect(one)
        await write(one, 10)
        two.kill()
        snapshot = await one.snapshot()
        await write(one, 10)
        await asyncio.sleep(300)
        assert world.log.trimmed == snapshot.min_applied_lsn

    run(main, options=options(None))


def test_a_replica_that_is_down_keeps_the_log_where_all_count() -> None:
    """Goal: replica-set-only waits for every replica. Method: one is down for long; it comes back
    and finds all records."""

    async def main(world: World) -> None:
        one, two = await world.add_workers(2)
        await world.elect(one)
        two.kill()
        await write(one, 10)
        await asyncio.sleep(600)
        assert world.log.trimmed == 0
        await two.boot()
        await world.order(one)
        await world.caught_up(two)
        await asyncio.sleep(300)
        assert world.log.trimmed >= 10
        assert two.hash() == one.hash()

    run(main, options=options(DurabilityMode.REPLICA_SET_ONLY))
