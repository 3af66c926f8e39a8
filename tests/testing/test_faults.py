"""Nodes are killed, networks are cut, services crash: in effect nothing is lost or doubled."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from restate_node.testing import Cluster
from tests.testing.applications import Seen, app, counter, greeter


@pytest.mark.restate(nodes=3, seeds=range(5))
async def test_the_leader_is_killed_in_mid_handler(restate: Cluster) -> None:
    """Goal: a handler survives its node. How: kill the leader between two of its steps."""
    seen = Seen()
    await restate.register(app(counter(seen)))
    running = asyncio.ensure_future(restate.call("Counter/ann/add", 5))
    while not seen.events:  # noqa: ASYNC110 - virtual time: looking is free
        await asyncio.sleep(0.001)
    leader = restate.leader("ann")
    restate.kill(leader)
    assert leader not in restate.running
    assert await running == 5
    assert await restate.state("Counter", "ann") == {"total": 5}
    assert restate.leader("ann") != leader
    await restate.start(leader)
    assert await restate.call("Counter/ann/add", 1) == 6


@pytest.mark.restate
async def test_the_only_node_is_killed(restate: Cluster) -> None:
    """Goal: what was acknowledged is on the disk. How: kill it, start it, ask again."""
    seen = Seen()
    await restate.register(app(counter(seen)))
    await restate.call("Counter/ann/add", 5)
    sent = await restate.send("Counter/ann/add", 1)
    restate.kill("n1")
    await restate.start("n1")
    assert await sent.attach() == 6
    assert seen.count("charged ann") in (2, 3)


async def test_a_service_crashes(restate: Cluster) -> None:
    """Goal: a crash of the service in mid-step is repeated, no finished step is. How: crash it
    while the step pauses, and again while the handler sleeps.
    """
    seen = Seen()
    service = await restate.register(app(counter(seen, pause_s=0.2)))
    running = asyncio.ensure_future(restate.call("Counter/ann/add", 5))
    await asyncio.sleep(0.1)
    with service.down():
        assert not service.is_up
        await asyncio.sleep(5)
    assert seen.events == []
    while not seen.events:  # noqa: ASYNC110 - virtual time: looking is free
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    service.crash()
    await asyncio.sleep(3600)
    service.start()
    assert await running == 5
    assert seen.events == ["charged ann"]
    assert await restate.state("Counter", "ann") == {"total": 5}


@pytest.mark.restate(app=app(greeter()), nodes=3, seed=3)
async def test_the_network_is_cut(restate: Cluster) -> None:
    """Goal: two of three nodes go on. How: cut off the leader, call, mend, call."""
    leader = restate.leader("ann")
    others = [node for node in restate.nodes if node != leader]
    restate.partition([leader], others)
    seen = Seen()
    await restate.register(app(counter(seen)))
    restate.heal()
    assert await restate.call("Counter/ann/add", 1) == 1


@pytest.mark.restate(app=app(greeter()), nodes=3, seeds=range(3))
async def test_time_stands_still_while_the_network_is_cut(restate: Cluster) -> None:
    """Goal: what a cut holds up is not overtaken by what is due in an hour. How: each node in turn
    is cut off for a moment, shorter than the others need to miss it, when calls are due.
    """
    order: list[str] = []
    begin = restate.time.now() + timedelta(hours=1)

    async def call(left: timedelta) -> None:
        await (await restate.send("Greeter/greet", "Ada", delay=left)).attach()
        order.append("call")

    for node in restate.nodes:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(call(begin - restate.time.now()))
            await asyncio.sleep((begin - restate.time.now()).total_seconds() - 0.005)
            restate.partition([node], [other for other in restate.nodes if other != node])
            leaps = restate.time.leaps
            await asyncio.sleep(0.7)
            assert restate.time.leaps == leaps
            restate.heal()
            await asyncio.sleep(3600)
            order.append("an hour later")
        assert order == ["call"] * 4 + ["an hour later"]
        order.clear()
        begin = restate.time.now() + timedelta(hours=1)


@pytest.mark.restate(app=app(greeter()), nodes=3, seeds=range(4))
async def test_calls_that_lose_their_leader_are_not_overtaken(restate: Cluster) -> None:
    """Goal: who waits for a new leader hears of it before time leaps. How: the node that is asked
    dies when calls are due, and the test sleeps for an hour.
    """
    begin = restate.time.now() + timedelta(hours=1)
    order: list[str] = []

    async def call() -> None:
        left = begin - restate.time.now()
        await (await restate.send("Greeter/greet", "Ada", delay=left)).attach()
        order.append("call")

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(call())
        await asyncio.sleep((begin - restate.time.now()).total_seconds() - 0.005)
        restate.kill("n1")
        await asyncio.sleep(3600)
        order.append("an hour later")
    assert order == ["call"] * 4 + ["an hour later"]


async def test_a_slow_service(restate: Cluster) -> None:
    """Goal: slowness can be ordered. How: ten minutes before each request, told by the clock."""
    service = await restate.register(app(greeter()))
    service.delay_s = 600
    before = restate.time.now()
    assert await restate.call("Greeter/greet", "Ada") == "Hello Ada"
    assert (restate.time.now() - before).total_seconds() >= 600
