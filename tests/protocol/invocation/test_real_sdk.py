"""Session and codec against the real SDK for Python: its core is the one of most SDKs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import restate
from restate.exceptions import TerminalError

from restate_node.types.attempts import AttemptFailure, ErrorCode
from restate_node.types.invocations import Failure, Outcome, Success, raw_id
from restate_node.types.journal import AwaitPoint, Entry, MessageType, SignalIndex
from restate_node.types.journal_commands import (
    Call,
    ClearState,
    GetState,
    Meaning,
    SendSignal,
    SetState,
    Sleep,
)
from restate_node.wire import journal_codec
from tests.protocol.invocation.sdk_runtime import INVOCATION, Runtime, runs_of

service = restate.Service("Tests")
object_ = restate.VirtualObject("Things")
CALLEE = raw_id(5, 6)
CANCEL = journal_codec.signal(SignalIndex(1), None)
T = MessageType


@service.handler()
async def greet(ctx: restate.Context, name: str) -> str:
    """Nothing durable but the result."""
    return f"Hello {name}"


@service.handler()
async def run_twice(ctx: restate.Context, name: str) -> str:
    """Two results of user code."""
    first = await ctx.run_typed("first", lambda: name + "1")
    second = await ctx.run_typed("second", lambda: name + "2")
    return first + second


@service.handler()
async def sleep(ctx: restate.Context, name: str) -> str:
    """A timer."""
    await ctx.sleep(timedelta(hours=1))
    return name


@service.handler()
async def call(ctx: restate.Context, name: str) -> str:
    """Another service, that may fail."""
    ctx.service_send(greet, arg="later", send_delay=timedelta(hours=1))
    return await ctx.service_call(greet, arg=name, idempotency_key="i")


@service.handler()
async def wait(ctx: restate.Context, name: str) -> str:
    """An awakeable, given to another one first."""
    identity, promise = ctx.awakeable()
    ctx.resolve_awakeable(identity, name)
    return await promise


@service.handler()
async def race(ctx: restate.Context, name: str) -> str:
    """The first of a call and a timer."""
    match await restate.select(
        called=ctx.service_call(greet, arg=name), slept=ctx.sleep(timedelta(hours=1))
    ):
        case ["called", greeting]:
            return f"called {greeting}"
        case _:
            return "slept"


@service.handler()
async def refuse(ctx: restate.Context, name: str) -> str:
    """A failure that is final."""
    raise TerminalError("no", status_code=418)


@service.handler()
async def stumble(ctx: restate.Context, name: str) -> str:
    """A failure that is not."""
    raise ValueError(f"no {name}")


@object_.handler()
async def remember(ctx: restate.ObjectContext, name: str) -> str:
    """State, read and written."""
    before = await ctx.get("a", type_hint=str) or "nothing"
    ctx.set("a", name)
    ctx.clear("b")
    return before


APP = restate.app([service, object_])
MODES = [(version, bidi) for version in (5, 6, 7) for bidi in (False, True)]
each_mode = pytest.mark.parametrize(("version", "is_bidirectional"), MODES)
Mode = tuple[int, bool]


def nothing(meaning: Meaning) -> list[Entry]:
    """No command is answered."""
    return []


def runtime(
    handler: str, mode: Mode, answer: Callable[[Meaning], list[Entry]] = nothing, **more: Any
) -> Runtime:
    """An invocation of a handler, with `"x"`."""
    journal = [journal_codec.input(b'"x"', ())]
    path = handler if "/" in handler else f"Tests/{handler}"
    return Runtime(APP, f"/invoke/{path}", mode[0], mode[1], answer, journal, **more)


def value(content: object) -> Success:
    """What a handler returns."""
    return Success(json.dumps(content).encode())


def kinds(found: Runtime) -> list[int]:
    """The journal, by type."""
    return [entry.kind for entry in found.journal]


@each_mode
async def test_a_handler_is_called(version: int, is_bidirectional: bool) -> None:
    """Goal: argument in, result out. How: a handler that does nothing else."""
    greeting = runtime("greet", (version, is_bidirectional))
    assert await greeting.run() == value("Hello x")
    assert kinds(greeting) == [T.INPUT_COMMAND, T.OUTPUT_COMMAND]


@each_mode
async def test_results_of_runs_are_stored_and_replayed(
    version: int, is_bidirectional: bool
) -> None:
    """Goal: user code runs once. How: two runs; without a way back each takes an attempt."""
    running = runtime("run_twice", (version, is_bidirectional))
    assert await running.run() == value("x1x2")
    assert runs_of(running.journal) == 2
    assert len(running.suspended) == (0 if is_bidirectional else 2)
    assert journal_codec.command_name(running.journal[1]) == "first"


@each_mode
async def test_a_sleep_suspends(version: int, is_bidirectional: bool) -> None:
    """Goal: a handler that waits costs nothing. How: a timer that fires between two attempts."""
    timers: list[Meaning] = []

    def answer(meaning: Meaning) -> list[Entry]:
        timers.append(meaning)
        return []

    slept = journal_codec.completion(T.SLEEP_COMPLETION, 1, None)
    sleeping = runtime("sleep", (version, is_bidirectional), answer, late=[slept])
    assert await sleeping.run() == value("x")
    assert isinstance(timers[0], Sleep)
    assert timers[0].completion == 1
    assert timers[0].wake_up_ms > 1_700_000_000_000
    assert sleeping.suspended == [AwaitPoint((1,), (1,))]


@each_mode
@pytest.mark.parametrize("outcome", [value("hi"), Failure(404, "no")])
async def test_calls_are_made_and_answered(
    version: int, is_bidirectional: bool, outcome: Outcome
) -> None:
    """Goal: services call each other. How: a call and a delayed one, ids and an outcome."""
    calls: list[Call] = []

    def answer(meaning: Meaning) -> list[Entry]:
        if not isinstance(meaning, Call):
            return []
        calls.append(meaning)
        notifications = [journal_codec.id_completion(meaning.id_completion, CALLEE)]
        if meaning.completion is not None:
            done = journal_codec.completion(T.CALL_COMPLETION, meaning.completion, outcome)
            notifications.append(done)
        return notifications

    found = await runtime("call", (version, is_bidirectional), answer).run()
    assert found == outcome
    sent, called = calls
    assert (sent.service, sent.handler, sent.argument) == ("Tests", "greet", b'"later"')
    assert sent.start_at_ms is not None
    assert sent.completion is None
    assert (called.argument, called.idempotency_key, called.start_at_ms) == (b'"x"', "i", None)


@each_mode
async def test_awakeables_are_signals(version: int, is_bidirectional: bool) -> None:
    """Goal: an id that an SDK hands out leads back to it. How: complete what it completes."""
    signals: list[SendSignal] = []

    def answer(meaning: Meaning) -> list[Entry]:
        if not isinstance(meaning, SendSignal):
            return []
        signals.append(meaning)
        assert isinstance(meaning.signal, SignalIndex)
        return [journal_codec.signal(meaning.signal, meaning.outcome)]

    assert await runtime("wait", (version, is_bidirectional), answer).run() == value("x")
    assert [(signal.invocation, signal.signal) for signal in signals] == [
        (INVOCATION, SignalIndex(17))
    ]


@each_mode
@pytest.mark.parametrize("is_state_partial", [False, True])
async def test_state_is_read_and_written(
    version: int, is_bidirectional: bool, is_state_partial: bool
) -> None:
    """Goal: state sent along is read at once, other state is asked for. How: both."""
    written: list[Meaning] = []

    def answer(meaning: Meaning) -> list[Entry]:
        written.extend([meaning] if isinstance(meaning, SetState | ClearState) else [])
        if isinstance(meaning, GetState):
            done = T.GET_LAZY_STATE_COMPLETION
            return [journal_codec.completion(done, meaning.completion, Success(b'"lazy"'))]
        return []

    found = await runtime(
        "Things/remember",
        (version, is_bidirectional),
        answer,
        state=() if is_state_partial else [("a", b'"eager"')],
        is_state_partial=is_state_partial,
    ).run()
    assert found == value("lazy" if is_state_partial else "eager")
    assert written == [SetState("a", b'"x"'), ClearState("b")]


@each_mode
@pytest.mark.parametrize("winner", ["called", "slept"])
async def test_races_go_on_when_one_has_won(
    version: int, is_bidirectional: bool, winner: str
) -> None:
    """Goal: await points are understood. How: a race of which the one or the other wins late."""
    greeted = journal_codec.completion(T.CALL_COMPLETION, 2, value("hi"))
    slept = journal_codec.completion(T.SLEEP_COMPLETION, 3, None)
    late = [greeted if winner == "called" else slept]

    def answer(meaning: Meaning) -> list[Entry]:
        if isinstance(meaning, Call):
            return [journal_codec.id_completion(meaning.id_completion, CALLEE)]
        return []

    racing = runtime("race", (version, is_bidirectional), answer, late=late)
    assert await racing.run() == value("called hi" if winner == "called" else "slept")


@each_mode
async def test_a_cancellation_ends_a_wait(version: int, is_bidirectional: bool) -> None:
    """Goal: an operator can cancel. How: cancel what sleeps; an SDK lists it as awaited."""
    found = runtime("sleep", (version, is_bidirectional), late=[CANCEL])
    outcome = await found.run()
    assert isinstance(outcome, Failure)
    assert outcome.code == 409


@each_mode
async def test_failures_are_told_apart(version: int, is_bidirectional: bool) -> None:
    """Goal: final and passing failures differ. How: one handler of each kind."""
    outcome = await runtime("refuse", (version, is_bidirectional)).run()
    assert outcome == Failure(418, "no")
    failure = await runtime("stumble", (version, is_bidirectional)).run()
    assert isinstance(failure, AttemptFailure)
    assert (failure.code, failure.error_code) == (500, ErrorCode.SERVICE_ERROR)
    assert "no x" in failure.message


@each_mode
async def test_a_journal_of_other_code_is_found_out(version: int, is_bidirectional: bool) -> None:
    """Goal: changed code is reported as such. How: replay the journal of another handler."""
    other = runtime("run_twice", (version, is_bidirectional))
    await other.run()
    changed = runtime("sleep", (version, is_bidirectional))
    changed.journal = other.journal[:3]
    failure = await changed.run()
    assert isinstance(failure, AttemptFailure)
    assert (failure.code, failure.error_code) == (570, ErrorCode.JOURNAL_MISMATCH)
    assert failure.related_command_index == 1
