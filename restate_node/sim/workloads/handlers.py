"""What users' services do in a run, and what they tell the history.

    Program/run       a list of steps: draw a number, sleep, call, send, wait for a signal, …
    Program/draw      draws one number: whoever runs once only, draws once only
    Counter/add       an object: collects tokens, each of which must be in it once
    Register/set …    an object: a variable
    Signup/run …      a workflow: waits for a promise that others complete
    Resolver/…        gives an awakeable, or a signal with a name, to who waits for it

Handlers stumble now and then, between any two steps, and are tried again. Programs that are stopped
have something to tidy up.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any, Final

from restate_node.sim.history_invocations import (
    ControlOrdered,
    HandlerReturned,
    OutcomeSeen,
    ReplayBroken,
    StepSeen,
    TimerRang,
    TimerSet,
)
from restate_node.sim.recorder import Recorder
from restate_node.sim.services import Service
from restate_node.sim.workloads.book import Book
from restate_node.sim.workloads.tiny_sdk import (
    Cancelled,
    Conversation,
    Handler,
    Stumbles,
    served,
)
from restate_node.types.invocations import Outcome, Success
from restate_node.wire.pb import service_protocol_pb2 as pb

STUMBLE_PROBABILITY: Final = 0.03
PAUSING_PROBABILITY: Final = 0.1
"""Of those who stumble where operators work, so many ask to be paused."""
STOPPED_MS: Final = 30_000
"""Who sleeps for so long is to be woken before; if nobody lives to do it, it ends in time."""
STOPPED: Final = "stopped"
LONG_EVERY: Final = 4
LONG_MS: Final = 450
"""Some hold a key for so long that they are suspended meanwhile."""
ALWAYS: Final = -1
"""Number of a step that is no step: what must be the same in every attempt."""
DUE: Final = "due"
"""A token `due/<unix ms>/<name>` is about a timer of that name."""


class Handlers:
    """All handlers of a run. They live in the world, beside all nodes.

    `now_ms` is the time of the world; `skew_seconds`: what clocks of nodes may be off by. Who runs
    is in the book, for operators to find. `may_pause`: an operator will resume them.
    """

    def __init__(
        self,
        recorder: Recorder,
        book: Book,
        rng: Random,
        now_ms: Callable[[], int],
        skew_seconds: float,
        *,
        may_pause: bool = False,
    ) -> None:
        self._recorder = recorder
        self._book = book
        self._may_pause = may_pause
        self._rng = rng
        self._now_ms = now_ms
        self._skew_seconds = skew_seconds

    def service(self) -> Service:
        """All of them, at one address."""
        handlers: dict[str, Handler] = {
            "Program/run": self._program,
            "Program/draw": self._draw_once,
            "Counter/add": self._add,
            "Counter/tokens": self._tokens,
            "Register/set": self._set,
            "Register/get": self._get,
            "Register/swap": self._swap,
            "Signup/run": self._sign_up,
            "Signup/confirm": self._confirm,
            "Resolver/resolve": self._resolve,
            "Resolver/signal": self._signal,
        }
        return served({path: self._noted(path, h) for path, h in handlers.items()}, self._broken)

    def _noted(self, path: str, handler: Handler) -> Handler:
        """Who begins is known, and so is what came of it."""

        async def noted(ctx: Conversation) -> bytes:
            self._book.met(ctx.id, path)
            again = f"version {ctx.version}, seed {ctx.seed}"
            self._recorder.add(StepSeen(self._recorder.now(), ctx.invocation, ALWAYS, again))
            value = await handler(ctx)
            now = self._recorder.now()
            self._recorder.add(HandlerReturned(now, ctx.invocation, value.decode()))
            self._book.left(ctx.id)
            return value

        return noted

    # ------------------------------------------------------------ programs

    async def _program(self, ctx: Conversation) -> bytes:
        """Returns what its steps came to, as a list in JSON."""
        try:
            return await self._steps(ctx)
        except Cancelled:
            await ctx.run(self._draw)
            self._stumble()
            raise

    async def _steps(self, ctx: Conversation) -> bytes:
        values: list[str] = []
        for number, step in enumerate(json.loads(ctx.argument)):
            self._stumble()
            name = f"{ctx.invocation}/{number}"
            expected = {"signal": name, "named": name, "stop": STOPPED}.get(step[0], "")
            value = (await self._step(ctx, name, step)).decode()
            now = self._recorder.now()
            self._recorder.add(StepSeen(now, ctx.invocation, number, value, expected))
            values.append(value)
        return json.dumps(values).encode()

    async def _step(self, ctx: Conversation, name: str, step: list[Any]) -> bytes:
        match step:
            case ["draw"]:
                return await ctx.run(self._draw)
            case ["sleep", int(ms)]:
                return await self._sleep(ctx, name, ms)
            case ["add", str(key)]:
                return _value(await ctx.call("Counter", "add", key, name.encode()))
            case ["later", str(key), int(ms)]:
                return await self._send_later(ctx, name, key, ms)
            case ["signal"]:
                return await self._wait_for_signal(ctx, name)
            case ["named"]:
                ctx.send("Resolver", "signal", "", f"{ctx.invocation} {name}".encode())
                return _value(await ctx.signal(name))
            case ["child", steps]:
                argument = json.dumps(steps).encode()
                return _value(await ctx.call("Program", "run", "", argument))
            case _:
                return await self._step_with_others(ctx, name, step)

    async def _step_with_others(self, ctx: Conversation, name: str, step: list[Any]) -> bytes:
        """Steps that are about other invocations as such."""
        match step:
            case ["both", str(one), str(other)]:
                ends = [
                    ctx.begin_call("Counter", "add", key, f"{name}/{place}".encode())[1]
                    for place, key in enumerate((one, other))
                ]
                return b" ".join(map(_value, await ctx.results(*ends)))
            case ["attach", steps]:
                return await self._attach_to_child(ctx, name, steps)
            case ["stop", int(ms)]:
                return await self._stop_child(ctx, name, ms)
            case ["workflow", str(key)]:
                target = pb.WorkflowTarget(workflow_name="Signup", workflow_key=key)
                message = pb.AttachInvocationCommandMessage(workflow_target=target)
                return self._told(ctx, f"Signup {key}", await ctx.attach(message))
            case _:
                raise ValueError(f"no such step: {step}")

    async def _attach_to_child(self, ctx: Conversation, name: str, steps: list[Any]) -> bytes:
        """Ask for its output, wait for it, ask again: by its id, and by its idempotency key."""
        argument = json.dumps(steps).encode()
        child = await ctx.callee(ctx.send("Program", "run", "", argument, 0, name))
        early = await ctx.output(child)
        if early is not None:
            self._told(ctx, child, early)
        self._stumble()
        message = pb.AttachInvocationCommandMessage(invocation_id=child)
        value = self._told(ctx, child, await ctx.attach(message))
        target = pb.IdempotentRequestTarget(
            service_name="Program", handler_name="run", idempotency_key=name
        )
        message = pb.AttachInvocationCommandMessage(idempotent_request_target=target)
        self._told(ctx, child, await ctx.attach(message))
        self._told(ctx, child, await ctx.output(child))
        return value

    async def _stop_child(self, ctx: Conversation, name: str, ms: int) -> bytes:
        """It would sleep for long; after a while it is suspended, and must hear it all the same."""
        argument = json.dumps([["draw"], ["sleep", STOPPED_MS]]).encode()
        child = await ctx.callee(ctx.send("Program", "run", "", argument, 0, name))
        await ctx.sleep(int(await ctx.run(lambda: str(self._now_ms() + ms).encode())))
        self._cancels(ctx, child)
        message = pb.AttachInvocationCommandMessage(invocation_id=child)
        ended = self._told(ctx, child, await ctx.attach(message))
        return STOPPED.encode() if ended.startswith(b"409 ") else ended

    def _cancels(self, ctx: Conversation, other: str) -> None:
        now, order = self._recorder.now(), self._recorder.next_number()
        self._recorder.add(ControlOrdered(now, ctx.invocation, order, other, "CANCEL"))
        ctx.cancel(other)

    def _told(self, ctx: Conversation, other: str, outcome: Outcome | None) -> bytes:
        """How another invocation ended."""
        text = "nothing" if outcome is None else outcome_text(outcome)
        self._recorder.add(OutcomeSeen(self._recorder.now(), ctx.invocation, other, text))
        return text.encode()

    async def _sleep(self, ctx: Conversation, name: str, ms: int) -> bytes:
        due_ms = await ctx.sleep(self._now_ms() + ms)
        self._rang(name, due_ms)
        return b"slept"

    async def _send_later(self, ctx: Conversation, name: str, key: str, ms: int) -> bytes:
        """When to, is a step of its own: a second attempt must not say another time."""
        due_ms = int(await ctx.run(lambda: str(self._now_ms() + ms).encode()))
        now = self._recorder.now()
        self._recorder.add(TimerSet(now, name, self._seconds(due_ms)))
        token = f"{DUE}/{due_ms}/{name}"
        ctx.send("Counter", "add", key, token.encode(), due_ms)
        return b"sent"

    async def _wait_for_signal(self, ctx: Conversation, name: str) -> bytes:
        awakeable, signal = ctx.awakeable()
        ctx.send("Resolver", "resolve", "", f"{awakeable} {name}".encode())
        return _value(await ctx.result(signal))

    async def _resolve(self, ctx: Conversation) -> bytes:
        awakeable, _, value = ctx.argument.decode().partition(" ")
        self._stumble()
        ctx.resolve(awakeable, value.encode())
        return b""

    async def _signal(self, ctx: Conversation) -> bytes:
        """Its name is its value."""
        invocation, _, name = ctx.argument.decode().partition(" ")
        self._stumble()
        ctx.send_signal(invocation, name, name.encode())
        return b""

    async def _draw_once(self, ctx: Conversation) -> bytes:
        self._stumble()
        number = await ctx.run(self._draw)
        self._stumble()
        return number

    # ------------------------------------------------------------ objects

    async def _add(self, ctx: Conversation) -> bytes:
        """Returns how many there are; a step between reading and writing gives others time."""
        token = ctx.argument.decode()
        if token.startswith(DUE):
            _, due_ms, timer = token.split("/", 2)
            self._rang(timer, int(due_ms))
        names, found = await ctx.keys(), await ctx.get("tokens")
        if ("tokens" in names) != (found is not None):
            self._broken(ctx.invocation, f"state has {names}, and tokens are {found!r}")
        tokens = (found or b"").split()
        number = await ctx.run(self._draw)
        if int(number[1:]) % LONG_EVERY == 0:
            await ctx.sleep(self._now_ms() + LONG_MS)
        self._stumble()
        ctx.set("last", ctx.argument)
        if self._rng.random() < 0.2:
            self._stumble()
        tokens.append(token.split("/", 2)[2].encode() if token.startswith(DUE) else ctx.argument)
        ctx.set("tokens", b" ".join(tokens))
        return str(len(tokens)).encode()

    async def _tokens(self, ctx: Conversation) -> bytes:
        return await ctx.get("tokens") or b""

    async def _set(self, ctx: Conversation) -> bytes:
        ctx.set("last", ctx.argument)
        await ctx.run(self._draw)
        self._stumble()
        ctx.set("value", ctx.argument)
        return b""

    async def _get(self, ctx: Conversation) -> bytes:
        return await ctx.get("value") or b""

    async def _swap(self, ctx: Conversation) -> bytes:
        """`expected>new`; a sleep in it lets it suspend while it holds the key."""
        expected, _, new = ctx.argument.decode().partition(">")
        found = (await ctx.get("value") or b"").decode()
        await ctx.sleep(self._now_ms() + self._rng.choice((1, 50, 700)))
        self._stumble()
        if found != expected:
            return b"no"
        ctx.set("value", new.encode())
        return b"yes"

    # ------------------------------------------------------------ a workflow

    async def _sign_up(self, ctx: Conversation) -> bytes:
        number = await ctx.run(self._draw)
        self._stumble()
        confirmed = _value(await ctx.promise("confirmed"))
        ctx.set("number", number)
        return number + b" " + confirmed

    async def _confirm(self, ctx: Conversation) -> bytes:
        failure = await ctx.complete_promise("confirmed", ctx.argument)
        return b"confirmed" if failure is None else b"again"

    # ------------------------------------------------------------ inside

    def _draw(self) -> bytes:
        """A number that nobody else has."""
        return f"#{self._recorder.next_number()}".encode()

    def _stumble(self) -> None:
        if self._rng.random() < STUMBLE_PROBABILITY:
            pauses = self._may_pause and self._rng.random() < PAUSING_PROBABILITY
            raise Stumbles("stumbled", pauses=pauses)

    def _rang(self, timer: str, due_ms: int) -> None:
        now = self._recorder.now()
        self._recorder.add(TimerRang(now, timer, self._seconds(due_ms), self._skew_seconds))

    def _seconds(self, unix_ms: int) -> float:
        """That time in seconds of the run."""
        return self._recorder.now() + (unix_ms - self._now_ms()) / 1000

    def _broken(self, invocation: str, text: str) -> None:
        self._recorder.add(ReplayBroken(self._recorder.now(), invocation, text))


def outcome_text(outcome: Outcome) -> str:
    """As histories have it."""
    if isinstance(outcome, Success):
        return outcome.value.decode()
    return f"{outcome.code} {outcome.message}"


def _value(outcome: Outcome | None) -> bytes:
    """Of what cannot fail, unless somebody ends it by force."""
    return b"nothing" if outcome is None else outcome_text(outcome).encode()
