"""The task center: what a failure means, in which order tasks end, and how long that may take."""

from __future__ import annotations

import asyncio

import pytest

from restate_node.runtime.tasks import STAGE_SECONDS_MIN, OnFailure, TaskCenter, TaskKind
from restate_node.sim.loop import SimLoop, simulate


async def forever(ended: list[str], name: str) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(name)


@pytest.mark.parametrize("kind", list(TaskKind))
def test_what_a_failure_means(kind: TaskKind) -> None:
    """Goal: a kind's policy decides between shutdown and report; the cause names task and error."""

    async def fail() -> None:
        raise KeyError("x")

    async def main(loop: SimLoop) -> None:
        center = TaskCenter()
        task = center.spawn(kind, "a task", fail())
        await asyncio.wait([task])
        await asyncio.sleep(0)
        assert center.is_stopping == (kind.on_failure is OnFailure.SHUT_DOWN)
        if center.is_stopping:
            cause = await center.shutdown_requested()
            assert cause.reason == "task a task failed with KeyError: 'x'"
            assert isinstance(cause.error, KeyError)
        assert len(center) == 0

    simulate(1, main)


def test_ends_that_are_no_failures() -> None:
    """Goal: returning and being cancelled stop nothing."""

    async def main(loop: SimLoop) -> None:
        center = TaskCenter()
        center.spawn(TaskKind.WORKER, "returns", asyncio.sleep(0))
        center.spawn(TaskKind.WORKER, "cancelled", asyncio.sleep(9)).cancel()
        await asyncio.sleep(1)
        assert not center.is_stopping
        assert len(center) == 0

    simulate(1, main)


def test_the_first_cause_counts_and_wakes_the_node() -> None:
    """Goal: later causes change nothing; asked again, the first is told."""

    async def main(loop: SimLoop) -> None:
        center = TaskCenter()
        waiting = asyncio.ensure_future(center.shutdown_requested())
        await asyncio.sleep(0.1)
        center.request_shutdown("first")
        center.request_shutdown("second")
        assert (await waiting).reason == "first"
        assert (await center.shutdown_requested()).reason == "first"

    simulate(1, main)


def test_stages_end_in_order() -> None:
    """Goal: lower stages end before higher ones begin to; `before_stage` comes ahead of each, and
    its failure stops nothing. Method: one task per kind, spawned in reverse."""

    async def main(loop: SimLoop) -> None:
        center = TaskCenter()
        ended: list[str] = []
        for kind in reversed(TaskKind):
            center.spawn(kind, kind.name, forever(ended, kind.name))
        await asyncio.sleep(0.01)
        too_early: list[str] = []

        def before(stage: int) -> None:
            too_early.extend(name for name in ended if TaskKind[name].stage >= stage)
            if stage == 3:
                raise KeyError("x")

        await center.stop(timeout_s=1.0, before_stage=before)
        stages = [TaskKind[name].stage for name in ended]
        assert stages == sorted(stages)
        assert not too_early
        assert len(stages) == len(TaskKind)

    for seed in range(3):
        simulate(seed, main)


def test_a_stubborn_task_is_abandoned_and_the_rest_still_stops() -> None:
    """Goal: stop returns within its time plus the least share of the stages left."""

    kept: list[asyncio.Task[None]] = []

    async def stubborn() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue

    async def main(loop: SimLoop) -> None:
        center = TaskCenter()
        ended: list[str] = []
        task = center.spawn(TaskKind.INGRESS, "stubborn", stubborn())
        kept.append(task)
        center.spawn(TaskKind.ADMIN, "polite", forever(ended, "polite"))
        await asyncio.sleep(0.01)
        await center.stop(timeout_s=2.0)
        assert ended == ["polite"]
        assert not task.done()
        assert loop.time() <= 2.0 + len(TaskKind) * STAGE_SECONDS_MIN

    simulate(1, main)


def test_a_stage_that_stops_takes_no_new_tasks() -> None:
    """Goal: who spawns into a stage that is over gets a cancelled task; later stages still work."""

    async def main(loop: SimLoop) -> None:
        center = TaskCenter()
        ran: list[str] = []

        async def run(name: str) -> None:
            ran.append(name)

        def before(stage: int) -> None:
            if stage == TaskKind.LOG_SERVER.stage:
                center.spawn(TaskKind.WORKER, "too late", run("too late"))
                center.spawn(TaskKind.METADATA_SERVER, "in time", run("in time"))

        await center.stop(timeout_s=1.0, before_stage=before)
        await asyncio.sleep(0)
        assert "too late" not in ran

    simulate(1, main)


def test_the_number_of_tasks_is_bounded() -> None:
    """Goal: tasks above the limit are cancelled. Method: four where two are allowed."""

    async def main(loop: SimLoop) -> None:
        center = TaskCenter(tasks_max=2)
        tasks = [center.spawn(TaskKind.REQUEST, "t", asyncio.sleep(1)) for _ in range(4)]
        await asyncio.wait(tasks)
        assert [task.cancelled() for task in tasks] == [False, False, True, True]

    simulate(1, main)
