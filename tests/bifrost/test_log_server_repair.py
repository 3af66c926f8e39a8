"""A log server that lost its data, or is suspected to, is repaired from its peers: three simulated
hosts, replication 2, real log servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pytest
from log_world import LOG, Host, World, batch, tell

from restate_node.bifrost.appender import Appender
from restate_node.bifrost.errors import AppendFailed, LogUnavailable
from restate_node.bifrost.log import SegmentRequest
from restate_node.bifrost.repair_progress import Phase, RepairProgress
from restate_node.bifrost.server_repair import ServerRepair
from restate_node.roles.log_server.service import LogServerState
from restate_node.roles.log_server.start import StartMode
from restate_node.sim.disk import DiskFaults
from restate_node.sim.hosts import Death
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.ids import PlainNodeId
from restate_node.types.log_messages import (
    GetLogletInfo,
    GetRecords,
    LogletHeader,
    LogletInfo,
    Records,
    Seal,
    Status,
    Store,
)
from restate_node.types.logs import ReplicatedSegment, SealMarker
from restate_node.types.nodes import StorageState
from restate_node.types.offsets import LogletOffset, Lsn, to_offset
from restate_node.types.records import RecordBatch

T = TypeVar("T")


class Book:
    """Writes numbered records to the log, and knows which LSN each got."""

    def __init__(self, world: World, number: int = 1) -> None:
        self.host = world.hosts[number]
        self.appender: Appender = self.host.bifrost.appender(LOG)
        self.host.spawn(self.appender.run())
        self.records: dict[int, str] = {}
        """By LSN; what is written by other means is not in it."""

    async def write(self, count: int, size: int = 0) -> None:
        """Acknowledged when it returns."""
        for _ in range(count):
            text = f"record {len(self.records) + 1} " + "x" * size
            lsn = await asyncio.wait_for(self.host.run(self.appender.append(batch(text))), 60)
            self.records[lsn] = text

    async def next_segment(self, *nodeset: int) -> None:
        """Reconfigure, onto these nodes if any are named."""
        bifrost = self.host.bifrost
        (*_, tail) = (await self.host.run(bifrost.chains())).chains[LOG].segments
        request = SegmentRequest(nodeset=tuple(PlainNodeId(number) for number in nodeset))
        await patiently(lambda: self.host.run(bifrost.reconfigure(LOG, tail.index, request)))


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """Connections break with a host, and quorums need a moment to answer again."""
    for _ in range(100):
        try:
            return await attempt()
        except (LogUnavailable, RpcFailure):
            await asyncio.sleep(0.1)
    raise AssertionError("it never became possible")


async def lose(world: World, number: int, death: Death = Death.KILLED) -> Host:
    """The host's disk is gone; its next life awaits a repair."""
    host = world.hosts[number]
    world.kill(number, death)
    world.medium(host.id).wipe()
    return await world.restart(number, StorageState.DATA_LOSS, StartMode.AWAITING_REPAIR)


def repair_of(host: Host, *, dry_run: bool = False) -> ServerRepair:
    return ServerRepair(
        host.cache,
        host.bifrost,
        host.fabric,
        host.repaired,
        host.world.is_alive,
        host.world.rng,
        dry_run=dry_run,
    )


async def repair(host: Host, *, dry_run: bool = False) -> RepairProgress:
    one = repair_of(host, dry_run=dry_run)
    await asyncio.wait_for(host.run(one.run()), 120)
    host.world.learn()
    return one.progress


async def copied(running: ServerRepair, count: int) -> None:
    """Until a repair has copied so many records."""
    for _ in range(100_000):
        if running.progress.records_copied >= count:
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it copies nothing")


async def refused(host: Host, *, dry_run: bool = False) -> str:
    """The first problem; the state is what it was."""
    before = state_of(host)
    progress = await repair(host, dry_run=dry_run)
    assert progress.phase is Phase.REFUSED
    assert state_of(host) is before
    return progress.problems[0]


def state_of(host: Host) -> StorageState:
    return host.cache.nodes.value.storage_state(host.id)


def segments(host: Host) -> list[ReplicatedSegment]:
    return list(host.cache.logs.value.chains[LOG].replicated)


async def held_by(host: Host, asker: Host) -> dict[int, str]:
    """All records of the log that this very log server answers, by LSN; open segments apart."""
    found: dict[int, str] = {}
    chain = asker.cache.logs.value.chains[LOG]
    for segment in chain.replicated:
        end = chain.end_of(segment)
        if end is None or host.id not in segment.params.nodeset:
            continue
        position = LogletOffset(1)
        while position < to_offset(segment.base_lsn, end):
            tail = to_offset(segment.base_lsn, end)
            ask = GetRecords(segment.params.loglet_id, position, tail, 1 << 20, True)
            answer = await asker.run(asker.fabric.call(host.id, ask, Records))
            for run in answer.runs:
                lsn = segment.base_lsn + run.first_offset - 1
                texts = RecordBatch(run.count, run.body).records()
                found |= {lsn + index: text.decode() for index, text in enumerate(texts)}
            if answer.next_offset <= position:
                break
            position = answer.next_offset
    return found


def beyond(trim_point: int, records: dict[int, str]) -> dict[int, str]:
    return {lsn: text for lsn, text in records.items() if lsn > trim_point}


@pytest.mark.parametrize("death", list(Death))
def test_a_server_that_lost_everything_has_everything_again(death: Death) -> None:
    """Goal: every record of ended and of open segments that named the node is on it afterwards, by
    itself it is read-write, takes records, and survives a restart as a whole server.

    How: several segments, wipe, repair, then compare what it answers with what was written.
    """

    async def story(world: World) -> None:
        book = Book(world)
        for _ in range(3):
            await book.write(15)
            await book.next_segment()
        await book.write(7)
        host = await lose(world, 3, death)
        assert host.log_store.marker() is None
        progress = await repair(host)
        assert host.log_store.marker() is not None, "it is taken for complete from now on"
        assert (progress.phase, progress.problems) == (Phase.DONE, [])
        assert progress.closed == [LOG], "the open segment was moved off the node first"
        assert progress.records_copied >= len(book.records)
        assert progress.records_checked == progress.records_total
        assert state_of(host) is StorageState.READ_WRITE
        assert host.log_server.state is LogServerState.READY
        assert await held_by(host, world.hosts[1]) == book.records
        await book.next_segment(2, 3)
        await book.write(5)
        world.kill(3)
        host = await world.restart(3, StorageState.READ_WRITE)
        await book.next_segment(1, 2)
        assert await held_by(host, world.hosts[1]) == book.records

    tell(story)


def test_trimmed_records_stay_trimmed() -> None:
    """Goal: what was trimmed is not wanted, and the trim point is remembered again.

    How: trim the first segment and half of the second.
    """

    async def story(world: World) -> None:
        book = Book(world)
        await book.write(10)
        await book.next_segment()
        await book.write(10)
        await book.host.run(book.host.bifrost.trim(LOG, Lsn(15)))
        host = await lose(world, 3)
        progress = await repair(host)
        assert progress.phase is Phase.DONE
        assert 5 <= progress.records_copied < 15
        assert await held_by(host, world.hosts[1]) == beyond(15, book.records)
        (loglet,) = (s.params.loglet_id for s in segments(host) if host.id in s.params.nodeset)
        info = await host.run(host.fabric.call(host.id, GetLogletInfo(loglet), LogletInfo))
        assert info.trim_point >= 5 and info.header.sealed

    tell(story)


def test_a_server_awaiting_repair_promises_nothing() -> None:
    """Goal: others must not take what it forgot for an answer: it is silent about tails, denies
    stores and seals, and still shows records. Afterwards it remembers that loglets have ended, also
    those that the chain has forgotten.

    How: ask it as a former sequencer would, before and after the repair and a restart.
    """

    async def story(world: World) -> None:
        book = Book(world)
        await book.write(3)
        (first,) = segments(book.host)
        await book.next_segment()
        await book.next_segment(1, 2)
        host = await lose(world, 3)
        former = world.hosts[1]

        async def store() -> Status:
            params, more = first.params, batch("late")
            request = Store(
                params.loglet_id,
                params.sequencer,
                LogletOffset(4),
                LogletOffset(4),
                more.count,
                more.body,
            )
            header = await patiently(
                lambda: former.run(former.fabric.call(host.id, request, LogletHeader))
            )
            return header.status

        assert await store() is Status.DISABLED
        for ask in (
            GetLogletInfo(first.params.loglet_id),
            Seal(first.params.loglet_id, first.params.sequencer),
        ):
            with pytest.raises(RpcFailure) as silent:
                await former.run(former.fabric.call(host.id, ask, LogletHeader))
            assert silent.value.code is RpcCode.UNKNOWN_METHOD
        assert (await repair(host)).phase is Phase.DONE
        assert await store() is Status.SEALED
        world.kill(3)
        host = await world.restart(3, StorageState.READ_WRITE)
        assert await store() is Status.SEALED
        await former.run(former.bifrost.trim(LOG, Lsn(3)))
        assert first.index not in [segment.index for segment in segments(former)]
        host = await lose(world, 3)
        assert (await repair(host)).phase is Phase.DONE
        assert await store() is Status.SEALED, "of a segment that is in no chain any more"

    tell(story)


def test_a_repair_that_is_interrupted_goes_on_where_it_was() -> None:
    """Goal: a crash loses no copy, and the second repair copies the rest only.

    How: kill the host when about half is copied.
    """

    async def story(world: World) -> None:
        book = Book(world)
        await book.write(60, size=60_000)
        host = await lose(world, 3)
        first = repair_of(host)
        host.spawn(first.run())
        await copied(first, 20)
        done = first.progress.records_copied
        assert done < 60
        world.kill(3)
        host = await world.restart(3, StorageState.DATA_LOSS, StartMode.AWAITING_REPAIR)
        second = await repair(host)
        assert second.phase is Phase.DONE
        assert second.records_copied <= 60 - done
        assert await held_by(host, world.hosts[1]) == book.records

    tell(story)


def test_a_peer_that_dies_is_replaced_by_another() -> None:
    """Goal: one copy that can be read is enough. How: kill a peer when the copying has begun."""

    async def story(world: World) -> None:
        book = Book(world)
        await book.write(60, size=60_000)
        await book.next_segment()
        host = await lose(world, 3)
        one = repair_of(host)
        running = host.spawn(one.run())
        await copied(one, 1)
        world.kill(2, Death.POWER_LOST)
        await asyncio.wait_for(running, 120)
        assert (one.progress.phase, one.progress.problems) == (Phase.DONE, [])
        assert await held_by(host, world.hosts[1]) == book.records

    tell(story)


def test_what_has_no_other_copy_is_named_and_refused() -> None:
    """Goal: a lost record is never papered over: it is named by log, LSN, loglet and offset, all
    else is saved, and the node stays as it was. A peer that is only down is waited for.

    How: one segment on N1 and N3 alone; N1 is down, then back, then wiped as well.
    """

    async def story(world: World) -> None:
        book = Book(world, 2)
        await book.write(4)
        await book.next_segment(1, 3)
        await book.write(6)
        await book.next_segment(1, 2)
        host = await lose(world, 3)
        world.kill(1)
        text = await refused(host)
        assert text.startswith("log 0, LSN 5-10 (loglet 0_1, offset 1-6): no log server that")
        assert "not heard from N1" in text
        await world.restart(1)
        assert (await repair(host)).phase is Phase.DONE
        host = await lose(world, 3)
        await lose(world, 1)
        text = await refused(host)
        assert text.startswith("log 0, LSN 5-10 (loglet 0_1, offset 1-6): no log server has a copy")
        saved = {lsn: record for lsn, record in book.records.items() if lsn < 5}
        assert await held_by(host, world.hosts[2]) == saved
        assert await refused(host, dry_run=True) == text

    tell(story)


def test_a_record_that_differs_is_named_and_not_overwritten() -> None:
    """Goal: never decide between two values of one offset. How: store another record by hand."""

    async def story(world: World) -> None:
        book = Book(world)
        await book.write(5)
        await book.next_segment(1, 2)
        host = await lose(world, 3)
        (segment, _) = segments(host)
        wrong = batch("another record")
        request = Store(
            segment.params.loglet_id,
            segment.params.sequencer,
            LogletOffset(1),
            LogletOffset(3),
            wrong.count,
            wrong.body,
            repair=True,
        )
        await host.run(host.fabric.call(host.id, request, LogletHeader))
        text = await refused(host)
        assert text.startswith("log 0, LSN 3 (loglet 0_0, offset 3): N1, N2, N3 hold different")
        held = await held_by(host, world.hosts[1])
        assert held[3] == "another record"
        assert {1: held[1], 2: held[2]} == {1: book.records[1], 2: book.records[2]}

    tell(story)


def test_a_target_whose_disk_is_full() -> None:
    """Goal: the repair ends with the reason, the node stays out of service, and a larger disk is
    filled from where the first one ended.
    """

    async def story(world: World) -> None:
        book = Book(world)
        await book.write(40, size=60_000)
        host = await lose(world, 3)
        medium = world.medium(host.id)
        medium.capacity_bytes = 1_000_000
        assert "its disk failed or is full" in await refused(host)
        assert state_of(host) is StorageState.DATA_LOSS
        medium.capacity_bytes = None
        world.kill(3)
        host = await world.restart(3, StorageState.DATA_LOSS, StartMode.AWAITING_REPAIR)
        progress = await repair(host)
        assert progress.phase is Phase.DONE
        assert await held_by(host, world.hosts[1]) == book.records

    tell(story)


def test_a_target_that_is_busy_is_only_late() -> None:
    """Goal: a store that asks for pauses is filled all the same. How: half of all writes are sent
    away.
    """

    async def story(world: World) -> None:
        book = Book(world)
        for _ in range(3):
            await book.write(20)
            await book.next_segment()
        host = await lose(world, 3)
        world.medium(host.id).faults = DiskFaults(busy_probability=0.7)
        progress = await repair(host)
        assert (progress.phase, progress.problems) == (Phase.DONE, [])
        assert await held_by(host, world.hosts[1]) == book.records

    tell(story)


def test_a_damaged_copy_is_not_a_copy() -> None:
    """Goal: rows that cannot be read are taken from elsewhere; damage in the target itself is told
    apart. How: flip bits on a peer, then on the target.
    """

    async def story(world: World) -> None:
        book = Book(world)
        for _ in range(3):
            await book.write(10)
            await book.next_segment()
        host = await lose(world, 3)
        for _ in range(10):
            world.medium(world.hosts[2].id).flip_bit("log-store")
        assert (await repair(host)).phase is Phase.DONE
        assert await held_by(host, world.hosts[1]) == book.records
        world.kill(3)
        image = world.medium(host.id).stores["log-store"].families["data"]
        image.put(image.key_at(4), b"garbage that is long enough")
        host = await world.restart(3, StorageState.READ_ONLY)
        assert "cannot read its own copy" in await refused(host)

    tell(story, range(5))


def test_a_read_only_server_is_verified_and_returned() -> None:
    """Goal: holes that it always had are filled, nothing else is copied, and a second repair has
    nothing to do. How: a server that missed some records and is read-only.
    """

    async def story(world: World) -> None:
        book = Book(world)
        await book.write(5)
        world.network.cut("node-1", "node-3")
        await book.write(5)
        world.network.heal()
        await book.write(5)
        world.kill(3)
        host = await world.restart(3, StorageState.READ_ONLY)
        missing = len(book.records)
        dry = await repair(host, dry_run=True)
        assert (dry.phase, dry.closed) == (Phase.DONE, [LOG])
        assert 0 < dry.records_copied < missing and dry.planned
        assert state_of(host) is StorageState.READ_ONLY
        progress = await repair(host)
        assert progress.phase is Phase.DONE
        assert state_of(host) is StorageState.READ_WRITE
        assert await held_by(host, world.hosts[1]) == book.records
        again = await repair(host)
        assert (again.phase, again.records_total) == (Phase.DONE, 0)

    tell(story)


def test_a_log_that_cannot_go_elsewhere_is_ended_first() -> None:
    """Goal: two log servers, two copies: appends have stopped anyway, so the log gets an end, and
    goes on once the server is back. How: a world of two.
    """

    async def story(world: World) -> None:
        book = Book(world)
        await book.write(9)
        host = await lose(world, 2)
        progress = await repair(host)
        assert (progress.phase, progress.problems) == (Phase.DONE, [])
        chain = host.cache.logs.value.chains[LOG]
        assert isinstance(chain.tail, SealMarker)
        assert await held_by(host, world.hosts[1]) == book.records
        await book.write(3)
        assert len(segments(host)) >= 1

    tell(story, hosts=2)


@pytest.mark.parametrize("hosts", [2, 3])
def test_appends_under_way_when_the_data_was_lost(hosts: int) -> None:
    """Goal: where all log servers hold each record, the one that lost them gets its copies of the
    tail's last records too; what was acknowledged is there, and the log goes on.

    How: a burst of appends into a nodeset of two, one of which dies in the middle with its disk.
    """

    async def story(world: World) -> None:
        book = Book(world)
        await book.write(3)
        await book.next_segment(1, 2)
        await book.write(2)
        acknowledged: dict[int, str] = {}

        def submit(text: str) -> None:
            def committed(result: Lsn | AppendFailed) -> None:
                if not isinstance(result, AppendFailed):
                    acknowledged[result] = text

            book.appender.submit(batch(text), committed)

        async def burst() -> None:
            for number in range(200):
                submit(f"burst {number}")
                await asyncio.sleep(0.0003)

        book.host.spawn(burst())
        await asyncio.sleep(world.rng.uniform(0.01, 0.05))
        host = await lose(world, 2)
        before = dict(acknowledged)
        assert before, "the burst had begun"
        progress = await repair(host)
        assert (progress.phase, progress.problems) == (Phase.DONE, [])
        await book.write(1)
        await book.next_segment(*([1, 3] if hosts == 3 else [1, 2]))
        held = await held_by(host, book.host)
        for lsn, text in before.items():
            assert held[lsn] == text

    tell(story, range(6), hosts=hosts)


def test_a_log_that_could_go_on_is_not_ended() -> None:
    """Goal: a repair stops no log that works. How: read-only, and no third server to move to."""

    async def story(world: World) -> None:
        book = Book(world)
        await book.write(4)
        world.kill(2)
        host = await world.restart(2, StorageState.READ_ONLY)
        assert "log 0 cannot be moved off N2" in await refused(host)
        await book.write(4)

    tell(story, hosts=2)


def test_a_state_that_changed_meanwhile_is_left_alone() -> None:
    """Goal: what an operator set during the repair stands. How: disabled while it is repaired."""

    async def story(world: World) -> None:
        book = Book(world)
        await book.write(4)
        host = await lose(world, 3)
        one = repair_of(host)
        running = host.spawn(one.run())
        await copied(one, 1)
        member = world.nodes.node(host.id)
        assert member is not None
        changed = replace(member, storage_state=StorageState.DISABLED)
        world.write(world.nodes.updated(changed, None))
        await asyncio.wait_for(running, 120)
        assert one.progress.phase is Phase.REFUSED
        assert "was set to `disabled` meanwhile" in one.progress.problems[0]
        world.learn()
        assert state_of(host) is StorageState.DISABLED

    tell(story, range(1))
