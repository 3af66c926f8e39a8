"""Services on AWS Lambda, with the adapter of the real SDK behind an API like AWS's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import restate as sdk
from restate.aws_lambda import wrap_asgi_as_lambda_handler

from restate_node.testing import Cluster
from tests.process.node_processes import http
from tests.runtime.function_api import ApiError, FunctionApi, function_api
from tests.testing.applications import Seen, app

ARN = "arn:aws:lambda:eu-central-1:123456789012:function:tickets:$LATEST"


def tickets(seen: Seen) -> Any:
    """An object that has state, does something once, sleeps, and may refuse."""
    tickets = sdk.VirtualObject("Tickets")

    @tickets.handler()
    async def reserve(ctx: sdk.ObjectContext, count: int) -> list[int]:
        reserved = (await ctx.get("reserved", type_hint=int) or 0) + count
        if reserved > 10:
            raise sdk.TerminalError("sold out", status_code=409)
        seen.events.append("began")
        number = await ctx.run_typed("pay", lambda: seen.events.append("paid") or 7)
        await ctx.sleep(timedelta(milliseconds=20))
        ctx.set("reserved", reserved)
        return [number, reserved]

    return tickets


@asynccontextmanager
async def deployed(*services: Any) -> AsyncIterator[FunctionApi]:
    """The services as a function. As on Lambda, it runs one call at a time, on a loop of its own,
    which the SDK makes.
    """
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as machine:
        handler: Any = machine.submit(wrap_asgi_as_lambda_handler, app(*services)).result()

        async def run(event: dict[str, Any]) -> Any:
            return await loop.run_in_executor(machine, handler, event, None)

        try:
            async with function_api() as api:
                api.functions[ARN] = run
                yield api
        finally:
            # The adapter leaves its loop to the process, which ends.
            machine.submit(lambda: asyncio.get_event_loop().close()).result()


async def rest(url: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    status, answer = await asyncio.to_thread(http, url, data)
    return status, json.loads(answer)


@pytest.mark.restate(time="real")
async def test_a_function(restate: Cluster) -> None:
    """Goal: a handler on Lambda runs durably: it suspends while it sleeps, its step happens once,
    state and errors arrive, throttled calls are retried. How: register by ARN as people do, call
    through the ingress, look at what AWS was asked for.
    """
    seen = Seen()
    async with deployed(tickets(seen)) as api:
        status, told = await rest(f"{restate.admin_url}/deployments", {"arn": ARN})
        assert (status, told["services"][0]["name"]) == (201, "Tickets")
        reserve = f"{restate.ingress_url}/Tickets/concert/reserve"
        api.errors = [ApiError(429, "TooManyRequestsException")]
        assert await rest(reserve, 4) == (200, [7, 4])
        assert seen.count("paid") == 1 and seen.count("began") >= 2
        paths = [asked.event["path"] for asked in api.asked]
        assert paths == ["/discover", *["/invoke/Tickets/reserve"] * (seen.count("began") + 1)]
        assert await rest(reserve, 6) == (200, [7, 10])
        status, told = await rest(reserve, 1)
        assert (status, told["message"]) == (409, "sold out")
        _, told = await rest(f"{restate.admin_url}/deployments")
        assert [deployment["arn"] for deployment in told["deployments"]] == [ARN]


@pytest.mark.restate(time="real")
async def test_no_function(restate: Cluster) -> None:
    """Goal: who registers learns why it does not work. How: one that AWS does not know."""
    async with function_api():
        status, told = await rest(f"{restate.admin_url}/deployments", {"arn": ARN})
        assert (status, told["restate_code"]) == (500, "META0003")
        assert "ResourceNotFoundException" in told["message"]
