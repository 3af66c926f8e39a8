"""The simulated loop: time, order, failures, and processes that freeze or die."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from restate_node.sim.hosts import Death, Life, SimClock, current_incarnation
from restate_node.sim.loop import (
    Deadlock,
    Livelock,
    LoopOptions,
    Outcome,
    SimLoop,
    SimulationFailed,
    simulate,
)
from restate_node.sim.no_machine import NotInSimulation

DAY = 86_400


def test_time_is_virtual() -> None:
    """Goal: a day passes at once. Method: sleep a day, compare the loop's clock."""

    async def main(loop: SimLoop) -> float:
        await asyncio.sleep(DAY)
        return loop.time()

    assert simulate(1, main).value == pytest.approx(DAY)


def test_asyncio_tools_work() -> None:
    """Goal: timeout, wait_for, TaskGroup, to_thread behave. Method: use each once."""

    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError("boom")

    async def main(loop: SimLoop) -> list[str]:
        seen: list[str] = []
        try:
            async with asyncio.timeout(5):
                await asyncio.sleep(10)
        except TimeoutError:
            seen.append(f"timeout at {loop.time():.0f}")
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 2)
        except TimeoutError:
            seen.append(f"wait_for at {loop.time():.0f}")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                group.create_task(asyncio.sleep(100))
        except* ValueError:
            seen.append(f"group at {loop.time():.0f}")
        seen.append(await asyncio.to_thread(str.upper, "job"))
        return seen

    expected = ["timeout at 5", "wait_for at 7", "group at 8", "JOB"]
    assert simulate(1, main).value == expected


def test_executor_errors_reach_the_caller() -> None:
    """Goal: a job's exception is the awaiter's. Method: a job that raises."""

    async def main(loop: SimLoop) -> None:
        await loop.run_in_executor(None, int, "x")

    with pytest.raises(ValueError, match="invalid literal"):
        simulate(1, main)


def test_abandoned_generators_are_closed() -> None:
    """Goal: an async generator left half-way runs its `finally` in time, not at exit."""
    closed: list[float] = []

    async def ticks(loop: SimLoop):  # type: ignore[no-untyped-def]
        try:
            while True:
                yield loop.time()
        finally:
            await asyncio.sleep(1)
            closed.append(loop.time())

    async def main(loop: SimLoop) -> None:
        async for _ in ticks(loop):
            break
        await asyncio.sleep(5)

    simulate(1, main)
    assert closed == [1.0]


# ---------------------------------------------------------------- determinism


async def race(loop: SimLoop) -> str:
    """Tasks whose order nothing fixes: sets of tasks, cancellation of groups, ties of timers."""

    async def worker(number: int) -> None:
        delay = loop.streams.stream("worker").choice([0.0, 0.001, 0.002])
        for round_number in range(3):
            await asyncio.sleep(delay)
            loop.trace(f"{asyncio.current_task().get_name()} {number} {round_number}")  # type: ignore[union-attr]

    async def canceled(number: int) -> None:
        try:
            await asyncio.sleep(DAY)
        finally:
            loop.trace(f"canceled {number}")

    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(worker(number))
    try:
        async with asyncio.timeout(1), asyncio.TaskGroup() as group:
            for number in range(40):
                group.create_task(canceled(number))
    except TimeoutError:
        pass
    waiting = {asyncio.ensure_future(asyncio.sleep(0.5, number)) for number in range(40)}
    done, _ = await asyncio.wait(waiting)
    loop.trace(str([task.result() for task in done]))
    loop.trace(str([await future for future in asyncio.as_completed([asyncio.sleep(0.1, 1)])]))
    return loop.log.digest()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_seed_is_one_run(seed: int) -> None:
    """Goal: same seed, same trace. Method: run twice in one process, compare hash and steps."""
    first, second = simulate(seed, race), simulate(seed, race)
    assert first == second


def test_seeds_differ() -> None:
    """Goal: the seed chooses the order. Method: ten seeds give ten hashes."""
    assert len({simulate(seed, race).trace_hash for seed in range(10)}) == 10


def test_fresh_processes_agree() -> None:
    """Goal: no address or string hash leaks in. Method: processes with other hash seeds."""
    hashes = {run_in_process(hash_seed) for hash_seed in ("0", "1", "random")}
    assert hashes == {simulate(7, race).trace_hash}


def run_in_process(hash_seed: str) -> str:
    here = Path(__file__)
    code = "import test_loop; print(test_loop.simulate(7, test_loop.race).trace_hash)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    environment["PYTHONPATH"] = os.pathsep.join([str(here.parent), str(here.parents[2])])
    finished = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return finished.stdout.strip()


def test_streams_are_independent() -> None:
    """Goal: drawing from one stream does not move another. Method: draw in between."""

    async def main(loop: SimLoop, extra: int) -> list[float]:
        numbers: list[float] = []
        for _ in range(3):
            numbers.append(loop.streams.stream("network").random())
            for _ in range(extra):
                loop.streams.stream("disk").random()
        return numbers

    alone = simulate(5, lambda loop: main(loop, 0)).value
    assert alone == simulate(5, lambda loop: main(loop, 9)).value
    assert alone != simulate(6, lambda loop: main(loop, 0)).value


# ---------------------------------------------------------------- failures


def test_deadlock_names_the_tasks() -> None:
    """Goal: waiting for nothing ends the run, and says who waits where."""

    async def stuck() -> None:
        await asyncio.Event().wait()

    async def main(loop: SimLoop) -> None:
        task = loop.spawn(loop.boot("node-1"), stuck(), "the-stuck-one")
        await asyncio.wait([task])

    with pytest.raises(Deadlock, match=r"the-stuck-one of node-1#1 \(running\) in Event.wait"):
        simulate(1, main)


def test_paused_for_ever_is_a_deadlock() -> None:
    """Goal: a paused process does not hide a deadlock; the message says that it is paused."""

    async def main(loop: SimLoop) -> None:
        node = loop.boot("node-1")
        task = loop.spawn(node, asyncio.sleep(1))
        loop.pause(node)
        await asyncio.wait([task])

    with pytest.raises(Deadlock, match=r"node-1#1 \(paused\)"):
        simulate(1, main)


def test_busy_loop_is_found() -> None:
    """Goal: a loop that never lets time pass ends the run."""

    async def main(loop: SimLoop) -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    with pytest.raises(Livelock, match="no time has passed"):
        simulate(1, main, LoopOptions(turns_at_one_instant_max=100))


def test_steps_are_bounded() -> None:
    """Goal: a run that goes on for ever ends."""

    async def main(loop: SimLoop) -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(1)

    with pytest.raises(Livelock, match="more than 1000 steps"):
        simulate(1, main, LoopOptions(steps_max=1000))


async def fail() -> None:
    raise ValueError("nobody looks at me")


async def forgotten_task(loop: SimLoop) -> None:
    loop.create_task(fail())
    await asyncio.sleep(DAY)


async def forgotten_task_at_the_end(loop: SimLoop) -> None:
    holder: list[object] = [loop.create_task(fail())]
    holder.append(holder)
    await asyncio.sleep(1)


async def failing_callback(loop: SimLoop) -> None:
    loop.call_later(1, int, "x")
    await asyncio.sleep(DAY)


async def collected_task(loop: SimLoop) -> None:
    loop.create_task(asyncio.Event().wait())
    await asyncio.sleep(DAY)


@pytest.mark.parametrize(
    ("main", "message"),
    [
        (forgotten_task, "nobody looks at me"),
        (forgotten_task_at_the_end, "nobody looks at me"),
        (failing_callback, "invalid literal"),
        (collected_task, "destroyed but it is pending"),
    ],
)
def test_what_nobody_handles_fails_the_run(main, message: str) -> None:  # type: ignore[no-untyped-def]
    """Goal: no error is lost. Method: one program per way of losing it."""
    with pytest.raises(SimulationFailed, match=message):
        simulate(1, main, LoopOptions(collect_steps=2))


def test_cancelled_timers_do_not_pile_up() -> None:
    """Goal: a timeout per call does not grow the heap. Method: many cancelled timers."""

    async def main(loop: SimLoop) -> int:
        for _ in range(10_000):
            loop.call_later(DAY, int).cancel()
        return len(loop._timers)  # pyright: ignore[reportPrivateUsage]

    assert simulate(1, main).value < 2_100


# ---------------------------------------------------------------- processes


async def tick(loop: SimLoop, ticks: list[float], ended: list[str]) -> None:
    try:
        while True:
            await asyncio.sleep(1)
            ticks.append(loop.time())
    finally:
        ended.append("finally")


def test_paused_process_stands_still() -> None:
    """Goal: nothing of a paused process runs; afterwards it goes on, late. Neighbours go on."""

    async def main(loop: SimLoop) -> tuple[list[float], list[float]]:
        mine: list[float] = []
        other: list[float] = []
        node = loop.boot("node-1")
        loop.spawn(node, tick(loop, mine, []))
        loop.spawn(loop.boot("node-2"), tick(loop, other, []))
        await asyncio.sleep(2.5)
        loop.pause(node)
        await asyncio.sleep(5)
        loop.resume(node)
        await asyncio.sleep(1.25)
        return mine, other

    mine, other = simulate(1, main).value
    assert mine == [1.0, 2.0, 7.5, 8.5]
    assert other == [float(second) for second in range(1, 9)]


def test_killed_process_runs_no_finally() -> None:
    """Goal: kill -9. Method: kill a task in `try`; its `finally` must not run before the end."""
    during: list[list[str]] = []

    async def main(loop: SimLoop) -> list[float]:
        ticks: list[float] = []
        ended: list[str] = []
        node = loop.boot("node-1")
        loop.spawn(node, tick(loop, ticks, ended))
        await asyncio.sleep(2.5)
        loop.kill(node)
        await asyncio.sleep(10)
        during.append(list(ended))
        return ticks

    assert simulate(1, main, LoopOptions(collect_steps=1)).value == [1.0, 2.0]
    assert during == [[]]


def test_killed_while_paused() -> None:
    """Goal: what a pause held back dies with its process."""

    async def main(loop: SimLoop) -> list[float]:
        ticks: list[float] = []
        node = loop.boot("node-1")
        loop.spawn(node, tick(loop, ticks, []))
        loop.pause(node)
        await asyncio.sleep(3)
        loop.kill(node)
        loop.resume(node)
        await asyncio.sleep(3)
        return ticks

    assert simulate(1, main).value == []


def test_errors_of_the_dead_do_not_count() -> None:
    """Goal: a task that failed unseen in a process killed since does not fail the run."""

    async def main(loop: SimLoop) -> None:
        node = loop.boot("node-1")

        async def hold() -> None:
            task = asyncio.create_task(fail())
            await asyncio.sleep(DAY)
            await task

        loop.spawn(node, hold())
        await asyncio.sleep(1)
        loop.kill(node)
        await asyncio.sleep(1)

    simulate(1, main)


def test_a_process_may_kill_itself() -> None:
    """Goal: fail-stop from inside. Method: code after the kill runs to its next await only."""

    async def main(loop: SimLoop) -> list[str]:
        seen: list[str] = []
        node = loop.boot("node-1")

        async def late() -> None:
            seen.append("late")

        async def stop() -> None:
            loop.kill(node)
            task = asyncio.create_task(late())
            seen.append("same turn")
            await task
            seen.append("after")

        loop.spawn(node, stop())
        await asyncio.sleep(1)
        return seen

    assert simulate(1, main).value == ["same turn"]


def test_restart_is_another_incarnation() -> None:
    """Goal: a restart shares nothing with the former process; death is told once."""

    async def whoami(names: list[str]) -> None:
        names.append(repr(current_incarnation.get()))

    async def main(loop: SimLoop) -> tuple[list[str], list[Death], Life]:
        names: list[str] = []
        deaths: list[Death] = []
        first = loop.boot("node-1")
        first.at_death(deaths.append)
        await loop.spawn(first, whoami(names))
        loop.kill(first, Death.POWER_LOST)
        loop.kill(first)
        await loop.spawn(loop.boot("node-1"), whoami(names))
        return names, deaths, first.life

    names, deaths, life = simulate(1, main).value
    assert names == ["node-1#1", "node-1#2"]
    assert deaths == [Death.POWER_LOST]
    assert life is Life.DEAD


def test_clocks_are_skewed_apart() -> None:
    """Goal: wall clocks differ and jump, monotonic time does not."""

    async def main(loop: SimLoop) -> list[int]:
        true, skewed = SimClock(loop), SimClock(loop, offset_ms=250)
        await asyncio.sleep(1)
        seen = [skewed.unix_ms() - true.unix_ms()]
        skewed.offset_ms = -1000
        seen.append(skewed.unix_ms() - true.unix_ms())
        assert skewed.monotonic() == true.monotonic() == loop.time()
        return seen

    assert simulate(1, main).value == [250, -1000]


def test_outcome_tells_the_run() -> None:
    """Goal: the outcome carries value, hash, steps and virtual time."""

    async def main(loop: SimLoop) -> str:
        await asyncio.sleep(3)
        loop.trace("done")
        return "value"

    lines: list[str] = []
    outcome = simulate(1, main, sink=lines.append)
    assert outcome == Outcome("value", outcome.trace_hash, outcome.steps, 3.0)
    assert outcome.steps > 0
    assert [line.split()[0] for line in lines] == ["3.000000"]


def test_timers_of_one_process_are_hastened() -> None:
    """Goal: time may pass for some and stand still for others. Method: two sleep an hour, one of
    them has it taken away; a cancelled timer does not count.
    """

    async def main(loop: SimLoop) -> None:
        hasty, calm = loop.boot("hasty"), loop.boot("calm")
        sleeps = [loop.spawn(life, asyncio.sleep(3600)) for life in (hasty, calm)]
        cancelled = loop.spawn(hasty, asyncio.sleep(10))
        await asyncio.sleep(1)
        cancelled.cancel()
        await asyncio.sleep(0)
        assert loop.first_timer_of([hasty]) == loop.first_timer_of([calm]) == 3600
        assert loop.first_timer_of([]) is None
        loop.hasten([hasty], 3000)
        assert loop.first_timer_of([hasty]) == 600
        loop.hasten([hasty], 3000)
        await sleeps[0]
        assert loop.time() == 1
        await sleeps[1]
        assert loop.time() == 3600

    simulate(1, main)


def test_the_machine_is_out_of_reach() -> None:
    """Goal: whoever wants a socket learns what to do. Method: open a connection, start it."""

    async def main(loop: SimLoop) -> None:
        del loop
        with pytest.raises(NotInSimulation, match="no sockets in simulated time"):
            await asyncio.open_connection("127.0.0.1", 1)
        with pytest.raises(NotInSimulation, match="no subprocesses"):
            await asyncio.create_subprocess_exec("true")

    simulate(1, main)
