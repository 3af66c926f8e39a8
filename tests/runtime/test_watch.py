"""Watches: nobody sleeps through a change, and who gives up leaves nothing behind."""

from __future__ import annotations

import asyncio

from restate_node.runtime.watch import Watch, first_change
from restate_node.sim.loop import SimLoop, simulate


def test_no_change_is_slept_through() -> None:
    """Goal: a reader that passes the revision it saw always reaches the last value. Method: a
    writer and readers that pause at random, under shuffled schedules."""

    async def main(loop: SimLoop) -> None:
        rng = loop.streams.stream("test")
        watch = Watch(0)

        async def read() -> list[int]:
            seen = [watch.value]
            while seen[-1] < 50:
                revision = watch.revision
                seen.append(watch.value)
                if watch.value < 50:
                    seen.append(await watch.changed(revision))
                if rng.random() < 0.3:
                    await asyncio.sleep(rng.random() / 100)
            return seen

        reading = [asyncio.ensure_future(read()) for _ in range(5)]
        for value in range(1, 51):
            watch.set(value)
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random() / 100)
        for seen in await asyncio.wait_for(asyncio.gather(*reading), 5):
            assert seen == sorted(seen)

    for seed in range(10):
        simulate(seed, main)


def test_equal_values_wake_nobody_and_touch_does() -> None:
    """Goal: a value changed in place is published by `touch` alone."""

    async def main(loop: SimLoop) -> None:
        watch = Watch([1])
        waiting = asyncio.ensure_future(watch.changed(watch.revision))
        await asyncio.sleep(0)
        watch.set([1])
        await asyncio.sleep(0.1)
        assert not waiting.done()
        watch.touch()
        assert await waiting == [1]

    simulate(1, main)


def test_a_change_before_the_wait_returns_at_once() -> None:
    """Goal: who passes an older revision does not wait."""

    async def main(loop: SimLoop) -> None:
        watch = Watch(0)
        revision = watch.revision
        watch.set(1)
        assert await watch.changed(revision) == 1
        assert await watch.until(lambda value: value == 1) == 1

    simulate(1, main)


def test_until_skips_what_does_not_satisfy() -> None:
    """Goal: `until` returns for the first value that fits. Method: three values."""

    async def main(loop: SimLoop) -> None:
        watch = Watch(0)
        waiting = asyncio.ensure_future(watch.until(lambda value: value > 2))
        for value in (1, 2, 3):
            await asyncio.sleep(0.01)
            assert not waiting.done()
            watch.set(value)
        assert await waiting == 3

    simulate(1, main)


def test_cancelled_waits_leave_nothing_behind() -> None:
    """Goal: no growth by readers that give up; those that stay are still woken, also when a cancel
    and a change meet in one turn."""

    async def main(loop: SimLoop) -> None:
        watch = Watch(0)
        staying = asyncio.ensure_future(watch.changed(0))
        for _ in range(100):
            leaving = asyncio.ensure_future(watch.changed(0))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait([leaving])
        assert len(watch._waiters) == 1  # pyright: ignore[reportPrivateUsage]
        leaving = asyncio.ensure_future(watch.changed(0))
        await asyncio.sleep(0)
        watch.set(1)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert await staying == 1
        assert not watch._waiters  # pyright: ignore[reportPrivateUsage]

    simulate(1, main)


def test_first_change_of_several() -> None:
    """Goal: who waits for several watches hears of each, and leaves no trace in the others.
    Method: change them in turn, once before waiting and once while somebody waits; give up once."""

    async def main(loop: SimLoop) -> None:
        one, other = Watch(0), Watch(0)
        for changed in (one, other):
            seen = ((one, one.revision), (other, other.revision))
            changed.touch()
            await first_change(*seen)
            seen = ((one, one.revision), (other, other.revision))
            waiting = asyncio.ensure_future(first_change(*seen))
            await asyncio.sleep(0)
            assert not waiting.done()
            changed.touch()
            await asyncio.wait_for(waiting, 1)
        given_up = asyncio.ensure_future(first_change((one, one.revision), (other, other.revision)))
        await asyncio.sleep(0)
        assert (one.waiter_count, other.waiter_count) == (1, 1)
        given_up.cancel()
        await asyncio.wait([given_up])
        assert (one.waiter_count, other.waiter_count) == (0, 0)

    simulate(1, main)
