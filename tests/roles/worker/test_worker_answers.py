"""Who is answered what about an invocation that another call began, or that nothing retains."""

from __future__ import annotations

import asyncio

import pytest
from invocation_playground import URI, Playground, ended, status, submit
from msgspec.structs import replace
from worker_world import World, run

from restate_node.sim.services import ServiceCall
from restate_node.sim.workloads.tiny_sdk import Conversation
from restate_node.types.invocation_messages import (
    AttachStatus,
)
from restate_node.types.invocations import (
    Retention,
    Success,
    id_text,
)

pytestmark = pytest.mark.parametrize("seed", [1, 2, 3])


def test_what_nothing_retains_is_gone_for_all_others(seed: int) -> None:
    """Goal: without retention an ended call is seen by nobody, but its submitter hears of it again,
    and its id begins anew for others; a service is told the id. Method: one id, two seeds.
    """

    async def main(world: World) -> None:
        told: list[dict[str, str]] = []

        async def greet(ctx: Conversation) -> bytes:
            return ctx.argument

        play = Playground(world, {"Greeter/greet": greet})
        served_before = play.service

        async def service(call: ServiceCall) -> None:
            told.append(dict(call.head.headers))
            await served_before(call)

        play.services.serve(URI, service)
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        first = replace(play.call("Greeter", "greet", argument=b"1"), retention=Retention(0, 0))
        other = replace(first, argument=b"2", random_seed=99)
        assert (await submit(worker, first)).outcome == Success(b"1")
        assert (await ended(worker, first.id)).status is AttachStatus.NOT_FOUND
        assert await status(worker, first.id) == "none"
        assert (await submit(worker, first)).outcome == Success(b"1")
        assert (await submit(worker, other)).outcome == Success(b"2")
        assert [head["x-restate-invocation-id"] for head in told] == [id_text(first.id)] * 2

    run(main, seed)


def test_the_run_of_a_workflow_has_one_caller(seed: int) -> None:
    """Goal: who calls a run that another call began hears that at once, be it in the log or not
    yet; the first waits for the end. Method: the handler waits for the test.
    """

    async def main(world: World) -> None:
        go_on = asyncio.Event()

        async def flow(ctx: Conversation) -> bytes:
            await go_on.wait()
            return b"done"

        play = Playground(world, {"Flow/run": flow})
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        first = play.call("Flow", "run", "k")
        others = [replace(first, random_seed=seed) for seed in (98, 99)]
        running = asyncio.ensure_future(submit(worker, first))
        at_once = asyncio.ensure_future(submit(worker, others[0]))
        assert (await at_once).is_new is False
        later = await submit(worker, others[1])
        assert (later.is_new, later.outcome, running.done()) == (False, None, False)
        go_on.set()
        assert (await running).outcome == Success(b"done")

    run(main, seed)
