"""Virtual time: what takes a month takes milliseconds, in the right order, the same every time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
import restate as sdk
from restate.retry_policy import InvocationRetryPolicy

from restate_node.testing import Cluster, cluster, run
from tests.testing.applications import DAYS_30, Seen, app, counter, greeter

CLOSE = timedelta(milliseconds=40)
"""A node has done by then what a timer bids it to do."""
ROUNDED = timedelta(milliseconds=1)
"""Moments have whole milliseconds."""


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
async def test_idle_ends_before_time_leaps(restate: Cluster) -> None:
    """Goal: a test can look at what is, before it is next month. How: a call that is due then."""
    sent = await restate.send("Greeter/greet", "Ada", delay=DAYS_30)
    before = restate.time.now()
    await restate.time.idle()
    assert restate.time.now() - before < timedelta(seconds=1)
    assert (await sent.status()).status == "scheduled"


@pytest.mark.restate(app=app(greeter()), seeds=range(6))
async def test_timers_of_the_test_come_in_order(restate: Cluster) -> None:
    """Goal: time is one. How: a sleep of the test between two delayed calls. The two calls before
    those have outcomes that are forgotten some milliseconds apart, by timers of other partitions.
    """
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


@pytest.mark.restate(app=app(greeter()), nodes=3, seeds=range(3))
async def test_what_is_due_soon_after_a_leap_comes_in_order(restate: Cluster) -> None:
    """Goal: a leap to one moment does not oversleep the next. How: delayed calls, sleeps of
    handlers, sleeps of the test, 40 ms apart, in a month; the later ones are started first.
    """
    begin = restate.time.now() + DAYS_30
    ended: list[tuple[int, datetime]] = []

    async def wait(number: int) -> None:
        left = begin + number * CLOSE - restate.time.now()
        match number % 3:
            case 0:
                await (await restate.send("Greeter/greet", "Ada", delay=left)).attach()
            case 1:
                await restate.call("Greeter/greet_in", left.total_seconds())
            case _:
                await asyncio.sleep(left.total_seconds())
        ended.append((number, restate.time.now()))

    async with asyncio.TaskGroup() as group:
        for number in reversed(range(12)):
            group.create_task(wait(number))
    assert [number for number, _ in ended] == list(range(12))
    for number, moment in ended:
        assert timedelta() <= moment - (begin + number * CLOSE) + ROUNDED < CLOSE


@pytest.mark.restate(seeds=range(3))
async def test_a_retry_soon_after_a_leap_is_not_overslept(restate: Cluster) -> None:
    """Goal: as above, for retries. How: a handler fails once; a delayed call leads to a leap that
    ends 2 ms before it is tried again.
    """
    monthly = InvocationRetryPolicy(DAYS_30, max_interval=DAYS_30)
    service = sdk.Service("Clumsy", invocation_retry_policy=monthly)
    attempts: list[datetime] = []

    @service.handler()
    async def fail_once(ctx: sdk.Context, _: None) -> None:
        attempts.append(restate.time.now())
        if len(attempts) == 1:
            raise KeyError("the first attempt")

    await restate.register(app(service, greeter()))
    sent = await restate.send("Clumsy/fail_once")
    await restate.time.idle()
    retry_ms = (await sent.status()).columns["next_retry_at"]
    retry_at = datetime.fromtimestamp(retry_ms / 1000, UTC)
    assert retry_at - restate.time.now() > timedelta(days=1)
    before = retry_at - timedelta(milliseconds=2)
    await restate.send("Greeter/greet", "Ada", delay=before - restate.time.now())
    await sent.attach()
    assert timedelta() <= attempts[1] - retry_at < CLOSE


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
