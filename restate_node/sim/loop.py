"""An asyncio event loop where a seed decides everything and an hour takes a second.

Drivers use asyncio as it is: tasks, timeouts, task groups. To replay a failure, three sources of
chance are taken out of it. *Time* is virtual: when nothing is ready the clock jumps to the next
timer. *Order*: asyncio promises little about callbacks that become ready in one turn, so each
turn is shuffled by the seed, which tries schedules that a quiet machine never shows. *Memory
addresses*: `TaskGroup` and `asyncio.wait` keep tasks in sets, and a set is ordered by hash, hence
by address; tasks and futures here hash by a sequence number. Cyclic garbage is collected at fixed
steps for the same reason, because it runs finalizers.

    turn:  due timers -> ready -> shuffle -> each: whose is it?  run | hold (paused) | bury (dead)
             ^                                                                |
             +---- nothing ready: jump to the next timer, or Deadlock --------+

The loop is built on `AbstractEventLoop`, not on `BaseEventLoop`: no private part of asyncio is
used, and whatever would reach the real world (sockets, subprocesses, signals) is refused.
Executor jobs run inline, a little later.

Invariants: same seed, same program => same trace hash, in any process and whatever PYTHONHASHSEED
says; an exception that nobody handles ends the run; every wait is bounded, by `Deadlock`,
`Livelock` or `steps_max`. Code of a dead incarnation never runs, so its tasks are kept until
`close`: collecting them earlier would run their `finally`.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import logging
import sys
import warnings
from asyncio import events
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Generator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from restate_node.sim.hosts import Death, Incarnation, Life, current_incarnation
from restate_node.sim.no_machine import NoMachine
from restate_node.sim.streams import Streams
from restate_node.sim.trace import Trace, TraceSink

T = TypeVar("T")

CANCELLED_TIMERS_MAX = 1_000
"""Cancelled timers stay in the heap until this many of them make up half of it."""
TASKS_NAMED_MAX = 20


class SimulationFailed(Exception):
    """The program under simulation did something no correct program does; replay the seed."""


class Deadlock(SimulationFailed):
    """Nothing is ready and no timer is set: the tasks named will wait for ever."""


class Livelock(SimulationFailed):
    """The program keeps itself busy without end; see the limits in `LoopOptions`."""


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """Limits of a run."""

    steps_max: int = 50_000_000
    turns_at_one_instant_max: int = 100_000
    """Turns without time passing, before a busy loop is suspected."""
    executor_seconds_max: float = 0.002
    """An executor job takes up to this long."""
    collect_steps: int = 200_000
    """Steps between two collections of cyclic garbage."""


class SimHandle(asyncio.Handle):
    """A callback that knows whose it is."""

    __slots__ = ("incarnation",)

    def __init__(
        self, callback: Callable[..., object], args: Any, loop: SimLoop, context: Context | None
    ) -> None:
        super().__init__(callback, args, loop, context)
        self.incarnation = owner_of(context)

    def run(self) -> None:
        self._run()


class SimTimer(asyncio.TimerHandle):
    """A timer that knows whose it is."""

    __slots__ = ("incarnation",)

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: Any,
        loop: SimLoop,
        context: Context | None,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self.incarnation = owner_of(context)

    def run(self) -> None:
        self._run()


def owner_of(context: Context | None) -> Incarnation | None:
    """The incarnation of a context, or of the running code when None."""
    return current_incarnation.get() if context is None else context.get(current_incarnation)


class SimFuture(asyncio.Future[Any]):
    """A future whose hash does not depend on its address."""

    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self.number = number
        self.incarnation = current_incarnation.get()
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.number


class SimTask(asyncio.Task[Any]):
    """A task whose hash does not depend on its address."""

    def __init__(
        self,
        number: int,
        coroutine: Coroutine[Any, Any, Any],
        loop: SimLoop,
        name: str | None,
        context: Context | None,
    ) -> None:
        # Set before the base class registers the task, which hashes it.
        self.number = number
        self.incarnation = owner_of(context)
        super().__init__(coroutine, loop=loop, name=name or f"task-{number}", context=context)

    def __hash__(self) -> int:
        return self.number


class SimLoop(NoMachine):
    """Virtual time, seeded order, incarnations. Use `simulate` unless you need the parts."""

    def __init__(
        self,
        seed: int,
        options: LoopOptions | None = None,
        sink: TraceSink | None = None,
    ) -> None:
        self.options = options or LoopOptions()
        self.streams = Streams(seed)
        self.log = Trace(sink=sink)
        self.steps = 0
        self._order = self.streams.stream("loop/order")
        self._executor = self.streams.stream("loop/executor")
        self._now = 0.0
        self._turns_here = 0
        self._ready: deque[SimHandle | SimTimer] = deque()
        self._timers: list[tuple[float, int, SimTimer]] = []
        self._timers_cancelled = 0
        self._numbers = 0
        self._incarnations: dict[str, Incarnation] = {}
        self._buried: list[object] = []
        self._failure: SimulationFailed | None = None
        self._running = False
        self._stopping = False
        self._closed = False

    # ------------------------------------------------------------ processes

    def boot(self, host: str) -> Incarnation:
        """Start a new process on a host; the former one must be dead."""
        former = self._incarnations.get(host)
        assert former is None or not former.alive, f"{former} still runs: kill it first"
        incarnation = Incarnation(host, 1 if former is None else former.number + 1)
        self._incarnations[host] = incarnation
        self.trace(f"boot {incarnation}")
        return incarnation

    def spawn(
        self, incarnation: Incarnation, main: Coroutine[Any, Any, T], name: str | None = None
    ) -> asyncio.Task[T]:
        """Run a coroutine as part of an incarnation. A killed task never ends: do not await it."""
        assert incarnation.alive, f"{incarnation} is dead: boot a new one"
        return self.create_task(main, name=name, context=incarnation.context.copy())

    def pause(self, incarnation: Incarnation) -> None:
        """Freeze it, as SIGSTOP would: nothing of it runs, its timers come due all the same."""
        self.trace(f"pause {incarnation}")
        incarnation.pause()

    def resume(self, incarnation: Incarnation) -> None:
        """Thaw it: what was held becomes ready at once."""
        self.trace(f"resume {incarnation}")
        self._ready.extend(_ours(incarnation.resume()))

    def kill(self, incarnation: Incarnation, death: Death = Death.KILLED) -> None:
        """End it: no callback, no `finally`, no timer of it runs ever again. Idempotent."""
        if not incarnation.alive:
            return
        self.trace(f"{death.value} {incarnation}")
        self._buried.extend(t for t in asyncio.all_tasks(self) if _owner(t) is incarnation)
        self._buried.extend(incarnation.die(death))

    def trace(self, text: str) -> None:
        """Add an event to the run's hash."""
        self.log.record(f"{self._now:.6f} {self.steps} {text}")

    # ------------------------------------------------------------ callbacks

    def time(self) -> float:
        return self._now

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        self._check_open()
        handle = SimHandle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self._check_open()
        timer = SimTimer(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, self._number(), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        del handle
        self._timers_cancelled += 1
        if self._timers_cancelled < CANCELLED_TIMERS_MAX:
            return
        if self._timers_cancelled * 2 > len(self._timers):
            self._timers = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._timers_cancelled = 0

    def first_timer_of(self, owners: Collection[Incarnation]) -> float | None:
        """When the first timer of these processes comes due."""
        mine = [when for when, _, timer in self._timers if _is_awaited(timer, owners)]
        return min(mine, default=None)

    def hasten(self, owners: Collection[Incarnation], seconds: float) -> None:
        """Let timers of these processes come due that much earlier; the others stay."""
        self._timers = [
            (max(self._now, when - seconds), number, timer)
            if _is_awaited(timer, owners)
            else (when, number, timer)
            for when, number, timer in self._timers
        ]
        heapq.heapify(self._timers)

    def create_future(self) -> asyncio.Future[Any]:
        return SimFuture(self._number(), self)

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: Context | None = None,
        **ignored: Any,
    ) -> asyncio.Task[Any]:
        """Eager start, a keyword of newer Pythons, is ignored: the seed chooses the order."""
        self._check_open()
        return SimTask(self._number(), coro, self, name, context)

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run the job on the loop, a little later: threads would bring back real time."""
        del executor
        future = self.create_future()
        delay = self._executor.uniform(0, self.options.executor_seconds_max)
        self.call_later(delay, _finish_job, future, func, args)
        return future

    # ------------------------------------------------------------ running

    def run_until_complete(self, future: Any) -> Any:
        """Run until a future or coroutine is done; SimulationFailed on what nobody handled."""
        self._check_open()
        task: asyncio.Future[Any] = asyncio.ensure_future(future, loop=self)
        task.add_done_callback(self._main_done)
        self.run_forever()
        return task.result()

    def run_forever(self) -> None:
        assert not self._running, "the loop runs already"
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=hooks.firstiter, finalizer=self._finalize_generator)
        events._set_running_loop(self)  # pyright: ignore[reportPrivateUsage]
        self._running = True
        self._stopping = False
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._running = False
            events._set_running_loop(None)  # pyright: ignore[reportPrivateUsage]
            sys.set_asyncgen_hooks(*hooks)

    def _turn(self) -> None:
        self._wake_timers()
        if not self._ready:
            self._advance()
        batch = list(self._ready)
        self._ready.clear()
        if len(batch) > 1:
            self._order.shuffle(batch)
        self._count_turn()
        for handle in batch:
            self._step(handle)
            if self._failure is not None:
                raise self._failure

    def _step(self, handle: SimHandle | SimTimer) -> None:
        if handle.cancelled():
            return
        owner = handle.incarnation
        if owner is None or owner.life is Life.RUNNING:
            self.steps += 1
            if self.steps % self.options.collect_steps == 0:
                gc.collect()
            handle.run()
        elif owner.life is Life.PAUSED:
            owner.held.append(handle)
        else:
            self._buried.append(handle)

    def _wake_timers(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            if timer.cancelled():
                self._timers_cancelled -= 1
            else:
                self._ready.append(timer)

    def _advance(self) -> None:
        while self._timers and not self._ready:
            self._now = max(self._now, self._timers[0][0])
            self._turns_here = 0
            self._wake_timers()
        if not self._ready:
            raise Deadlock(self._describe("nothing is ready and no timer is set"))

    def _count_turn(self) -> None:
        self._turns_here += 1
        if self._turns_here > self.options.turns_at_one_instant_max:
            raise Livelock(self._describe(f"{self._turns_here} turns, no time has passed"))
        if self.steps > self.options.steps_max:
            raise Livelock(self._describe(f"more than {self.options.steps_max} steps"))

    def _describe(self, what: str) -> str:
        tasks = sorted(_pending(self), key=lambda task: task.number)
        named = [_describe_task(task) for task in tasks[:TASKS_NAMED_MAX]]
        more = f" and {len(tasks) - len(named)} more" if len(tasks) > len(named) else ""
        waiting = "; ".join(named) or "none"
        return f"at {self._now:.6f}s: {what}; pending tasks: {waiting}{more}"

    def _main_done(self, future: asyncio.Future[Any]) -> None:
        del future
        self.stop()

    def stop(self) -> None:
        self._stopping = True

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the simulated loop is closed")

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    # ------------------------------------------------------------ failures and end

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody handled ends the run, unless the dead said it."""
        if self._closed or self._failure is not None or _said_by_the_dead(context):
            return
        exception: BaseException | None = context.get("exception")
        message = f"{context.get('message', 'unhandled')}: {exception!r}"
        self._failure = SimulationFailed(f"at {self._now:.6f}s: {message}")
        self._failure.__cause__ = exception

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    @property
    def failure(self) -> SimulationFailed | None:
        """What went wrong beside the awaited result, if anything."""
        return self._failure

    def close(self) -> None:
        """End the world: what is still pending is disposed of, and what that says is ignored."""
        if self._closed:
            return
        assert not self._running
        self._closed = True
        self._ready.clear()
        self._timers.clear()
        with _unheard():
            for task in sorted(_pending(self), key=lambda task: task.number):
                _dispose(task)
            self._buried.clear()
            self._incarnations.clear()
            gc.collect()

    def _finalize_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self._closed:
            self.create_task(generator.aclose())

    async def shutdown_asyncgens(self) -> None:
        """Nothing to do: abandoned generators are finalized as they are collected."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Nothing to do: jobs run inline."""

    def get_debug(self) -> bool:
        return False


def _is_awaited(timer: SimTimer, owners: Collection[Incarnation]) -> bool:
    return timer.incarnation in owners and not timer.cancelled()


def _ours(handles: list[asyncio.Handle]) -> list[SimHandle | SimTimer]:
    return [handle for handle in handles if isinstance(handle, (SimHandle, SimTimer))]


def _owner(task: asyncio.Task[Any]) -> Incarnation | None:
    return task.incarnation if isinstance(task, SimTask) else None


def _pending(loop: SimLoop) -> list[SimTask]:
    return [task for task in asyncio.all_tasks(loop) if isinstance(task, SimTask)]


def _describe_task(task: SimTask) -> str:
    owner = "world" if task.incarnation is None else repr(task.incarnation)
    life = "" if task.incarnation is None else f" ({task.incarnation.life.value})"
    return f"{task.get_name()} of {owner}{life} in {_where(task)}"


def _where(task: SimTask) -> str:
    """Innermost await of a suspended task, as `function (file:line)`."""
    waiting: Any = task.get_coro()
    where = "its start"
    while waiting is not None and getattr(waiting, "cr_frame", None) is not None:
        frame = waiting.cr_frame
        file = frame.f_code.co_filename.rsplit("/", 1)[-1]
        where = f"{frame.f_code.co_qualname} ({file}:{frame.f_lineno})"
        waiting = waiting.cr_await
    return where


def _finish_job(future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any]) -> None:
    if future.done():
        return
    try:
        future.set_result(func(*args))
    except Exception as error:
        future.set_exception(error)


def _said_by_the_dead(context: dict[str, Any]) -> bool:
    speakers = [context.get(key) for key in ("task", "future", "handle")]
    owners = [
        speaker.incarnation
        for speaker in speakers
        if isinstance(speaker, (SimTask, SimFuture, SimHandle, SimTimer))
    ]
    return any(owner is not None and not owner.alive for owner in owners)


def _dispose(task: SimTask) -> None:
    """Unwind a task that will never go on; only now may its `finally` run."""
    task._log_destroy_pending = False  # pyright: ignore
    # A `finally` may await, or miss the world it lived in: the run is over, nobody minds.
    with suppress(BaseException):
        task.get_coro().close()


@contextmanager
def _unheard() -> Generator[None]:
    """Silences warnings, log lines and complaints of finalizers."""
    hook = sys.unraisablehook
    sys.unraisablehook = _ignore_unraisable
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.unraisablehook = hook
        logging.disable(level)


def _ignore_unraisable(unraisable: object) -> None:
    del unraisable


# ---------------------------------------------------------------- a whole run


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a run came to."""

    value: T
    trace_hash: str
    steps: int
    seconds: float
    """Virtual time that passed."""


@contextmanager
def simulation(
    seed: int, options: LoopOptions | None = None, sink: TraceSink | None = None
) -> Generator[SimLoop]:
    """A loop, and a process in which it repeats itself; what still runs at the end is killed."""
    collecting = gc.isenabled()
    gc.disable()
    gc.freeze()
    loop = SimLoop(seed, options, sink)
    try:
        yield loop
    finally:
        loop.close()
        gc.unfreeze()
        if collecting:
            gc.enable()


def simulate(
    seed: int,
    main: Callable[[SimLoop], Coroutine[Any, Any, T]],
    options: LoopOptions | None = None,
    sink: TraceSink | None = None,
) -> Outcome[T]:
    """Run `main` to its end in a world of its own.

    Raises what `main` raised, or SimulationFailed for what nobody handled.
    """
    with simulation(seed, options, sink) as loop:
        value: T = loop.run_until_complete(main(loop))
        gc.collect()
        if loop.failure is not None:
            raise loop.failure
        return Outcome(value, loop.log.digest(), loop.steps, loop.time())
