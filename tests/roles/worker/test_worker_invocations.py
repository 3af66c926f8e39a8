"""Workers that run invocations: a real leader, its log in memory, services in memory, faults."""

from __future__ import annotations

import asyncio

import pytest
from invocation_playground import (
    DAY_MS,
    URI,
    Playground,
    becomes,
    column,
    ended,
    now_ms,
    status,
    submit,
)
from worker_world import P0, World, run

from restate_node.sim.workloads.tiny_sdk import Conversation
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import PartitionId
from restate_node.types.invocation_messages import (
    AttachInvocation,
    AttachStatus,
    Control,
    ControlInvocation,
    ControlStatus,
    ReadRows,
    Rows,
)
from restate_node.types.invocations import (
    KILLED,
    Failure,
    Invocation,
    Success,
    id_text,
    raw_id,
)
from restate_node.types.journal import CompletionId, MessageType
from restate_node.types.options import (
    InvocationRetryOptions,
    InvokerOptions,
    OnAttemptsExhausted,
    WorkerOptions,
)
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.partitions import PartitionTable
from restate_node.wire.pb import service_protocol_pb2 as pb

pytestmark = pytest.mark.parametrize("seed", [1, 2, 3])


def test_a_call_is_answered_with_its_outcome(seed: int) -> None:
    """Goal: submit, run, answer; asked again, the answer comes again and nothing runs. Method: an
    object that counts its own calls, submitted twice with one id.
    """

    async def main(world: World) -> None:
        calls: list[bytes] = []

        async def add(ctx: Conversation) -> bytes:
            calls.append(ctx.argument)
            total = int(ctx.state.get("total", b"0")) + int(ctx.argument)
            ctx.set("total", str(total).encode())
            return str(total).encode()

        play = Playground(world, {"Counter/add": add})
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        first, second = (play.call("Counter", "add", "k", b"5") for _ in range(2))
        assert (await submit(worker, first)).outcome == Success(b"5")
        assert (await submit(worker, second)).outcome == Success(b"10")
        again = await submit(worker, first)
        assert (again.is_new, again.outcome) == (True, Success(b"5"))
        assert calls == [b"5", b"5"]
        await world.caught_up(worker)
        assert worker.hash() == world.expected_hash()

    run(main, seed)


def test_the_next_leader_goes_on_from_the_journal(seed: int) -> None:
    """Goal: a leader dies in mid-handler; the next one replays, a finished step is not repeated,
    and who asks the next leader gets the outcome. Method: one step, then a wait for the test.
    """

    async def main(world: World) -> None:
        steps: list[str] = []
        go_on = asyncio.Event()

        async def work(ctx: Conversation) -> bytes:
            one = await ctx.run(lambda: steps.append("one") or b"one")
            await go_on.wait()
            two = await ctx.run(lambda: steps.append("two") or b"two")
            return one + two

        play = Playground(world, {"Greeter/work": work})
        first, second = await world.add_workers(2)
        await world.elect(first)
        call = play.call("Greeter", "work")
        await submit(first, call, wait=False)

        async def stored() -> bool:
            rows: Rows = await first.ask(ReadRows(P0, "sys_journal", invocation=call.id))
            return len(rows.rows) == 3

        await world.until(stored)
        assert await column(first, call.id, "last_attempt_server") == "tiny-sdk"
        first.kill()
        await world.elect(second, to=[second])
        asked = asyncio.ensure_future(submit(second, call))
        go_on.set()
        assert (await asked).outcome == Success(b"onetwo")
        # The attempt of the dead leader goes on by itself, and is not heard.
        assert steps.count("one") == 1

    run(main, seed)


def test_a_waiting_handler_is_suspended_and_woken(seed: int) -> None:
    """Goal: a long sleep holds no connection, ends in time, and not before. Method: sleep a day of
    virtual time; look while it sleeps, and at the clock afterwards.
    """

    async def main(world: World) -> None:
        async def nap(ctx: Conversation) -> bytes:
            await ctx.sleep(int(ctx.argument))
            return b"awake"

        play = Playground(world, {"Greeter/nap": nap})
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        until_ms = now_ms(world) + DAY_MS
        call = play.call("Greeter", "nap", argument=str(until_ms).encode())
        await submit(worker, call, wait=False)
        await becomes(worker, call.id, "suspended")
        assert play.services.exchange_count == 0
        await asyncio.sleep(DAY_MS / 1000 - 60)
        assert await status(worker, call.id) == "suspended"
        await becomes(worker, call.id, "completed")
        assert until_ms <= now_ms(world) < until_ms + 1000

    run(main, seed)


def test_signals_of_one_name_are_taken_one_by_one(seed: int) -> None:
    """Goal: a handler that waits for the next signal of a name sleeps until there is one, though
    the journal has others of that name. Method: it collects three; each is sent when it is
    suspended, and its attempts are counted.
    """

    async def main(world: World) -> None:
        attempts = 0

        async def collect(ctx: Conversation) -> bytes:
            nonlocal attempts
            attempts += 1
            taken = [await ctx.signal("go") for _ in range(3)]
            return b"".join(each.value for each in taken if isinstance(each, Success))

        async def give(ctx: Conversation) -> bytes:
            ctx.send_signal(id_text(call.id), "go", ctx.argument)
            return b""

        play = Playground(world, {"Greeter/collect": collect, "Greeter/give": give})
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        call = play.call("Greeter", "collect")
        await submit(worker, call, wait=False)
        for number, value in enumerate((b"a", b"b", b"c"), start=1):
            await becomes(worker, call.id, "suspended")
            await asyncio.sleep(60)
            assert attempts == number
            await submit(worker, play.call("Greeter", "give", argument=value))
        assert (await ended(worker, call.id)).outcome == Success(b"abc")

    run(main, seed)


def test_what_has_come_is_not_waited_for(seed: int) -> None:
    """Goal: SQL shows what a handler waits for, not what it has waited for, even if its SDK tells
    late. Method: a handler that tells before and after a sleep, and goes on working.
    """

    async def main(world: World) -> None:
        go_on = asyncio.Event()

        async def nap(ctx: Conversation) -> bytes:
            number = ctx.next_completion()
            wake_up_ms = now_ms(world) + 300
            sleep = pb.SleepCommandMessage(wake_up_time=wake_up_ms, result_completion_id=number)
            ctx.command(MessageType.SLEEP_COMMAND, sleep)
            waiting = pb.AwaitingOnMessage(awaiting_on=pb.Future(waiting_completions=[number]))
            ctx.command(MessageType.AWAITING_ON, waiting)
            await ctx.result(CompletionId(number))
            ctx.command(MessageType.AWAITING_ON, waiting)
            await go_on.wait()
            return b""

        play = Playground(world, {"Greeter/nap": nap}, protocol_version_max=7)
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        call = play.call("Greeter", "nap")
        await submit(worker, call, wait=False)

        async def waits() -> bool:
            told = await column(worker, call.id, "last_awaiting_on_future_json")
            return told is not None

        await world.until(waits)
        await asyncio.sleep(0.4)
        assert await status(worker, call.id) == "running"
        assert not await waits()
        go_on.set()
        await becomes(worker, call.id, "completed")

    run(main, seed)


def test_entries_pin_an_invocation_waiting_does_not(seed: int) -> None:
    """Goal: what has only waited may go to the next deployment, what has an entry may not. Method:
    two handlers that wait for an awakeable, one of them after a step.
    """

    async def main(world: World) -> None:
        async def wait(ctx: Conversation) -> bytes:
            if ctx.argument:
                await ctx.run(lambda: b"step")
            await ctx.result(ctx.awakeable()[1])
            return b""

        play = Playground(world, {"Greeter/wait": wait})
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        for argument, pinned in ((b"", None), (b"step", "dp_1")):
            call = play.call("Greeter", "wait", argument=argument)
            await submit(worker, call, wait=False)
            await becomes(worker, call.id, "suspended")
            assert await column(worker, call.id, "pinned_deployment_id") == pinned

    run(main, seed)


def test_failed_attempts_are_repeated_then_paused(seed: int) -> None:
    """Goal: the retry policy decides, an operator lets it go on. Method: a handler that fails until
    told otherwise, three attempts, then resume.
    """

    async def main(world: World) -> None:
        attempts = 0
        works = False

        async def flaky(ctx: Conversation) -> bytes:
            nonlocal attempts
            attempts += 1
            if not works:
                raise RuntimeError("not yet")
            return b"done"

        retry = InvocationRetryOptions(
            initial_interval_ms=10, attempts_max=3, on_attempts_max=OnAttemptsExhausted.PAUSE
        )
        play = Playground(world, {"Greeter/flaky": flaky}, retry)
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        call = play.call("Greeter", "flaky")
        await submit(worker, call, wait=False)
        await becomes(worker, call.id, "paused")
        assert attempts == 3
        rows: Rows = await worker.ask(ReadRows(P0, "sys_journal_events", invocation=call.id))
        assert [row[4] for row in rows.rows] == ["TransientError", "Paused"]
        assert "not yet" in rows.rows[0][5]
        assert "not yet" in str(await column(worker, call.id, "last_failure"))
        works = True
        resumed = await worker.ask(ControlInvocation(P0, call.id, Control.RESUME))
        assert resumed.status is ControlStatus.DONE
        assert (await ended(worker, call.id)).outcome == Success(b"done")

    run(main, seed)


def test_a_service_that_is_away_is_waited_for(seed: int) -> None:
    """Goal: no connection is a failed attempt like any other. Method: stop the service in
    mid-handler, and let it come back.
    """

    async def main(world: World) -> None:
        began = asyncio.Event()
        steps: list[str] = []

        async def work(ctx: Conversation) -> bytes:
            await ctx.run(lambda: steps.append("x") or b"x")
            began.set()
            await ctx.sleep(now_ms(world) + 300)
            return b"end"

        play = Playground(world, {"Greeter/work": work})
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        call = play.call("Greeter", "work")
        asked = asyncio.ensure_future(submit(worker, call))
        await began.wait()
        play.services.stop(URI)
        await becomes(worker, call.id, "backing-off")
        play.services.serve(URI, play.service)
        assert (await asked).outcome == Success(b"end")
        assert steps == ["x"]

    run(main, seed)


@pytest.mark.parametrize("control", [Control.KILL, Control.CANCEL])
def test_operators_end_a_handler(seed: int, control: Control) -> None:
    """Goal: killed or cancelled, it ends and its key is free. Method: a handler that sleeps for
    ever holds a key that another call wants.
    """

    async def main(world: World) -> None:
        async def hold(ctx: Conversation) -> bytes:
            await ctx.sleep(now_ms(world) + DAY_MS)
            return b""

        async def free(ctx: Conversation) -> bytes:
            return b"free"

        play = Playground(world, {"Counter/hold": hold, "Counter/free": free})
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        holder, waits = play.call("Counter", "hold", "k"), play.call("Counter", "free", "k")
        await submit(worker, holder, wait=False)
        asked = asyncio.ensure_future(submit(worker, waits))
        await becomes(worker, waits.id, "pending")
        await worker.ask(ControlInvocation(P0, holder.id, control))
        outcome = (await ended(worker, holder.id)).outcome
        assert isinstance(outcome, Failure) and outcome.code == KILLED.code
        assert (await asked).outcome == Success(b"free")

    run(main, seed)


def test_a_restart_goes_on_from_the_middle(seed: int) -> None:
    """Goal: what a restart keeps is replayed, not done again, and the rest is. Method: two steps
    with a call between them; restart behind the call.
    """

    async def main(world: World) -> None:
        done: list[str] = []

        async def step(ctx: Conversation, name: str) -> bytes:
            return await ctx.run(lambda: done.append(name) or f"{name}{len(done)}".encode())

        async def work(ctx: Conversation) -> bytes:
            first = await step(ctx, "first")
            called = await ctx.call("Greeter", "echo", "", b"x")
            assert isinstance(called, Success)
            return b" ".join((first, called.value, await step(ctx, "second")))

        async def echo(ctx: Conversation) -> bytes:
            return await step(ctx, "called")

        play = Playground(world, {"Greeter/work": work, "Greeter/echo": echo})
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        call = play.call("Greeter", "work")
        assert (await submit(worker, call)).outcome == Success(b"first1 called2 second3")
        new = raw_id(7, 900)
        control = Control.RESTART_AS_NEW
        restart = ControlInvocation(P0, call.id, control, "dp_1", new, copy_entries=5)
        assert (await worker.ask(restart)).status is ControlStatus.DONE
        assert (await ended(worker, new)).outcome == Success(b"first1 called2 second4")
        assert (await worker.ask(restart)).new_invocation == new
        assert done == ["first", "called", "second", "second"]

    run(main, seed)


def test_partitions_call_each_other(seed: int) -> None:
    """Goal: a call into another partition comes back, once. Method: two partitions on one worker;
    the callee counts.
    """

    async def main(world: World) -> None:
        counted: list[bytes] = []

        async def relay(ctx: Conversation) -> bytes:
            outcome = await ctx.call("Counter", "add", ctx.argument.decode(), b"1")
            assert isinstance(outcome, Success)
            return outcome.value

        async def add(ctx: Conversation) -> bytes:
            await ctx.run(lambda: counted.append(ctx.argument) or b"")
            return b"added"

        play = Playground(world, {"Greeter/relay": relay, "Counter/add": add})
        world.table.set(PartitionTable.equal_ranges(2))
        [worker] = await world.add_workers(1)
        other = PartitionId(1)
        world.place(1, partition=other)
        await world.elect(worker)
        await world.elect(worker, other)
        key = next(k for k in map(str, range(99)) if partition_key_of_key(k) >= 1 << 63)
        call = play.call("Greeter", "relay", argument=key.encode())
        assert (await submit(worker, call)).outcome == Success(b"added")
        assert counted == [b"1"]

        async def outbox_is_empty() -> bool:
            store = worker.manager.stores()[P0]
            return not store.scan(b"ob", b"oc", rows_max=1)

        await world.until(outbox_is_empty)

    run(main, seed)


def test_what_is_on_its_way_is_not_unknown(seed: int) -> None:
    """Goal: a leader that may have been deposed does not say that there is no such invocation.
    Method: the log takes its time; a question behind a call waits for the log, as the call does.
    """

    async def main(world: World) -> None:
        async def nothing(ctx: Conversation) -> bytes:
            return b"done"

        play = Playground(world, {"Greeter/nothing": nothing})
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        world.logs.held.set(True)
        call = play.call("Greeter", "nothing")
        submitted = asyncio.ensure_future(submit(worker, call))
        await asyncio.sleep(0)
        asked = asyncio.ensure_future(ended(worker, call.id))
        other = asyncio.ensure_future(ended(worker, raw_id(7, 99)))
        await asyncio.sleep(1)
        assert not asked.done() and not other.done()
        world.logs.held.set(False)
        assert (await submitted).outcome == (await asked).outcome == Success(b"done")
        assert (await other).status is AttachStatus.NOT_FOUND

    run(main, seed)


def test_unknown_invocations_and_other_keys(seed: int) -> None:
    """Goal: what is not here is said to be not here. Method: attach to nothing, a key of nobody."""

    async def main(world: World) -> None:
        async def nothing(ctx: Conversation) -> bytes:
            return b""

        play = Playground(world, {"Greeter/nothing": nothing})
        world.table.set(PartitionTable.equal_ranges(2))
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        found = await worker.ask(AttachInvocation(P0, raw_id(7, 1), False))
        assert found.status is AttachStatus.NOT_FOUND
        call = play.call("Greeter", "nothing")
        foreign = Invocation(raw_id((1 << 64) - 1, 1), call.target, b"")
        with pytest.raises(RpcFailure, match="does not own"):
            await submit(worker, foreign)

    run(main, seed)


def test_a_stopped_run_makes_room_for_the_next(seed: int) -> None:
    """Goal: no more run at once than the limit, and whoever is killed gives its place away. Method:
    a limit of one, a handler that never ends, another that waits behind it.
    """

    async def main(world: World) -> None:
        async def hang(ctx: Conversation) -> bytes:
            await asyncio.Event().wait()
            return b""

        async def free(ctx: Conversation) -> bytes:
            return b"free"

        play = Playground(world, {"Greeter/hang": hang, "Greeter/free": free})
        [worker] = await world.add_workers(1)
        await world.elect(worker)
        hanging, waits = play.call("Greeter", "hang"), play.call("Greeter", "free")
        await submit(worker, hanging, wait=False)
        await becomes(worker, hanging.id, "running")
        asked = asyncio.ensure_future(submit(worker, waits))
        await becomes(worker, waits.id, "ready")
        await worker.ask(ControlInvocation(P0, hanging.id, Control.KILL))
        assert (await asked).outcome == Success(b"free")

    run(main, seed, WorkerOptions(invoker=InvokerOptions(concurrent_invocations_limit=1)))
