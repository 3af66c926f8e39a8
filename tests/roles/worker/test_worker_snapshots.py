"""Snapshots of workers: taken by request and by policy, and what replicas do with them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise

import pytest
import structlog

from restate_node.sim.objects import ObjectFaults
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.options import SnapshotOptions, WorkerOptions
from restate_node.types.processor_messages import ReplayStatus
from tests.roles.worker.worker_world import P0, Worker, World, run


async def leader_with_records(world: World, count: int = 10) -> Worker:
    """One of two workers leads and has applied some records; the other is down."""
    world.add_bucket()
    one, two = await world.add_workers(2)
    two.kill()
    await world.elect(one, to=[one])
    for number in range(count):
        await one.patch("k", value=str(number))
    await world.caught_up(one)
    return one


def test_a_leader_publishes_what_it_has_applied() -> None:
    """Goal: a snapshot of the applied position, known as archived, nothing left on the disk; at the
    same position the same one. Method: ask twice, write, ask again."""

    async def main(world: World) -> None:
        one = await leader_with_records(world)
        assert world.bucket is not None
        first = await one.snapshot()
        status = await one.status()
        assert status is not None
        assert first.min_applied_lsn == status.applied_lsn == status.archived_lsn
        latest = json.loads(world.bucket.objects["prefix/0/latest.json"])
        assert latest["snapshot_id"] == first.snapshot_id
        assert not [path for path in one.medium.files if "snapshots" in path]
        assert await one.snapshot() == first
        await one.patch("k", value="later")
        assert await one.snapshot(at_least=first.min_applied_lsn) == first
        second = await one.snapshot(at_least=first.min_applied_lsn + 1)
        assert second.min_applied_lsn == first.min_applied_lsn + 1

    run(main)


def test_requests_that_cannot_be_met_say_why() -> None:
    """Goal: no leader here, not that far, store away: an error each, and the leader goes on.
    Method: ask a follower, ask beyond the log, ask during an outage."""

    async def main(world: World) -> None:
        one = await leader_with_records(world)
        with pytest.raises(RpcFailure, match="Applied LSN below the target LSN: 11 < 999 for"):
            await one.snapshot(at_least=999)
        assert world.bucket is not None
        world.bucket.faults = ObjectFaults(refused_probability=1.0)
        with pytest.raises(RpcFailure) as failed:
            await one.snapshot()
        assert failed.value.code is RpcCode.FAILED
        world.bucket.faults = ObjectFaults()
        await one.patch("k", value="on")
        await one.snapshot()
        two = world.workers[1]
        await two.boot()
        await world.order(one)
        await world.caught_up(two)
        with pytest.raises(RpcFailure, match="is not led by this node"):
            await two.snapshot()

    run(main)


def test_without_a_repository_there_are_no_snapshots() -> None:
    """Goal: a refusal that names the setting. Method: a leader without a repository."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        await world.elect(one)
        with pytest.raises(RpcFailure, match="no snapshot repository is configured") as refused:
            await one.snapshot()
        assert refused.value.code is RpcCode.FORBIDDEN

    run(main)


def test_a_replica_behind_the_trim_point_starts_from_a_snapshot() -> None:
    """Goal: no record is missing in the end. Method: a replica that has applied some records is
    down while more come, a snapshot is published and the log trimmed; it must equal the leader."""

    async def main(world: World) -> None:
        one = await leader_with_records(world)
        two = world.workers[1]
        await two.boot()
        await world.order(one)
        await world.caught_up(two)
        two.kill()
        for number in range(20):
            await one.patch(f"k{number}", value="late")
        snapshot = await one.snapshot()
        await one.patch("k", value="behind the snapshot")
        world.log.trimmed = snapshot.min_applied_lsn
        await two.boot()
        with structlog.testing.capture_logs() as lines:
            await world.order(one)
            await world.caught_up(two)
        assert any(line.get("snapshot") == snapshot.snapshot_id for line in lines)
        assert two.hash() == one.hash()

    run(main)


def test_a_new_replica_starts_from_a_snapshot_even_if_the_log_is_whole() -> None:
    """Goal: no replay of what a snapshot holds. Method: publish, then boot a node without state."""

    async def main(world: World) -> None:
        one = await leader_with_records(world)
        snapshot = await one.snapshot()
        two = world.workers[1]
        await two.boot()
        with structlog.testing.capture_logs() as lines:
            await world.order(one)
            await world.caught_up(two)
        assert any(line.get("snapshot") == snapshot.snapshot_id for line in lines)
        assert two.hash() == one.hash()

    run(main)


@pytest.mark.parametrize(
    ("publish", "line"),
    [
        (False, "A log trim gap was encountered, but no snapshot is available for this partition!"),
        (True, "The latest available snapshot is from an LSN before the target LSN!"),
    ],
)
def test_a_gap_that_no_snapshot_bridges_parks_until_one_does(publish: bool, line: str) -> None:
    """Goal: the exact line, no skipping, and recovery as soon as a snapshot is there. Method: trim
    beyond what is published, watch, then publish."""

    async def main(world: World) -> None:
        one = await leader_with_records(world)
        if publish:
            await one.snapshot()
        await one.patch("k", value="later")
        two = world.workers[1]
        await two.boot()
        world.log.trimmed = world.log.tail.value - 1
        with structlog.testing.capture_logs() as lines:
            await world.order(one)
            await asyncio.sleep(15)
            status = await two.status()
        assert status is not None and status.replay_status is ReplayStatus.STARTING
        assert 2 <= [entry["event"] for entry in lines].count(line) <= 5
        await one.snapshot()
        await world.caught_up(two)
        assert two.hash() == one.hash()

    run(main)


def test_a_cut_download_is_never_imported() -> None:
    """Goal: short answers are noticed. Method: every read comes short for a while; the replica must
    not start from them, and equal the leader later."""

    async def main(world: World) -> None:
        one = await leader_with_records(world)
        snapshot = await one.snapshot()
        world.log.trimmed = snapshot.min_applied_lsn
        assert world.bucket is not None
        world.bucket.faults = ObjectFaults(short_probability=1.0)
        two = world.workers[1]
        await two.boot()
        await world.order(one)
        await asyncio.sleep(10)
        status = await two.status()
        assert status is not None and status.applied_lsn is None
        world.bucket.faults = ObjectFaults()
        await world.caught_up(two)
        assert two.hash() == one.hash()

    run(main)


def test_the_policy_takes_snapshots_on_the_leader() -> None:
    """Goal: one per so many records, by the leader. Method: write in steps, count snapshots."""

    async def main(world: World) -> None:
        one = await leader_with_records(world)
        seen: set[int | None] = set()
        for number in range(60):
            await one.patch("k", value=str(number))
            await asyncio.sleep(1)
            status = await one.status()
            assert status is not None
            seen.add(status.archived_lsn)
        taken = sorted(lsn for lsn in seen if lsn)
        assert 2 <= len(taken) <= 4
        assert all(later - former >= 20 for former, later in pairwise(taken))

    run(main, options=replace(WorkerOptions(), snapshots=SnapshotOptions(
        snapshot_interval_num_records=20
    )))  # fmt: skip


def test_exports_of_a_former_process_are_removed() -> None:
    """Goal: crashes do not fill the disk. Method: leave files in both places, boot."""

    async def main(world: World) -> None:
        world.add_bucket()
        (one,) = await world.add_workers(1)
        one.kill()
        one.medium.files["db-snapshots/0/snap/000001.sst"] = b"x"
        one.medium.files["pp-snapshots/0/000001.sst"] = b"x"
        await one.boot()
        assert not one.medium.files
        await world.elect(one)
        assert P0 in one.manager.stores()

    run(main)
