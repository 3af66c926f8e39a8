"""Services of users, as the SDK for Python lets them be written; each test makes its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import restate as sdk

DAYS_30 = timedelta(days=30)


@dataclass
class Seen:
    """What the code of handlers did, as a system outside of the cluster would have seen it."""

    events: list[str] = field(default_factory=list[str])

    def count(self, event: str) -> int:
        return self.events.count(event)


def greeter(seen: Seen | None = None) -> Any:
    """A service: at once, after a month, and later by a delayed call."""
    service = sdk.Service("Greeter")

    @service.handler()
    async def greet(ctx: sdk.Context, name: str) -> str:
        return f"Hello {name}"

    @service.handler()
    async def greet_in_a_month(ctx: sdk.Context, name: str) -> str:
        await ctx.sleep(DAYS_30)
        return f"Hello {name}"

    @service.handler()
    async def greet_in(ctx: sdk.Context, seconds: float) -> str:
        await ctx.sleep(timedelta(seconds=seconds))
        return "Hello"

    @service.handler()
    async def two_sleeps(ctx: sdk.Context, _: None) -> list[float]:
        moments = [await ctx.time()]
        for _again in range(2):
            await ctx.sleep(timedelta(hours=7, milliseconds=13))
            moments.append(await ctx.time())
        return moments

    @service.handler()
    async def refuse(ctx: sdk.Context, name: str) -> str:
        raise sdk.TerminalError(f"not {name}", status_code=409)

    @service.handler()
    async def stumble(ctx: sdk.Context, name: str) -> str:
        raise KeyError(f"no such thing: {name}")

    @service.handler()
    async def remind(ctx: sdk.Context, name: str) -> None:
        ctx.service_send(note, name, send_delay=DAYS_30)

    @service.handler()
    async def note(ctx: sdk.Context, name: str) -> None:
        if seen is not None:
            seen.events.append(name)

    return service


def counter(seen: Seen, pause_s: float = 0.0) -> Any:
    """A virtual object whose handler has steps that others would notice if they were repeated."""
    service = sdk.VirtualObject("Counter")

    @service.handler()
    async def add(ctx: sdk.ObjectContext, amount: int) -> int:
        total = (await ctx.get("total") or 0) + amount
        ctx.set("total", total)
        await ctx.run_typed("charge", charge, key=ctx.key())
        await ctx.sleep(timedelta(seconds=1))
        return total

    async def charge(key: str) -> None:
        if pause_s:
            await asyncio.sleep(pause_s)
        seen.events.append(f"charged {key}")

    @service.handler(kind="shared")
    async def total(ctx: sdk.ObjectSharedContext, _: None) -> int:
        return await ctx.get("total") or 0

    return service


def signup(on_awakeable: Callable[[str], None]) -> Any:
    """A workflow that waits for a promise, then for an awakeable."""
    workflow = sdk.Workflow("Signup")

    @workflow.main()
    async def run(ctx: sdk.WorkflowContext, mail: str) -> dict[str, str]:
        ctx.set("stage", "waiting for the click")
        secret = await ctx.promise("clicked").value()
        name, promise = ctx.awakeable()
        ctx.set("stage", "waiting for the payment")
        await ctx.run_typed("hand out", lambda: on_awakeable(name))
        return {"mail": mail, "secret": secret, "paid": await promise}

    @workflow.handler()
    async def click(ctx: sdk.WorkflowSharedContext, secret: str) -> None:
        await ctx.promise("clicked").resolve(secret)

    return workflow


def app(*services: Any) -> Any:
    """All of them in one application."""
    return sdk.app(services)
