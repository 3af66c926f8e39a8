"""Asks where logs end, as any node may at any time."""

from __future__ import annotations

from typing import Final

from restate_node.bifrost.errors import LogError
from restate_node.bifrost.log import Bifrost
from restate_node.sim.history import TailFound
from restate_node.sim.workloads.workload import LOG, Client, Stage, pause
from restate_node.sim.world import NodeLife
from restate_node.types.ids import LogId
from restate_node.types.offsets import TailState

PAUSE_SECONDS: Final = 0.4


async def _run(life: NodeLife, stage: Stage) -> None:
    bifrost = life.node.bifrost
    assert bifrost is not None, "a node that is ready has a log"
    while stage.writing:
        await pause(life.rng, PAUSE_SECONDS)
        logs = sorted(life.node.cache.logs.value.chains)
        if not logs:
            continue
        log = life.rng.choice([LOG, *logs])
        try:
            await _find_tail(life, bifrost, log)
        except LogError:
            continue


async def _find_tail(life: NodeLife, bifrost: Bifrost, log: LogId) -> None:
    recorder = life.recorder
    called_at = recorder.now()
    found = await bifrost.find_tail(log)
    sealed = found.tail.state is TailState.SEALED
    where = (life.name, log, called_at, found.segment)
    recorder.add(TailFound(recorder.now(), *where, sealed, found.tail.lsn))


CLIENT: Final = Client("log tails", _run)
