"""Looks at the processors of a node, often: who leads, and how far each has got."""

from __future__ import annotations

import asyncio
from typing import Final

from restate_node.sim.history import Leading, Progress
from restate_node.sim.workloads.workload import Client, Stage
from restate_node.sim.world import NodeLife
from restate_node.types.processor_messages import ProcessorStatus, RunMode

LOOK_SECONDS: Final = 0.1
REPEAT_SECONDS: Final = 1.0


async def _run(life: NodeLife, stage: Stage) -> None:
    """Until the node ends: liveness is watched after the writing, too. What does not change is told
    again and again: a checker must see that it stands still."""
    del stage
    last: dict[int, tuple[object, ...]] = {}
    worker = life.node.worker
    while worker is not None:
        for status in worker.statuses():
            interval = int(life.recorder.now() / REPEAT_SECONDS)
            seen = (interval, status.effective_mode, status.observed_epoch, status.applied_lsn)
            if last.get(status.partition) != seen:
                last[status.partition] = seen
                _record(life, status)
        await asyncio.sleep(LOOK_SECONDS)


def _record(life: NodeLife, status: ProcessorStatus) -> None:
    recorder = life.recorder
    now, partition = recorder.now(), status.partition
    leads = status.effective_mode is RunMode.LEADER
    if leads and status.observed_epoch is not None:
        recorder.add(Leading(now, life.name, partition, status.observed_epoch))
    # A replica that does not know its tail has not caught up with it: 0 is below every tail.
    applied, tail = status.applied_lsn or 0, status.target_tail_lsn or 0
    recorder.add(Progress(now, life.name, partition, applied, tail, leads))


CLIENT: Final = Client("partition watch", _run)
