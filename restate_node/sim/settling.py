"""The end of a run with invocations: all that was begun ends, and every client hears how."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from restate_node.protocol.partition.invocation_table import INVOCATION, Stage, decode_invocation
from restate_node.protocol.partition.tables import rows_of
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.sim.history_invocations import InvocationsSettled
from restate_node.sim.workloads.book import Book, Wish
from restate_node.sim.world import World
from restate_node.types.invocations import RawInvocationId, id_text
from restate_node.types.processor_messages import RunMode

LOOK_SECONDS: Final = 0.25
LAST_WORD: Final = "last word"


@dataclass(frozen=True, slots=True)
class Settling:
    """Waits for it until a deadline; clients do the work."""

    world: World
    book: Book
    deadline: float

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
        while not condition():
            if self.world.recorder.now() >= self.deadline:
                return False
            await asyncio.sleep(LOOK_SECONDS)
        return True

    def _left(self) -> list[str]:
        """What leaders have not brought to an end."""
        return [text for store in self._led() for text in _unfinished(store)]

    def _led(self) -> Iterator[PartitionStore]:
        for life in self.world.lives:
            worker = life.node.worker
            for status in worker.statuses() if worker is not None else []:
                store = worker.stores().get(status.partition) if worker is not None else None
                if status.effective_mode is RunMode.LEADER and store is not None:
                    yield store


def _unfinished(store: PartitionStore) -> Iterator[str]:
    for key, value in rows_of(store, INVOCATION):
        invocation = RawInvocationId(key[len(INVOCATION) :])
        record = decode_invocation(invocation, value)
        if record.stage is not Stage.COMPLETED:
            yield f"{id_text(invocation)} {record.target} {record.stage.name}"
