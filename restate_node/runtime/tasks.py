"""The task center: every long-lived activity of a node, what its failure means, and the order in
which all end.

Bare `asyncio.create_task` loses exceptions and leaves the order of shutdown to chance. Here every
task has a kind, and a kind says two things: what happens to the node when such a task fails, and
when it is stopped.

    run ─▶ first failure of a SHUT_DOWN kind, or request_shutdown() ─▶ stop stage by stage ─▶ cause

Stages are stopped one after the other, lowest first: nobody accepts work that those below could no
longer finish. Within a stage all tasks are cancelled together and awaited; one that ignores its
cancellation beyond the time that is left is abandoned and reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

import structlog

logger = structlog.get_logger(__name__)


STAGE_SECONDS_MIN: Final = 0.2
"""What a stage gets even if a former one used up the time."""


class OnFailure(Enum):
    """What an exception that leaves a task means."""

    SHUT_DOWN = "shut down"
    """The node cannot do its job without it: stop with this cause."""
    REPORT = "report"
    """Log it; whoever started the task notices by itself."""


class TaskKind(Enum):
    """(stage of the shutdown, policy). Stages are stopped in ascending order."""

    BOOT = (-1, OnFailure.SHUT_DOWN)
    INGRESS = (0, OnFailure.SHUT_DOWN)
    ADMIN = (1, OnFailure.SHUT_DOWN)
    PARTITION_PROCESSOR = (2, OnFailure.REPORT)
    WORKER = (3, OnFailure.SHUT_DOWN)
    BIFROST = (4, OnFailure.SHUT_DOWN)
    LOG_SERVER = (5, OnFailure.SHUT_DOWN)
    MEMBERSHIP = (6, OnFailure.SHUT_DOWN)
    METADATA_SYNC = (7, OnFailure.SHUT_DOWN)
    METADATA_SERVER = (8, OnFailure.SHUT_DOWN)
    REQUEST = (9, OnFailure.REPORT)
    CONNECTION = (10, OnFailure.REPORT)
    CONTROL_PLANE = (11, OnFailure.SHUT_DOWN)
    BACKGROUND = (12, OnFailure.REPORT)

    @property
    def stage(self) -> int:
        return self.value[0]

    @property
    def on_failure(self) -> OnFailure:
        return self.value[1]


BEFORE_ALL_STAGES = min(kind.stage for kind in TaskKind) - 1


@dataclass(frozen=True, slots=True)
class ShutdownCause:
    """Why the node stops. `error` is None for an orderly shutdown."""

    reason: str
    error: BaseException | None = None
    task: int = 0
    """Which task failed, counted from 1 in the order of their start; 0 for none."""


class TaskCenter:
    """Owns the tasks of one node."""

    def __init__(self, *, tasks_max: int = 20_000) -> None:
        self._tasks: dict[asyncio.Task[Any], TaskKind] = {}
        self._tasks_max = tasks_max
        self._started = 0
        self._numbers: dict[asyncio.Task[Any], int] = {}
        self._cause: asyncio.Future[ShutdownCause] | None = None
        self._early_cause: ShutdownCause | None = None
        self._stopping_stage = BEFORE_ALL_STAGES

    @property
    def is_stopping(self) -> bool:
        return self._early_cause is not None

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(
        self, kind: TaskKind, name: str, activity: Coroutine[Any, Any, Any]
    ) -> asyncio.Task[Any]:
        """Start an activity. Refused (cancelled at once) when its stage is stopping already."""
        task = asyncio.get_running_loop().create_task(activity, name=name)
        self._tasks[task] = kind
        self._started += 1
        self._numbers[task] = self._started
        task.add_done_callback(self._finished)
        if kind.stage <= self._stopping_stage:
            task.cancel()
        elif len(self._tasks) > self._tasks_max:
            task.cancel()
            logger.warning("too many tasks; refused", task=name, tasks_max=self._tasks_max)
        return task

    def request_shutdown(
        self, reason: str, error: BaseException | None = None, task: int = 0
    ) -> None:
        """Ask the node to stop; the first cause counts."""
        if self._early_cause is not None:
            return
        self._early_cause = ShutdownCause(reason, error, task)
        if self._cause is not None and not self._cause.done():
            self._cause.set_result(self._early_cause)

    async def shutdown_requested(self) -> ShutdownCause:
        """Wait for the cause of the shutdown. One waiter: the node. Cancellation-safe."""
        if self._early_cause is not None:
            return self._early_cause
        self._cause = asyncio.get_running_loop().create_future()
        return await self._cause

    async def stop(
        self, *, timeout_s: float, before_stage: Callable[[int], None] | None = None
    ) -> None:
        """Stop all tasks, stage by stage; calls `before_stage` ahead of each.

        Call it from outside of the tasks. A stage may use all the time that is left; when none is,
        each later stage still gets `STAGE_SECONDS_MIN`.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        for stage in sorted({kind.stage for kind in TaskKind}):
            self._stopping_stage = stage
            if before_stage is not None:
                _prepare(stage, before_stage)
            tasks = [task for task, kind in self._tasks.items() if kind.stage == stage]
            await _cancel_and_wait(tasks, max(STAGE_SECONDS_MIN, deadline - loop.time()))

    def _finished(self, task: asyncio.Task[Any]) -> None:
        kind, number = self._tasks.pop(task), self._numbers.pop(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if kind.on_failure is OnFailure.SHUT_DOWN:
            what = f"{type(error).__name__}: {error}"
            self.request_shutdown(f"task {task.get_name()} failed with {what}", error, number)
        else:
            logger.warning("task failed", task=task.get_name(), error=str(error), exc_info=error)


def _prepare(stage: int, before_stage: Callable[[int], None]) -> None:
    """A shutdown goes on, whatever fails on its way."""
    try:
        before_stage(stage)
    except Exception:
        logger.exception("preparing a stage of the shutdown failed", stage=stage)


async def _cancel_and_wait(tasks: list[asyncio.Task[Any]], timeout_s: float) -> None:
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    _, pending = await asyncio.wait(tasks, timeout=timeout_s)
    for task in pending:
        logger.warning("task ignores its cancellation; abandoned", task=task.get_name())
