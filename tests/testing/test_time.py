"""Virtual time: what takes a month takes milliseconds, in the right order, the same every time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from restate_node.testing import Cluster, cluster, run
from tests.testing.applications import DAYS_30, Seen, app, counter, greeter


@pytest.mark.restate(app=app(greeter()), nodes=3)
async def test_thirty_days(restate: Cluster) -> None:
    """Goal: nobody waits for a sleep. How: a handler that sleeps for a month, on three nodes."""
    before = restate.time.now()
    assert await restate.call("Greeter/greet_in_a_month", "Ada") == "Hello Ada"
    assert DAYS_30 <= restate.time.now() - before < DAYS_30 + timedelta(seconds=1)
    assert restate.time.leaps == 1


@pytest.mark.restate(app=app(greeter()))
async def test_time_in_handlers(restate: Cluster) -> None:
    """Goal: a second sleep begins where the first ended. How: the SDK's own clock, three times."""
    first, second, third = await restate.call("Greeter/two_sleeps")
    hours = timedelta(hours=7, milliseconds=13).total_seconds()
    assert second - first == pytest.approx(hours, abs=1)
    assert third - second == pytest.approx(hours, abs=1)


async def test_advance_does_what_is_due(restate: Cluster) -> None:
    """Goal: a test decides how far time goes. How: a reminder in a month, and looks around it."""
    seen = Seen()
    await restate.register(app(greeter(seen)))
    await restate.call("Greeter/remind", "Ada")
    await restate.time.advance(timedelta(days=29))
    assert seen.events == []
    await restate.time.advance(timedelta(days=2))
    assert seen.events == ["Ada"]


@pytest.mark.restate(app=app(greeter()))
async def test_timers_of_the_test_come_in_order(restate: Cluster) -> None:
    """Goal: time is one. How: a sleep of the test between two sleeps of handlers."""
    order: list[str] = []

    async def call(name: str, days: float) -> None:
        await restate.call("Greeter/greet", name)
        sent = await restate.send("Greeter/greet", name, delay=timedelta(days=days))
        await sent.attach()
        order.append(name)

    async def sleep() -> None:
        await asyncio.sleep(2 * 24 * 3600)
        order.append("test")

    async with asyncio.TaskGroup() as group:
        group.create_task(call("three", 3))
        group.create_task(sleep())
        group.create_task(call("one", 1))
    assert order == ["one", "test", "three"]


@pytest.mark.restate(app=app(greeter()))
async def test_a_timeout_of_the_test_is_virtual(restate: Cluster) -> None:
    """Goal: `asyncio.timeout` means what it says. How: a minute, around a sleep of a month."""
    before = restate.time.now()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(60):
            await restate.call("Greeter/greet_in_a_month", "Ada")
    assert restate.time.now() - before < timedelta(minutes=2)


def history(seed: int) -> tuple[str, list[str], str]:
    """Two calls on three nodes, with a fault between them: hash, events, moment."""
    seen = Seen()

    async def test() -> tuple[str, list[str], str]:
        async with cluster(app(counter(seen), greeter()), nodes=3) as restate:
            calls = [restate.call(f"Counter/{key}/add", 1) for key in ("ann", "bob", "cid")]
            running = asyncio.gather(*calls)
            await asyncio.sleep(0.02)
            restate.kill(restate.leader("ann"))
            await running
            await restate.call("Greeter/greet_in_a_month", "Ada")
            return restate.history, seen.events, restate.time.now().isoformat()

    return run(test, seed=seed)


def test_a_seed_decides_everything() -> None:
    """Goal: a failure can be repeated. How: one seed twice, and another one."""
    assert history(1) == history(1)
    assert history(1)[0] != history(2)[0]
