"""Replay: exactly once over crashes and doubled records, and what stops it."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from worker_world import P0, Worker, World, run

from restate_node.protocol.partition import tables
from restate_node.roles.worker.partition_store import store_path
from restate_node.sim.disk import DiskFaults
from restate_node.types.fabric import RpcFailure
from restate_node.types.offsets import Lsn
from restate_node.types.options import WorkerOptions
from restate_node.types.processor_messages import ReplayStatus
from restate_node.types.records import pack
from restate_node.types.wal import Envelope, PatchState
from restate_node.wire.wal import encode_record


def record(key: str, value: int) -> bytes:
    patch = PatchState("Box", key, {"value": b"%d" % value})
    return encode_record(Envelope(None, 1, patch))


@pytest.mark.parametrize("seed", range(8))
def test_crashes_and_doubles_leave_no_trace(seed: int) -> None:
    """Goal: P1 and P3. Method: patches through changing leaders while every batch is written twice
    and nodes are killed, leaders in the middle of a patch too; in the end each replica equals one
    that was never disturbed, and what was acknowledged last is there."""

    async def main(world: World) -> None:
        workers = await world.add_workers(3)
        world.logs.doubling = True
        chance = world.loop.streams.stream("test")
        cut_off: list[asyncio.Future[tuple[Lsn | BaseException]]] = []
        for number in range(25):
            leader = victim = chance.choice(workers)
            await world.elect(leader)
            await leader.patch(f"k{number % 4}", value=str(number))
            if chance.random() < 0.5:
                patch = leader.patch("k", value=str(number))
                cut_off.append(asyncio.gather(patch, return_exceptions=True))
                await asyncio.sleep(chance.uniform(0, 0.005))
            else:
                await asyncio.sleep(chance.uniform(0, 10))
                victim = chance.choice(workers)
            victim.kill()
            await victim.boot()
            await world.order(None, to=[victim])
        await world.caught_up(*workers)
        assert [worker.hash() for worker in workers] == [world.expected_hash()] * 3
        assert workers[0].state("k3") == {"value": "23"}

    run(main, seed)


def test_restart_resumes_where_the_store_stands() -> None:
    """Goal: nothing is replayed that is durable. Method: flush by time, then kill; the log before
    the durable LSN is taken away, so that needing it would be a trim gap."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        world.log.append(pack([record("k", n) for n in range(10)]))
        await world.order(None)
        await asyncio.sleep(40)
        status = await one.status()
        assert status is not None and status.durable_lsn == 10
        world.log.append(pack([record("k", 10)]))
        await world.caught_up(one)
        one.kill()
        await one.boot()
        world.log.trimmed = 10
        await world.order(None)
        await world.caught_up(one)
        assert one.hash() == world.expected_hash()

    run(main)


def test_an_orderly_stop_flushes_and_steps_down() -> None:
    """Goal: nothing to replay after a graceful restart. Method: stop right after a patch; all that
    was applied must be on the disk."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        await world.elect(one)
        last = await one.patch("k", value="1")
        await world.caught_up(one)
        await one.shut_down()
        assert one.events[-1] == "follower 0"
        one.kill()
        image = one.medium.stores[store_path(P0)]
        assert image.owner is None and not image.pending
        assert tables.read_applied(_Image(one), P0) == last

    run(main)


class _Image:
    """What lies on the disk of a node that does not run."""

    def __init__(self, worker: Worker) -> None:
        self._rows = worker.medium.stores[store_path(P0)].families["data"]

    def get(self, key: bytes) -> bytes | None:
        return self._rows.get(key)

    def scan(self, start: bytes, end: bytes, *, rows_max: int) -> list[tuple[bytes, bytes]]:
        return list(self._rows.rows(start, end, rows_max, reverse=False))


def test_a_trim_gap_parks_the_processor() -> None:
    """Goal: the replica waits and says why. Method: trim what it lacks; it must report STARTING,
    pause longer each time, and log the line that operators search for."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        world.log.append(pack([record("k", n) for n in range(5)]))
        world.log.trimmed = 3
        with structlog.testing.capture_logs() as lines:
            await world.order(one)
            await asyncio.sleep(30)
            status = await one.status()
        assert status is not None and status.replay_status is ReplayStatus.STARTING
        assert status.applied_lsn is status.durable_lsn is status.target_tail_lsn is None
        text = "A log trim gap was encountered, but no snapshot repository is configured!"
        pauses = [line["retry_in_s"] for line in lines if line["event"] == text]
        assert pauses[:3] == [2, 4, 8] and len(pauses) <= 5
        with pytest.raises(RpcFailure, match="does not run here now"):
            await one.patch("k", value="x")

    run(main)


@pytest.mark.parametrize("bad", [b"\x09newer", b"\x01junk"])
def test_an_unreadable_record_stops_this_partition_only(bad: bytes) -> None:
    """Goal: no record is skipped, the node lives. Method: one bad record behind three good ones."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        world.log.append(pack([*(record("k", n) for n in range(3)), bad, record("k", 9)]))
        with structlog.testing.capture_logs() as lines:
            await world.order(None)
            await asyncio.sleep(20)
        stopped = [line["event"] for line in lines if line["event"].startswith("LSN 4: ")]
        assert 2 <= len(stopped) <= 5
        store = one.medium.stores[store_path(P0)]
        assert store.families["data"].rows(b"", b"\xff", 100, reverse=False)
        assert not one.tasks.is_stopping
        world.log.records[3] = record("k", 8)
        await world.caught_up(one)
        assert one.hash() == world.expected_hash()

    run(main, options=WorkerOptions(command_batch_records_max=1))


def test_a_store_ahead_of_the_log_is_parked() -> None:
    """Goal: a log that lost its end is noticed, nothing is applied twice. Method: take records away
    while the node is down; when they come back, it goes on."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        world.log.append(pack([record("k", n) for n in range(5)]))
        await world.order(None)
        await world.caught_up(one)
        await one.shut_down()
        one.kill()
        lost = world.log.records[3:]
        del world.log.records[3:]
        world.log.tail.set(4)
        await one.boot()
        with structlog.testing.capture_logs() as lines:
            await world.order(one)
            await asyncio.sleep(10)
        assert any("the log ends before 4" in line["event"] for line in lines)
        assert world.metadata.epoch(P0).epoch == 0, "it must not lead"
        world.log.append(pack([*lost, record("k", 5)]))
        await world.caught_up(one)

    run(main)


def test_a_failing_disk_is_survived() -> None:
    """Goal: a processor that loses its store opens it anew. Method: writes fail or are refused for
    a while."""

    async def main(world: World) -> None:
        (one,) = await world.add_workers(1)
        await world.elect(one)
        one.medium.faults = DiskFaults(write_error_probability=0.5, busy_probability=0.3)
        for number in range(10):
            world.log.append(pack([record(f"k{number}", number)]))
            await asyncio.sleep(1)
        one.medium.faults = DiskFaults()
        await world.caught_up(one)
        assert one.hash() == world.expected_hash()
        assert one.events[:3] == ["leader 0", "announce 0 epoch 1", "follower 0"]

    run(main)


def test_replay_leaves_turns_to_others() -> None:
    """Goal: a long log does not hold the loop. Method: count the turns that others get while a run
    of 3000 records, delivered at once, is applied in slices of 32."""

    async def main(world: World) -> None:
        world.logs.run_records_max = 3000
        (one,) = await world.add_workers(1)
        world.log.append(pack([record("k", n) for n in range(3000)]))
        turns = 0

        def count() -> None:
            nonlocal turns
            turns += 1
            if one.manager.stores()[P0].applied < 3000:
                world.loop.call_soon(count)

        world.logs.on_read = count
        await world.order(None)
        await world.caught_up(one)
        assert turns >= 3000 // 32

    run(main, options=WorkerOptions())
