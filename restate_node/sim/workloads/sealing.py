"""Seals a log in the middle of a burst of writes: where one segment ends and the next begins, most
of what can go wrong with a log goes wrong.

Left to chance, a seal meets a write under way once in a hundred times. So whoever writes a burst
asks for a seal a few milliseconds later.
"""

from __future__ import annotations

import asyncio
from typing import Final

from restate_node.bifrost.errors import CannotReconfigure, LogError
from restate_node.bifrost.log import ANY_SEGMENT
from restate_node.sim.world import NodeLife
from restate_node.types.ids import LogId

DELAY_SECONDS_MAX: Final = 0.006


async def seal_soon(life: NodeLife, log: LogId) -> None:
    """Seal the open segment and begin the next; gives up when that does not go at once."""
    bifrost = life.node.bifrost
    assert bifrost is not None, "a node that is ready has a log"
    await asyncio.sleep(life.rng.uniform(0, DELAY_SECONDS_MAX))
    chain = life.node.cache.logs.value.chain(log)
    if chain is None:
        return
    try:
        await bifrost.reconfigure(log, chain.tail.index, ANY_SEGMENT)
    except (LogError, CannotReconfigure):
        return
