"""What every loglet promises: the suite runs against the one in memory and the replicated one.

The replicated loglet lives on three simulated hosts with its sequencer on the first. `writer` is
the loglet as the sequencer's host sees it, `other` as a host without the sequencer does. The order
in which callbacks of one turn run is shuffled by the seed, so each test runs under a few.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest
from log_world import World, appended, batch

from restate_node.bifrost.loglet import AppendResult, Loglet
from restate_node.bifrost.memory_loglet import MemoryLoglet
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.ids import LogletId
from restate_node.types.log_messages import AppendStatus
from restate_node.types.offsets import LogletOffset, LogletTail, TailState
from restate_node.types.records import RecordBatch

SEEDS = range(3)


@dataclass
class Subject:
    """A loglet, seen from two places."""

    writer: Loglet
    other: Loglet


async def in_memory(loop: SimLoop) -> Subject:
    loglet = MemoryLoglet(LogletId(1))
    return Subject(loglet, loglet)


async def replicated(loop: SimLoop) -> Subject:
    world = World(loop)
    await world.start()
    params = world.params()
    return Subject(world.hosts[1].loglet(params), world.hosts[2].loglet(params))


Story = Callable[[Subject], Awaitable[None]]


@pytest.fixture(params=[in_memory, replicated], ids=lambda make: make.__name__)
def tell(request: pytest.FixtureRequest) -> Callable[[Story], None]:
    """Runs a story against a new loglet, once per seed."""

    def run(story: Story) -> None:
        for seed in SEEDS:

            async def main(loop: SimLoop) -> None:
                await story(await request.param(loop))

            simulate(seed, main)

    return run


async def read_all(loglet: Loglet, first: int, tail: int, bytes_max: int = 1 << 20) -> list[str]:
    """The records of `[first, tail)`, in as many reads as it takes."""
    found: list[str] = []
    position = LogletOffset(first)
    while position < tail:
        records = await loglet.read(position, LogletOffset(tail), bytes_max)
        assert records.runs, "a read of committed records brings at least one"
        for run in records.runs:
            assert run.first_offset == position
            found += [text.decode() for text in RecordBatch(run.count, run.body).records()]
            position = LogletOffset(position + run.count)
    return found


async def burst(loglet: Loglet, count: int) -> list[AppendResult]:
    """Append `count` single records at once; the answers in the order in which they came."""
    results: list[AppendResult] = []
    done = asyncio.Event()

    def on_appended(result: AppendResult) -> None:
        results.append(result)
        if len(results) == count:
            done.set()

    for number in range(count):
        assert loglet.append(batch(f"r{number}"), on_appended)
    await done.wait()
    return results


def test_appends_get_consecutive_offsets_and_are_read_back(tell: Callable[[Story], None]) -> None:
    """Goal: offsets start at 1, follow each other, one batch per offset. Method: append batches of
    several sizes one after the other, read all from both places."""

    async def story(subject: Subject) -> None:
        firsts = [
            (await appended(subject.writer, batch(*texts))).first_offset
            for texts in (["a"], ["b", "c", "d"], ["e"])
        ]
        assert firsts == [1, 2, 5]
        assert await read_all(subject.writer, 1, 6) == ["a", "b", "c", "d", "e"]
        assert await read_all(subject.other, 1, 6) == ["a", "b", "c", "d", "e"]
        assert await read_all(subject.other, 3, 5) == ["c", "d"], "runs are cut to the window"

    tell(story)


def test_answers_of_concurrent_appends_come_in_order(tell: Callable[[Story], None]) -> None:
    """Goal: a loglet that keeps order acknowledges in that order, each batch at its own offset.
    Method: submit a burst within one turn."""

    async def story(subject: Subject) -> None:
        assert subject.writer.keeps_order
        results = await burst(subject.writer, 100)
        assert [result.status for result in results] == [AppendStatus.OK] * 100
        assert [result.first_offset for result in results] == list(range(1, 101))
        expected = [f"r{number}" for number in range(100)]
        assert await read_all(subject.other, 1, 101) == expected

    tell(story)


def test_small_byte_limits_still_bring_records(tell: Callable[[Story], None]) -> None:
    """Goal: a read never comes back empty-handed below the tail. Method: a limit of one byte."""

    async def story(subject: Subject) -> None:
        for text in ("first", "second", "third"):
            await appended(subject.writer, batch(text))
        assert await read_all(subject.other, 1, 4, bytes_max=1) == ["first", "second", "third"]

    tell(story)


def test_an_empty_loglet_has_its_tail_at_one(tell: Callable[[Story], None]) -> None:
    """Goal: nothing appended, open, tail 1, nothing trimmed; from both places."""

    async def story(subject: Subject) -> None:
        for loglet in (subject.writer, subject.other):
            assert await loglet.find_tail() == LogletTail(TailState.OPEN, LogletOffset(1))
            assert await loglet.trim_point() == 0

    tell(story)


def test_find_tail_covers_all_that_was_acknowledged(tell: Callable[[Story], None]) -> None:
    """Goal: both places find the tail behind the last acknowledged record."""

    async def story(subject: Subject) -> None:
        await burst(subject.writer, 10)
        for loglet in (subject.writer, subject.other):
            assert await loglet.find_tail() == LogletTail(TailState.OPEN, LogletOffset(11))

    tell(story)


def test_known_tail_follows_the_commits(tell: Callable[[Story], None]) -> None:
    """Goal: `wait_for_tail` wakes a follower, after which the known tail allows to read. Method:
    the follower waits in rounds while the writer appends later."""

    async def story(subject: Subject) -> None:
        async def follow() -> list[str]:
            while subject.other.known_tail.value.offset < 3:
                await subject.other.wait_for_tail(LogletOffset(3))
            return await read_all(subject.other, 1, 3)

        following = asyncio.ensure_future(follow())
        await asyncio.sleep(0.3)
        assert not following.done()
        await appended(subject.writer, batch("a"))
        await asyncio.sleep(0.3)
        assert not following.done()
        await appended(subject.writer, batch("b"))
        assert await asyncio.wait_for(following, 5) == ["a", "b"]

    tell(story)


def test_a_sealed_loglet_takes_nothing_more(tell: Callable[[Story], None]) -> None:
    """Goal: after a seal appends fail with SEALED, the tail is final and the same for all who ask,
    and what was acknowledged stays. Method: seal twice, append, find the tail from both places."""

    async def story(subject: Subject) -> None:
        await burst(subject.writer, 5)
        sealed = await subject.writer.seal()
        assert sealed == LogletTail(TailState.SEALED, LogletOffset(6))
        assert (await appended(subject.writer, batch("late"))).status is AppendStatus.SEALED
        assert await subject.writer.seal() == sealed
        assert await subject.writer.find_tail() == sealed
        assert await subject.other.find_tail() == sealed
        assert await read_all(subject.other, 1, 6) == [f"r{number}" for number in range(5)]

    tell(story)


def test_a_seal_in_the_middle_of_appends(tell: Callable[[Story], None]) -> None:
    """Goal: the sealed tail covers every acknowledged record and nothing is acknowledged above it;
    each append is answered once. Method: seal from the other place while a burst is under way."""

    async def story(subject: Subject) -> None:
        bursting = asyncio.ensure_future(burst(subject.writer, 200))
        await asyncio.sleep(0.0015)
        sealed = await subject.other.seal()
        await subject.writer.seal()
        results = await asyncio.wait_for(bursting, 30)
        assert len(results) == 200
        ends = [result.first_offset + 1 for result in results if result.status is AppendStatus.OK]
        assert max(ends, default=1) <= sealed.offset
        refused = [r for r in results if r.status is not AppendStatus.OK]
        assert {r.status for r in refused} <= {AppendStatus.SEALED}
        known = await read_all(subject.other, 1, sealed.offset)
        assert known == [f"r{number}" for number in range(sealed.offset - 1)]

    tell(story)


def test_a_seal_wakes_who_waits_for_the_tail(tell: Callable[[Story], None]) -> None:
    """Goal: nobody waits for ever for a tail that will not come."""

    async def story(subject: Subject) -> None:
        waiting = asyncio.ensure_future(subject.writer.wait_for_tail(LogletOffset(2)))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        await subject.writer.seal()
        await asyncio.wait_for(waiting, 5)
        assert subject.writer.known_tail.value.is_sealed

    tell(story)


def test_what_is_trimmed_is_gone_and_the_rest_stays(tell: Callable[[Story], None]) -> None:
    """Goal: reads below the trim point say where to go on, the trim point never moves back, appends
    go on. Method: trim in the middle of a batch, and again lower."""

    async def story(subject: Subject) -> None:
        for texts in (["a", "b", "c"], ["d", "e"]):
            await appended(subject.writer, batch(*texts))
        assert await subject.writer.trim(LogletOffset(2)) == 2
        assert await subject.other.trim_point() == 2
        await subject.writer.trim(LogletOffset(1))
        assert await subject.other.trim_point() == 2
        records = await subject.other.read(LogletOffset(1), LogletOffset(6), 1 << 20)
        assert records.trim_point == 2
        assert await read_all(subject.other, 3, 6) == ["c", "d", "e"]
        assert (await appended(subject.writer, batch("f"))).first_offset == 6
        assert await read_all(subject.other, 5, 7) == ["e", "f"]

    tell(story)
