"""Runs the invocations of one partition, as long as this node leads it.

    RunInvocation ─▶ queue ─▶ a run, of at most `concurrent_invocations_limit` at once
    Stored        ─▶ the run: its SDK is told
    StopRun       ─▶ the run is cancelled

A new leader finds in the tables what has to run; later it hears. Both may name the same run: it is
run once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from random import Random

import structlog

from restate_node.protocol.partition.effects import RunInvocation, Stored
from restate_node.protocol.partition.invocation_table import read_invocation, running
from restate_node.protocol.partition.tables import TableReader
from restate_node.roles.worker.invoker.context import Reporter, Services
from restate_node.roles.worker.invoker.run import Run
from restate_node.runtime.ports import Clock
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types.invocations import RawInvocationId

logger = structlog.get_logger(__name__)


class Invoker:
    """One term's runs."""

    def __init__(
        self,
        store: TableReader,
        services: Services,
        reporter: Reporter,
        tasks: TaskCenter,
        clock: Clock,
        rng: Random,
    ) -> None:
        self._store = store
        self._services = services
        self._reporter = reporter
        self._tasks = tasks
        self._clock = clock
        self._rng = rng
        self._runs: dict[RawInvocationId, Run] = {}
        self._running: dict[RawInvocationId, asyncio.Task[None]] = {}
        self._waiting: deque[RawInvocationId] = deque()
        self._closed = False

    def begin(self) -> None:
        """Take up what the tables say has to run."""
        for invocation in running(self._store):
            record = read_invocation(self._store, invocation)
            if record is not None:
                self.run(RunInvocation(invocation, record.run))

    def close(self) -> None:
        """Stop all runs; the tables know how far they got."""
        self._closed = True
        self._waiting.clear()
        for task in self._running.values():
            task.cancel()
        self._running.clear()
        self._runs.clear()

    def find(self, invocation: RawInvocationId) -> Run | None:
        """For introspection."""
        return self._runs.get(invocation)

    # ------------------------------------------------------------ what the log says

    def run(self, effect: RunInvocation) -> None:
        """Run it, unless it does; a new run of it takes the place of the former."""
        known = self._runs.get(effect.invocation)
        if known is not None:
            if known.number >= effect.run:
                return
            self.stop(effect.invocation)
        self._runs[effect.invocation] = Run(
            effect.invocation,
            effect.run,
            self._store,
            self._services,
            self._reporter,
            self._clock,
            self._rng,
        )
        self._waiting.append(effect.invocation)
        self._start_waiting()

    def stop(self, invocation: RawInvocationId) -> None:
        """Stop what runs of it."""
        self._runs.pop(invocation, None)
        task = self._running.pop(invocation, None)
        if task is not None:
            task.cancel()
            self._start_waiting()

    def stored(self, effect: Stored) -> None:
        """Entries of a run are in the journal."""
        run = self._runs.get(effect.invocation)
        if run is not None and run.number == effect.run:
            run.stored(effect)

    def go_on(self, invocation: RawInvocationId, number: int) -> None:
        """Try again now."""
        run = self._runs.get(invocation)
        if run is not None and run.number == number:
            run.go_on()

    # ------------------------------------------------------------ inside

    def _start_waiting(self) -> None:
        limit = self._services.options.concurrent_invocations_limit
        while self._waiting and len(self._running) < limit:
            invocation = self._waiting.popleft()
            run = self._runs.get(invocation)
            if run is None or invocation in self._running:
                continue
            task = self._tasks.spawn(TaskKind.PARTITION_PROCESSOR, "invocation", run.drive())
            self._running[invocation] = task
            task.add_done_callback(lambda task, run=run: self._ended(run, task))

    def _ended(self, run: Run, task: asyncio.Task[None]) -> None:
        if self._running.get(run.invocation) is not task:
            return
        del self._running[run.invocation]
        if self._runs.get(run.invocation) is run:
            del self._runs[run.invocation]
        if not self._closed:
            self._start_waiting()
