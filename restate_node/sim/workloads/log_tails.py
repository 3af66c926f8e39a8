"""Asks where logs end, and now and then seals one and begins the next segment, as any node may."""

from __future__ import annotations

from typing import Final

from restate_node.bifrost.errors import CannotReconfigure, LogError
from restate_node.bifrost.log import ANY_SEGMENT, Bifrost
from restate_node.sim.history import TailFound
from restate_node.sim.workloads.workload import LOG, Client, Stage, pause
from restate_node.sim.world import NodeLife
from restate_node.types.ids import LogId
from restate_node.types.offsets import TailState

PAUSE_SECONDS: Final = 0.4
RECONFIGURE_PROBABILITY: Final = 0.12


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
            if life.rng.random() < RECONFIGURE_PROBABILITY:
                await _reconfigure(life, bifrost, log)
            else:
                await _find_tail(life, bifrost, log)
        except (LogError, CannotReconfigure):
            continue


async def _find_tail(life: NodeLife, bifrost: Bifrost, log: LogId) -> None:
    recorder = life.recorder
    called_at = recorder.now()
    found = await bifrost.find_tail(log)
    sealed = found.tail.state is TailState.SEALED
    where = (life.name, log, called_at, found.segment)
    recorder.add(TailFound(recorder.now(), *where, sealed, found.tail.lsn))


async def _reconfigure(life: NodeLife, bifrost: Bifrost, log: LogId) -> None:
    chain = life.node.cache.logs.value.chain(log)
    if chain is not None:
        await bifrost.reconfigure(log, chain.tail.index, ANY_SEGMENT)


CLIENT: Final = Client("log tails", _run)
