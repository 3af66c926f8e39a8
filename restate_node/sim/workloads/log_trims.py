"""Trims a log now and then, up to somewhere in its older half, as a durable partition would."""

from __future__ import annotations

from typing import Final

from restate_node.bifrost.errors import LogError
from restate_node.sim.workloads.workload import LOG, Client, Stage, pause
from restate_node.sim.world import NodeLife
from restate_node.types.offsets import Lsn

PAUSE_SECONDS: Final = 6.0
LSN_WORTH_IT: Final = 100


async def _run(life: NodeLife, stage: Stage) -> None:
    bifrost = life.node.bifrost
    assert bifrost is not None, "a node that is ready has a log"
    while stage.writing:
        await pause(life.rng, PAUSE_SECONDS)
        try:
            tail = (await bifrost.find_tail(LOG)).tail.lsn
            if tail > LSN_WORTH_IT:
                point = Lsn(life.rng.randrange(1, tail // 2))
                await bifrost.trim(LOG, point)
        except LogError:
            continue


CLIENT: Final = Client("log trims", _run)
