"""What all clients of a run share: when to write, and how often.

A client is a coroutine that runs inside a node's life, does what users do, and records what it
saw. It is killed with the node and never told; nothing of it needs tidying up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from restate_node.sim.load import Load
from restate_node.sim.workloads.book import Book
from restate_node.sim.world import NodeLife
from restate_node.types.ids import LogId

LOG: Final = LogId(900)
"""A log of the clients' own, beside those of the partitions."""


@dataclass(slots=True)
class Stage:
    """How far the run is; the runner moves it, clients look."""

    writing: bool = True
    load: Load | None = None
    book: Book = field(default_factory=Book)


@dataclass(frozen=True, slots=True)
class Client:
    """One kind of client; each life of each node gets one."""

    name: str
    run: Callable[[NodeLife, Stage], Coroutine[Any, Any, None]]


async def pause(rng: Random, seconds: float) -> None:
    """About so long."""
    await asyncio.sleep(rng.uniform(0.2, 1.8) * seconds)
