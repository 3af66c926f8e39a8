"""One loglet of a log server over the simulated disk: what is stored, promised and left open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
import xxhash

from restate_node.protocol.loglet_runs import Span
from restate_node.roles.log_server.log_store import CorruptStore, LogStore, run_row
from restate_node.roles.log_server.loglet_worker import (
    CHECKED_BYTES_MAX,
    CHECKSUMS_MAX,
    TAIL_WAIT_MAX_S,
    LogletWorker,
)
from restate_node.roles.log_server.writer import Writer
from restate_node.runtime.ports import StoreError
from restate_node.sim.disk import DiskFaults, SimMedium
from restate_node.sim.hosts import Death
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    LogletId,
    PlainNodeId,
    SegmentIndex,
    loglet_log,
    loglet_segment,
)
from restate_node.types.log_messages import (
    Digest,
    DigestEntry,
    GetChecksums,
    GetDigest,
    GetRecords,
    LogletHeader,
    RecordStatus,
    Seal,
    Status,
    Store,
    StoredRun,
    TrimLoglet,
    Trimmed,
    WaitForTail,
)
from restate_node.types.offsets import LogletOffset
from restate_node.types.records import RecordBatch, pack

LOGLET = LogletId(7)
SEQUENCER = GenerationalNodeId(PlainNodeId(1), 1)
OTHER = GenerationalNodeId(PlainNodeId(2), 1)


def store(first: int, count: int, *, known: int = 1, repair: bool = False) -> Store:
    """Records whose text is their offset."""
    made = pack([f"{offset}".encode() for offset in range(first, first + count)])
    return Store(
        LOGLET,
        SEQUENCER,
        LogletOffset(known),
        LogletOffset(first),
        made.count,
        made.body,
        repair=repair,
    )


class Server:
    """Store, writer and worker of one process; `reborn` makes the next one on the same disk."""

    def __init__(self, loop: SimLoop, medium: SimMedium, kept: list[Server]) -> None:
        kept.append(self)  # a task that nobody holds is collected while it waits
        self.loop, self.medium, self.kept = loop, medium, kept
        self.process = loop.boot("node-1")
        self.log_store = LogStore.open(medium.mount(self.process))
        self.failures: list[StoreError] = []
        self.writer = Writer(self.log_store.store, self.failed)
        self.running = loop.spawn(self.process, self.writer.run())
        self.worker = LogletWorker(self.log_store.load(LOGLET), self.log_store, self.writer)

    def failed(self, error: StoreError) -> None:
        self.failures.append(error)
        self.worker.fail_safe()

    def reborn(self) -> Server:
        self.loop.kill(self.process, Death.POWER_LOST)
        return Server(self.loop, self.medium, self.kept)

    def send(self, message: Store | Seal | TrimLoglet) -> asyncio.Future[LogletHeader]:
        answered: asyncio.Future[LogletHeader] = self.loop.create_future()

        def reply(answer: msgspec.Struct | RpcFailure | None) -> None:
            assert isinstance(answer, LogletHeader | Trimmed)
            answered.set_result(answer.header if isinstance(answer, Trimmed) else answer)

        match message:
            case Store():
                self.worker.handle_store(message, SEQUENCER, 0, reply)
            case Seal():
                self.worker.handle_seal(message, reply)
            case TrimLoglet():
                self.worker.handle_trim(message, reply)
        return answered

    def stored(self) -> list[tuple[int, int]]:
        window = Span(LogletOffset(1), LogletOffset(1000))
        return [(run.first_offset, run.count) for run in self.log_store.runs(LOGLET, window)]

    def digest(self, tail: int) -> list[DigestEntry]:
        request = GetDigest(LOGLET, LogletOffset(1), LogletOffset(tail))
        answer: Digest = self.worker.digest(request)
        return answer.entries

    def offsets(self) -> list[int]:
        """Every record that can be read, checked against its text."""
        request = GetRecords(LOGLET, LogletOffset(1), LogletOffset(1000), 1 << 20, True)
        found: list[int] = []
        for run in self.worker.records(request).runs:
            texts = [int(bytes(text)) for text in records_of(run)]
            assert texts == list(range(run.first_offset, run.first_offset + run.count))
            found += texts
        return found

    def summed(self, first: int = 1, tail: int = 1000) -> tuple[list[int], int]:
        """Offsets with a sum, each checked against the text, and where to go on."""
        request = GetChecksums(LOGLET, LogletOffset(first), LogletOffset(tail))
        answer = self.worker.checksums(request)
        found: list[int] = []
        for run in answer.runs:
            offsets = range(run.first_offset, run.first_offset + len(run.sums) // 8)
            texts = [xxhash.xxh3_64_digest(f"{offset}".encode()) for offset in offsets]
            assert run.sums == b"".join(texts)
            found += offsets
        return found, answer.next_offset


def records_of(run: StoredRun) -> list[bytes]:
    return RecordBatch(run.count, run.body).records()


def tell(story: Callable[[Server], Awaitable[None]], seeds: range = range(4)) -> None:
    kept: list[Server] = []
    for seed in seeds:

        async def main(loop: SimLoop) -> None:
            medium = SimMedium("node-1", loop.streams.stream("disk"))
            await story(Server(loop, medium, kept))

        simulate(seed, main)
        kept.clear()


def test_stores_of_one_turn_are_one_write_and_all_durable() -> None:
    """Goal: each OK survives a power loss. Method: twenty stores at once, then a crash."""

    async def story(server: Server) -> None:
        answers = [server.send(store(first, 2)) for first in range(1, 41, 2)]
        statuses = {(await answer).status for answer in answers}
        assert statuses == {Status.OK}
        again = server.reborn()
        assert again.worker.state.local_tail == 41
        assert again.offsets() == list(range(1, 41))

    tell(story)


def test_unanswered_stores_promise_nothing() -> None:
    """Goal: after a crash at any moment, what was answered with OK is there. Method: crash while
    stores are under way."""

    async def story(server: Server) -> None:
        answers = []
        for first in range(1, 31):
            answers.append(server.send(store(first, 1)))
            await asyncio.sleep(0.0003)
        promised = max((a.result().local_tail for a in answers if a.done()), default=1)
        again = server.reborn()
        assert again.worker.state.local_tail >= promised
        assert again.offsets() == list(range(1, again.worker.state.local_tail))

    tell(story, range(8))


def test_backfills_of_one_turn_do_not_overlap() -> None:
    """Goal: two repairs that fill one hole at the same time, cut differently, keep every record and
    overlap nowhere. Method: jump over a hole, then two backfills in one turn, longer one first."""

    async def story(server: Server) -> None:
        await server.send(store(10, 2, known=10))
        first = server.send(store(1, 5, repair=True))
        second = server.send(store(1, 3, repair=True))
        third = server.send(store(4, 7, repair=True))
        for answer in (first, second, third):
            assert (await answer).status is Status.OK
        assert server.offsets() == list(range(1, 12))
        assert server.stored() == [(1, 5), (6, 4), (10, 2)]

    tell(story)


def test_a_digest_leaves_out_what_is_not_durable() -> None:
    """Goal: a backfill is written, visible, and not yet synced: a repair must not count on it.
    Method: stall the disk under a backfill and ask for a digest; then again when it is durable; and
    never when the sync failed."""

    async def story(server: Server) -> None:
        await server.send(store(10, 2, known=10))
        only = DigestEntry(LogletOffset(10), LogletOffset(11), RecordStatus.EXISTS)
        server.medium.stall(1.0)
        answer = server.send(store(2, 3, repair=True))
        await asyncio.sleep(0.1)
        assert server.stored()[0] == (2, 3), "it is visible"
        assert server.digest(20) == [only]
        await answer
        filled = DigestEntry(LogletOffset(2), LogletOffset(4), RecordStatus.EXISTS)
        assert server.digest(20) == [filled, only]
        server.medium.faults = DiskFaults(sync_error_probability=1.0)
        assert (await server.send(store(5, 2, repair=True))).status is Status.DISABLED
        assert server.digest(20) == [filled, only]
        assert not server.worker.is_idle, "what is in doubt is not forgotten"

    tell(story)


def test_sums_are_of_what_is_certain() -> None:
    """Goal: sums tell what is here, trimmed and doubtful records apart, from anywhere in the middle
    of runs. Method: holes, a trim, and a backfill whose sync is stalled."""

    async def story(server: Server) -> None:
        await server.send(store(1, 5))
        await server.send(store(10, 2, known=10))
        assert server.summed() == ([1, 2, 3, 4, 5, 10, 11], 1000)
        assert server.summed(3, 11) == ([3, 4, 5, 10], 11)
        assert server.summed(6, 9) == ([], 9)
        assert server.summed(50, 60) == ([], 60)
        assert server.summed(7, 3) == ([], 7)
        await server.send(TrimLoglet(LOGLET, LogletOffset(3), LogletOffset(10)))
        server.medium.stall(1.0)
        answer = server.send(store(5, 3, repair=True))
        await asyncio.sleep(0.1)
        assert server.summed() == ([4, 10, 11], 1000), "5 may be part of the write"
        await answer
        assert server.summed() == ([4, 5, 6, 7, 10, 11], 1000)

    tell(story)


def test_sums_come_in_bounded_answers() -> None:
    """Goal: no question holds the loop for long; whoever goes on has heard everything once.
    Method: more records than one answer has, and larger ones."""

    async def story(server: Server) -> None:
        await server.send(store(1, CHECKSUMS_MAX + 10))
        found, going_on = server.summed(1, 10_000)
        assert (found[-1], going_on) == (CHECKSUMS_MAX, CHECKSUMS_MAX + 1)
        assert server.summed(going_on, 10_000)[0][0] == going_on
        large = pack([bytes(CHECKED_BYTES_MAX)])
        for offset in range(going_on + 10, going_on + 13):
            request = Store(LOGLET, SEQUENCER, LogletOffset(1), LogletOffset(offset), 1, large.body)
            assert (await server.send(request)).status is Status.OK
        ask = GetChecksums(LOGLET, LogletOffset(going_on + 10), LogletOffset(10_000))
        assert server.worker.checksums(ask).next_offset == going_on + 11

    tell(story, range(1))


def test_sums_end_before_damage() -> None:
    """Goal: what is sound is told, a damaged row is no answer. Method: spoil the middle of three
    rows."""

    async def story(server: Server) -> None:
        for first in (1, 3, 5):
            await server.send(store(first, 2, known=first))
        assert server.summed() == ([1, 2, 3, 4, 5, 6], 1000)
        rows = server.medium.stores["log-store"].families["data"]
        rows.put(rows.key_at(1), b"garbage that is long enough")
        assert server.summed() == ([1, 2], 3)
        with pytest.raises(CorruptStore):
            server.summed(3)
        assert server.summed(6) == ([6], 1000)

    tell(story, range(1))


def test_a_damaged_row_hides_no_other() -> None:
    """Goal: what is sound behind a damaged row can be found, read and relied on: the only copy of a
    record may lie there. In the next life a repair puts the damaged one right. Method: spoil the
    middle of three rows.
    """

    async def story(server: Server) -> None:
        for first in (1, 3, 5):
            await server.send(store(first, 2))
        rows = server.medium.stores["log-store"].families["data"]
        rows.put(rows.key_at(1), b"garbage that is long enough")
        there = RecordStatus.EXISTS
        assert server.digest(7) == [DigestEntry(1, 2, there), DigestEntry(5, 6, there)]
        request = GetRecords(LOGLET, LogletOffset(5), LogletOffset(7), 1000, True)
        assert [run.first_offset for run in server.worker.records(request).runs] == [5]
        again = server.reborn()
        assert (await again.send(store(3, 2, repair=True))).status is Status.OK
        assert again.digest(7) == [DigestEntry(1, 6, there)]
        assert again.summed() == ([1, 2, 3, 4, 5, 6], 1000)

    tell(story)


def test_an_ended_loglet_takes_repairs_only() -> None:
    """Goal: a row of the store stands for a forgotten seal, also after a crash. Method: end the
    log up to this segment, and up to the one before."""

    async def story(server: Server) -> None:
        log, segment = loglet_log(LOGLET), loglet_segment(LOGLET)
        await server.log_store.write_ends({log: SegmentIndex(segment - 1)})
        again = server.reborn()
        assert (await again.send(store(1, 1))).status is Status.OK
        await again.log_store.write_ends({log: segment, LogId(9): SegmentIndex(0)})
        last = again.reborn()
        assert last.worker.state.header().sealed
        assert (await last.send(store(2, 1))).status is Status.SEALED
        assert (await last.send(store(2, 1, repair=True))).status is Status.OK

    tell(story)


def test_a_seal_covers_what_was_staged_before() -> None:
    """Goal: the answer to a seal comes after those before it, with their tail; later stores are
    SEALED, before and after a crash."""

    async def story(server: Server) -> None:
        before = server.send(store(1, 3))
        sealed = server.send(Seal(LOGLET, SEQUENCER))
        during = server.send(store(4, 1))
        assert (await sealed).local_tail == 4
        assert (await before).status is Status.OK
        assert (await during).status is Status.SEALED
        again = server.reborn()
        assert (await again.send(store(4, 1))).status is Status.SEALED
        assert again.worker.state.header().sealed

    tell(story)


def test_trimmed_rows_go_away_and_stay_away() -> None:
    """Goal: a trim deletes whole runs, also on a disk that is busy now and then."""

    async def story(server: Server) -> None:
        server.medium.faults = DiskFaults(busy_probability=0.5)
        for first in (1, 4, 7):
            await server.send(store(first, 3, known=first))
        trim = TrimLoglet(LOGLET, LogletOffset(5), LogletOffset(10))
        assert (await server.send(trim)).status is Status.OK
        await asyncio.sleep(0.5)
        assert server.stored() == [(4, 3), (7, 3)]
        assert server.offsets() == [6, 7, 8, 9]
        again = server.reborn()
        assert again.worker.state.trim_point == 5
        assert not again.failures

    tell(story)


@pytest.mark.parametrize(
    "faults", [DiskFaults(sync_error_probability=1.0), DiskFaults(write_error_probability=1.0)]
)
def test_a_failed_disk_denies_everybody_once(faults: DiskFaults) -> None:
    """Goal: stores, seals and duplicates that wait hear DISABLED, and so does who comes later."""

    async def story(server: Server) -> None:
        await server.send(store(1, 1))
        server.medium.faults = faults
        waiting = [server.send(store(2, 1)), server.send(store(2, 1))]
        waiting += [server.send(Seal(LOGLET, SEQUENCER)), server.send(Seal(LOGLET, SEQUENCER))]
        statuses = [(await asyncio.wait_for(answer, 5)).status for answer in waiting]
        assert statuses == [Status.DISABLED] * 4
        assert (await server.send(store(2, 1))).status is Status.DISABLED
        assert server.failures

    tell(story)


def test_tail_waits_end() -> None:
    """Goal: reached, sealed or expired, whoever waits is answered once."""

    async def story(server: Server) -> None:
        answers: list[object] = []

        def wait(offset: int, committed: bool = False) -> None:
            request = WaitForTail(LOGLET, LogletOffset(offset), committed)
            server.worker.wait_for_tail(request, answers.append, server.loop.time())

        wait(1)
        assert len(answers) == 1
        wait(3)
        wait(3, committed=True)
        wait(99)
        await server.send(store(1, 2))
        assert len(answers) == 2
        await server.send(store(3, 1, known=3))
        assert len(answers) == 3
        assert server.worker.expire_waits(server.loop.time())
        assert not server.worker.expire_waits(server.loop.time() + TAIL_WAIT_MAX_S)
        assert len(answers) == 4

    tell(story)


def test_a_damaged_row_is_reported() -> None:
    """Goal: any flipped bit of a run's row is a CorruptStore, never other records (L7)."""
    made = pack([b"a", b"bc"])
    row = run_row(LOGLET, StoredRun(LogletOffset(5), made.count, made.body), LogletOffset(3))

    async def story(server: Server) -> None:
        for bit in range(len(row.value) * 8):
            damaged = bytearray(row.value)
            damaged[bit // 8] ^= 1 << bit % 8
            batch = server.log_store.store.batch()
            batch.put(row.family, row.key, bytes(damaged))
            server.log_store.store.write(batch)
            with pytest.raises(CorruptStore):
                server.stored()

    tell(story, range(1))


def test_a_trim_survives_a_damaged_row() -> None:
    """Goal: one record that rots does not take the log server down when its log is trimmed: the
    trim counts, its rows stay, stores go on. Method: flip a bit of the row that the trim looks at.
    """

    async def story(server: Server) -> None:
        for first in (1, 4, 7):
            await server.send(store(first, 3, known=first))
        assert server.medium.flip_bit("log-store", "data") is not None
        for point in (2, 5, 8):
            trim = TrimLoglet(LOGLET, LogletOffset(point), LogletOffset(10))
            assert (await server.send(trim)).status is Status.OK
        assert (await server.send(store(10, 1, known=10))).status is Status.OK
        assert server.worker.state.trim_point == 8
        assert not server.running.done() and not server.failures

    tell(story)
