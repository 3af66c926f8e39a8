"""The end of a run with invocations: all that was begun ends, and every client hears how. What is
paused is resumed: by operators, by handlers that asked for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from restate_node.protocol.partition.invocation_table import INVOCATION, Stage, decode_invocation
from restate_node.protocol.partition.tables import rows_of
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.sim.history_invocations import InvocationsSettled
from restate_node.sim.workloads.book import Book, Wish
from restate_node.sim.workloads.meddling import Meddler
from restate_node.sim.world import World
from restate_node.types.invocation_messages import Control
from restate_node.types.invocations import RawInvocationId, id_text
from restate_node.types.processor_messages import RunMode

LOOK_SECONDS: Final = 0.25
ORDER_SECONDS_MAX: Final = 2.0
LAST_WORD: Final = "last word"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An invocation that has not ended."""

    id: RawInvocationId
    stage: Stage
    target: str

    def __str__(self) -> str:
        return f"{id_text(self.id)} {self.target} {self.stage.name}"


@dataclass(frozen=True, slots=True)
class Settling:
    """Waits for it until a deadline; clients do the work."""

    world: World
    book: Book
    deadline: float
    rng: Random

    async def settle(self) -> None:
        """Workflows get what they wait for; when all has ended, counters are read."""
        confirmations = [Wish("Signup", "confirm", w, LAST_WORD) for w in self.book.workflows]
        self.book.wishes.extend(confirmations)
        if await self._until(lambda: self._is_answered() and not self._left()):
            self.book.wishes.extend(Wish("Counter", "tokens", key) for key in self.book.counters)
            await self._until(self._is_answered)
        recorder = self.world.recorder
        recorder.add(InvocationsSettled(recorder.now(), tuple(self._left())))

    def _is_answered(self) -> bool:
        return not self.book.wishes and not self.book.open

    async def _until(self, condition: Callable[[], bool]) -> bool:
        """Each look at which something is paused, somebody resumes one of it."""
        while not condition():
            if self.world.recorder.now() >= self.deadline:
                return False
            await self._resume_one()
            await asyncio.sleep(LOOK_SECONDS)
        return True

    async def _resume_one(self) -> None:
        paused = [open_.id for open_ in self._unfinished() if open_.stage is Stage.PAUSED]
        lives = self.world.lives
        if not paused or not lives:
            return
        life = self.rng.choice(lives)
        invocation = self.rng.choice(paused)
        order = Meddler(life).order(Control.RESUME, invocation)
        task = self.world.loop.spawn(life.incarnation, order, "operator resumes")
        await asyncio.wait({task}, timeout=ORDER_SECONDS_MAX)

    def _left(self) -> list[str]:
        """What leaders have not brought to an end."""
        return [str(unfinished) for unfinished in self._unfinished()]

    def _unfinished(self) -> list[Unfinished]:
        return [unfinished for store in self._led() for unfinished in _unfinished(store)]

    def _led(self) -> Iterator[PartitionStore]:
        for life in self.world.lives:
            worker = life.node.worker
            for status in worker.statuses() if worker is not None else []:
                store = worker.stores().get(status.partition) if worker is not None else None
                if status.effective_mode is RunMode.LEADER and store is not None:
                    yield store


def _unfinished(store: PartitionStore) -> Iterator[Unfinished]:
    for key, value in rows_of(store, INVOCATION):
        invocation = RawInvocationId(key[len(INVOCATION) :])
        record = decode_invocation(invocation, value)
        if record.stage is not Stage.COMPLETED:
            yield Unfinished(invocation, record.stage, str(record.target))
