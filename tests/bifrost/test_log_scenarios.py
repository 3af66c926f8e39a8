"""The log over its segments: appenders, readers and reconfigurations on three simulated hosts.

Every writer numbers its records. Whatever happens, a reader that drops what is not above the
highest number seen so far (which is what the dedup of the partitions does) must see each number
once and in order, and each acknowledged record must stand at its LSN.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from log_world import LOG, Host, World, batch, tell

from restate_node.bifrost.appender import BATCH_BYTES_MAX, Appender
from restate_node.bifrost.errors import AppendFailed, CannotReconfigure, LogUnavailable, UnknownLog
from restate_node.bifrost.log import ANY_SEGMENT, SegmentRequest
from restate_node.protocol.read_cursor import Gap, Run
from restate_node.sim.hosts import Death
from restate_node.types.ids import LogId, SegmentIndex
from restate_node.types.logs import ProviderKind, SealMarker
from restate_node.types.offsets import OLDEST_LSN, Lsn, TailState
from restate_node.types.records import RecordBatch
from restate_node.types.replication import ReplicationProperty


@dataclass
class Written:
    """What a writer was told; it outlives the writer's host."""

    name: str
    lsns: dict[int, Lsn] = field(default_factory=dict)
    failed: list[AppendFailed] = field(default_factory=list)
    submitted: int = 0

    @property
    def answered(self) -> int:
        return len(self.lsns) + len(self.failed)


class Writer:
    """Numbers records and appends them."""

    def __init__(self, host: Host, name: str, log: LogId = LOG) -> None:
        self.host = host
        self.written = Written(name)
        self.ended = asyncio.Event()
        self.appender: Appender = host.bifrost.appender(log)
        self.task = host.spawn(self.appender.run())

    def submit(self) -> None:
        self.written.submitted += 1
        self.ended.clear()
        number = self.written.submitted

        def on_committed(result: Lsn | AppendFailed) -> None:
            if isinstance(result, AppendFailed):
                self.written.failed.append(result)
            else:
                self.written.lsns[number] = result
            if self.written.answered == self.written.submitted:
                self.ended.set()

        self.appender.submit(batch(f"{self.written.name}{number}"), on_committed)

    async def stream(self, count: int, pause_s: float) -> None:
        for _ in range(count):
            self.submit()
            await asyncio.sleep(pause_s)

    async def settled(self) -> None:
        await self.ended.wait()


async def read_until(host: Host, tail: int, start: int = 1, log: LogId = LOG) -> dict[int, str]:
    """The records of `[start, tail)` by LSN; gaps are left out."""
    reader = host.bifrost.reader(log, Lsn(start))
    found: dict[int, str] = {}
    while reader.position < tail:
        position = reader.position
        for delivery in await reader.next(1 << 16):
            if isinstance(delivery, Gap):
                assert delivery.first == position
                position = Lsn(delivery.last + 1)
                continue
            assert isinstance(delivery, Run)
            assert delivery.first == position, "deliveries are contiguous"
            for record in delivery.batch.records():
                found[position] = record.decode()
                position = Lsn(position + 1)
    return found


def check(found: dict[int, str], written: Written) -> None:
    """Nothing acknowledged is lost, nothing is overtaken."""
    for number, lsn in written.lsns.items():
        assert found[lsn] == f"{written.name}{number}"
    highest = 0
    for lsn in sorted(found):
        text = found[lsn]
        if text.startswith(written.name):
            number = int(text[len(written.name) :])
            assert number <= highest + 1, f"{text} overtakes {written.name}{highest + 1}"
            highest = max(highest, number)
    assert highest >= max(written.lsns, default=0)


async def patient_tail(host: Host, log: LogId = LOG) -> Lsn:
    for _ in range(100):
        try:
            return (await host.bifrost.find_tail(log)).tail.lsn
        except LogUnavailable:
            await asyncio.sleep(0.1)
    raise AssertionError("the tail could not be found")


@pytest.mark.parametrize("kind", [ProviderKind.REPLICATED, ProviderKind.IN_MEMORY])
def test_append_and_read(kind: ProviderKind) -> None:
    """Goal: the first append creates the log; LSNs start at 1; a reader that began before the log
    existed gets everything. In-memory logs behave alike."""

    async def story(world: World) -> None:
        host = world.hosts[1]
        reading = host.spawn(read_until(host, 51))
        await asyncio.sleep(0.05)
        writer = Writer(host, "a")
        await host.run(writer.stream(50, 0.0003))
        await host.run(writer.settled())
        assert writer.written.lsns == {number: number for number in range(1, 51)}
        check(await asyncio.wait_for(reading, 10), writer.written)

    tell(story, kind=kind)


@pytest.mark.parametrize("death", list(Death))
def test_an_appender_survives_its_sequencer(death: Death) -> None:
    """Goal: when the sequencer's host dies, an appender elsewhere opens the next segment and goes
    on, in order and without loss. Method: host 1 sequences, host 2 appends through it, host 1 dies
    in the middle, hosts 2 and 3 read everything."""

    async def story(world: World) -> None:
        await world.hosts[1].run(world.hosts[1].bifrost.ensure_log(LOG))
        await asyncio.sleep(0.1)
        host = world.hosts[2]
        writer = Writer(host, "a")
        streaming = host.spawn(writer.stream(100, 0.002))
        await asyncio.sleep(world.rng.uniform(0.02, 0.15))
        world.kill(1, death)
        await streaming
        await asyncio.wait_for(host.run(writer.settled()), 60)
        assert not writer.written.failed
        segment = writer.appender.segment
        assert segment is not None and segment.index == 1
        tail = await host.run(patient_tail(host))
        for number in (2, 3):
            reader = world.hosts[number]
            found = await asyncio.wait_for(reader.run(read_until(reader, tail)), 60)
            check(found, writer.written)

    tell(story, range(8))


def test_a_cut_off_sequencer_learns_that_it_was_replaced() -> None:
    """Goal: a leader that is cut off acknowledges nothing after its successor has begun, and its
    appender carries on in the successor's segment once the network heals. Method: isolate host 1
    while it streams, let host 2 take the log over, heal."""

    async def story(world: World) -> None:
        first, second = world.hosts[1], world.hosts[2]
        old, new = Writer(first, "a"), Writer(second, "b")
        streaming = first.spawn(old.stream(200, 0.002))
        await asyncio.sleep(world.rng.uniform(0.05, 0.2))
        world.network.partition([["node-1"], ["node-2", "node-3"]])
        world.table.is_down = False

        async def take_over() -> None:
            while True:
                try:
                    await second.bifrost.reconfigure(LOG, SegmentIndex(0), ANY_SEGMENT)
                    return
                except LogUnavailable:
                    await asyncio.sleep(0.1)

        await asyncio.wait_for(second.run(take_over()), 60)
        await second.run(new.stream(50, 0.002))
        await asyncio.wait_for(second.run(new.settled()), 60)
        world.network.heal()
        await streaming
        await asyncio.wait_for(first.run(old.settled()), 120)
        tail = await first.run(patient_tail(first))
        for number in (1, 2, 3):
            host = world.hosts[number]
            found = await asyncio.wait_for(host.run(read_until(host, tail)), 60)
            check(found, old.written)
            check(found, new.written)

    tell(story, range(5))


def test_two_reconfigurations_at_once_make_one_segment() -> None:
    """Goal: whoever loses the race uses the winner's segment. Method: three hosts reconfigure the
    same segment in the same instant."""

    async def story(world: World) -> None:
        first = world.hosts[1]
        writer = Writer(first, "a")
        await first.run(writer.stream(20, 0.0005))
        await first.run(writer.settled())
        await asyncio.sleep(2)
        hosts = [world.hosts[number] for number in (1, 2, 3)]
        done = await asyncio.gather(
            *(h.run(h.bifrost.reconfigure(LOG, SegmentIndex(0), ANY_SEGMENT)) for h in hosts)
        )
        assert len({one.opened for one in done}) == 1
        chain = first.cache.logs.value.chain(LOG)
        assert chain is not None
        assert [segment.index for segment in chain.segments] == [0, 1]
        assert done[0].opened.base_lsn == 21
        await first.run(writer.stream(20, 0.0005))
        await asyncio.wait_for(first.run(writer.settled()), 30)
        found = await hosts[2].run(read_until(hosts[2], await first.run(patient_tail(first))))
        check(found, writer.written)

    tell(story, range(5))


def test_a_sealed_log_opens_again_with_the_next_append() -> None:
    """Goal: `seal` ends the log with a marker at its tail, readers wait there, and the next append
    replaces the marker by a segment at the same LSN."""

    async def story(world: World) -> None:
        host, other = world.hosts[1], world.hosts[2]
        writer = Writer(host, "a")
        await host.run(writer.stream(10, 0.001))
        await host.run(writer.settled())
        reading = other.spawn(read_until(other, 16))
        end = await host.run(host.bifrost.seal(LOG, None, {"reason": "test"}))
        assert end == 11
        found = await host.run(host.bifrost.find_tail(LOG))
        assert (found.tail.state, found.tail.lsn) == (TailState.SEALED, 11)
        chain = host.cache.logs.value.chain(LOG)
        assert chain is not None and isinstance(chain.tail, SealMarker)
        assert await host.run(host.bifrost.seal(LOG, chain.tail.index, {})) == 11
        await asyncio.sleep(2)
        assert not reading.done()
        await host.run(writer.stream(5, 0.001))
        await asyncio.wait_for(host.run(writer.settled()), 10)
        assert writer.written.lsns[11] == 11
        check(await asyncio.wait_for(reading, 10), writer.written)
        chain = host.cache.logs.value.chain(LOG)
        assert chain is not None
        assert [segment.base_lsn for segment in chain.segments] == [1, 11]

    tell(story)


def test_readers_close_a_log_that_nobody_writes() -> None:
    """Goal: a replica that may lead only when it has read everything reads everything, although
    nobody writes on after the sequencer's death. Method: host 1 dies in the middle of its stream,
    host 3 asks for the tail and reads up to it; then host 2 writes on."""

    async def story(world: World) -> None:
        first, reader = world.hosts[1], world.hosts[3]
        writer = Writer(first, "a")
        first.spawn(writer.stream(200, 0.002))
        await asyncio.sleep(world.rng.uniform(0.02, 0.15))
        world.kill(1, Death.POWER_LOST)
        tail = await reader.run(patient_tail(reader))
        check(await asyncio.wait_for(reader.run(read_until(reader, tail)), 10), writer.written)
        chain = reader.cache.logs.value.chain(LOG)
        assert chain is not None
        assert isinstance(chain.tail, SealMarker) and chain.tail.base_lsn == tail
        successor = Writer(world.hosts[2], "b")
        await world.hosts[2].run(successor.stream(5, 0.001))
        await asyncio.wait_for(world.hosts[2].run(successor.settled()), 10)
        assert successor.written.lsns[1] == tail

    tell(story, range(8))


def test_a_reader_is_told_what_was_trimmed() -> None:
    """Goal: over segments, a trim drops whole segments from the chain and a reader from the start
    gets one gap and then the rest. Method: three segments, trim into the second."""

    async def story(world: World) -> None:
        host, other = world.hosts[1], world.hosts[2]
        writer = Writer(host, "a")
        for segment in range(3):
            await host.run(writer.stream(10, 0.001))
            await asyncio.wait_for(host.run(writer.settled()), 10)
            if segment < 2:
                index = SegmentIndex(segment)
                await host.run(host.bifrost.reconfigure(LOG, index, ANY_SEGMENT))
        assert await host.run(host.bifrost.trim(LOG, Lsn(14))) == 14
        assert await host.run(host.bifrost.trim_point(LOG)) == 14
        chain = host.cache.logs.value.chain(LOG)
        assert chain is not None
        assert [segment.base_lsn for segment in chain.segments] == [11, 21]
        await asyncio.sleep(2)

        async def first_delivery() -> object:
            return (await other.bifrost.reader(LOG, OLDEST_LSN).next(1 << 16))[0]

        assert await other.run(first_delivery()) == Gap(Lsn(1), Lsn(10))
        found = await other.run(read_until(other, 31))
        assert sorted(found) == list(range(15, 31))
        assert await host.run(host.bifrost.trim(LOG, Lsn(1000))) == 30
        assert await host.run(patient_tail(host)) == 31

    tell(story)


def test_segments_as_requested() -> None:
    """Goal: a reconfiguration honours the requested sequencer and nodeset, refuses a nodeset or a
    replication that cannot be met, and says so about unknown logs."""

    async def story(world: World) -> None:
        host = world.hosts[1]
        with pytest.raises(UnknownLog):
            await host.run(host.bifrost.find_tail(LogId(99)))
        await host.run(host.bifrost.ensure_log(LOG))
        request = SegmentRequest(
            nodeset=(world.hosts[2].id, world.hosts[3].id), sequencer=world.hosts[3].me
        )
        done = await host.run(host.bifrost.reconfigure(LOG, SegmentIndex(0), request))
        opened = done.opened
        assert set(opened.params.nodeset) == {2, 3}  # type: ignore[union-attr]
        assert opened.params.sequencer == world.hosts[3].me  # type: ignore[union-attr]
        with pytest.raises(CannotReconfigure):
            alone = SegmentRequest(nodeset=(world.hosts[2].id,))
            await host.run(host.bifrost.reconfigure(LOG, SegmentIndex(1), alone))
        with pytest.raises(CannotReconfigure, match="cannot be met"):
            many = SegmentRequest(replication=ReplicationProperty.of_nodes(7))
            await host.run(host.bifrost.reconfigure(LOG, SegmentIndex(1), many))
        await asyncio.sleep(2)
        writer = Writer(host, "a")
        await host.run(writer.stream(10, 0.001))
        await asyncio.wait_for(host.run(writer.settled()), 30)
        check(await host.run(read_until(host, 11)), writer.written)

    tell(story)


def test_a_closed_appender_answers_everybody() -> None:
    """Goal: at the end of `run` each pending batch fails once, with the truth about whether it may
    be in the log; later ones are refused. Method: nothing can be written, cancel, submit again."""

    async def story(world: World) -> None:
        host = world.hosts[1]
        await host.run(host.bifrost.ensure_log(LOG))
        world.kill(2)
        world.kill(3)
        writer = Writer(host, "a")
        await host.run(writer.stream(5, 0.01))
        await asyncio.sleep(1)
        writer.task.cancel()
        await asyncio.wait([writer.task])
        await host.run(writer.settled())
        assert [failure.maybe_written for failure in writer.written.failed] == [True] * 5
        writer.submit()
        await host.run(writer.settled())
        assert not writer.written.failed[-1].maybe_written

    tell(story)


def test_batches_that_cannot_be_sent_are_refused() -> None:
    """Goal: an empty batch, or one above the limit of a frame, fails at once and harms no other."""

    async def story(world: World) -> None:
        host = world.hosts[1]
        writer = Writer(host, "a")
        await host.run(writer.stream(1, 0.01))
        for refused in (RecordBatch(0, b""), RecordBatch(1, bytes(BATCH_BYTES_MAX + 1))):
            with pytest.raises(AppendFailed) as caught:
                await host.run(writer.appender.append(refused))
            assert not caught.value.maybe_written
        await host.run(writer.stream(1, 0.01))
        await host.run(writer.settled())
        assert writer.written.lsns == {1: 1, 2: 2}

    tell(story, range(1))


def test_many_edits_become_few_versions() -> None:
    """Goal: the keeper batches; 60 logs that are created at once, by three hosts that race, take
    few versions, and every host ends with all of them."""

    async def story(world: World) -> None:
        await asyncio.gather(
            *(
                host.run(host.bifrost.ensure_log(LogId(10 * host.id + number)))
                for host in world.hosts.values()
                for number in range(20)
            )
        )
        writes = world.table.writes
        assert writes <= 9
        await asyncio.sleep(3)
        logs = [host.cache.logs.value for host in world.hosts.values()]
        expected = {LogId(10 * n + i) for n in (1, 2, 3) for i in range(20)}
        assert [set(one.chains) for one in logs] == [expected] * 3
        assert {one.version for one in logs} == {1 + writes}

    tell(story)


def test_chains_cannot_change_while_the_metadata_store_is_away() -> None:
    """Goal: an edit fails with LogUnavailable, an appender waits and goes on when the store is
    back, and a keeper that stops answers all who wait."""

    async def story(world: World) -> None:
        host = world.hosts[1]
        world.table.is_down = True
        with pytest.raises(LogUnavailable):
            await host.run(host.bifrost.ensure_log(LOG))
        writer = Writer(host, "a")
        await host.run(writer.stream(3, 0.1))
        assert not writer.written.lsns
        world.table.is_down = False
        await asyncio.wait_for(host.run(writer.settled()), 10)
        assert writer.written.lsns == {1: 1, 2: 2, 3: 3}
        waiting = host.spawn(host.bifrost.ensure_log(LogId(5)))
        await host.run(host.tasks.stop(timeout_s=1.0))
        with pytest.raises(LogUnavailable):
            await waiting
        with pytest.raises(LogUnavailable):
            await host.run(host.bifrost.ensure_log(LogId(6)))

    tell(story)


class Chaos:
    """Kills, restarts and cuts, one host at a time, so that a quorum is always left."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.writers: list[Writer] = []
        self._streams: list[tuple[Writer, asyncio.Task[None]]] = []
        self._names = iter("abcdefghijklmnopqrstuvwxyz")

    def start_writer(self, host: Host) -> None:
        writer = Writer(host, next(self._names))
        self.writers.append(writer)
        pause = self.world.rng.uniform(0.001, 0.02)
        streaming = host.spawn(writer.stream(self.world.rng.randrange(20, 120), pause))
        self._streams.append((writer, streaming))

    async def settled(self) -> None:
        """Every writer that lives has sent everything and got its answers."""
        for writer, streaming in self._streams:
            if writer.host.process.alive:
                await streaming
                await asyncio.wait_for(writer.settled(), 300)

    async def strike(self) -> None:
        world = self.world
        victim = world.rng.choice([1, 2, 3])
        match world.rng.randrange(4):
            case 0 | 1:
                world.kill(victim, world.rng.choice(list(Death)))
                await asyncio.sleep(world.rng.uniform(0.0, 2.0))
                self.start_writer(await world.restart(victim))
            case 2:
                rest = [world.name(number) for number in (1, 2, 3) if number != victim]
                world.network.partition([[world.name(victim)], rest])
                await asyncio.sleep(world.rng.uniform(0.1, 5.0))
                world.network.heal()
            case _:
                host = world.hosts[victim]
                world.loop.pause(host.process)
                await asyncio.sleep(world.rng.uniform(0.1, 3.0))
                world.loop.resume(host.process)


async def writers_under_chaos(world: World) -> None:
    chaos = Chaos(world)
    for host in list(world.hosts.values()):
        chaos.start_writer(host)
    for _ in range(4):
        await asyncio.sleep(world.rng.uniform(0.05, 0.5))
        await chaos.strike()
    await chaos.settled()
    await asyncio.sleep(2)
    host = world.hosts[1]
    tail = await host.run(patient_tail(host))
    histories = [
        await asyncio.wait_for(reader.run(read_until(reader, tail)), 300)
        for reader in world.hosts.values()
    ]
    assert histories[0] == histories[1] == histories[2]
    for writer in chaos.writers:
        check(histories[0], writer.written)
    assert sum(len(writer.written.lsns) for writer in chaos.writers) > 0


def test_writers_under_chaos() -> None:
    """Goal: L1, L2, L5 and the order of each writer, whatever dies. Method: writers on all hosts, a
    few strikes, then every host reads the whole log and all must have read the same."""
    tell(writers_under_chaos, range(3))


@pytest.mark.slow
def test_writers_under_much_chaos() -> None:
    """The same with many seeds."""
    tell(writers_under_chaos, range(3, 60))
