"""One task that waits for several watches at once.

    nodes ────┐
    alive ────┤─▶ Bell ─▶ the task looks at everything again
    timer ────┘

A ring while the task works is not lost: the next wait returns at once. Many rings are one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.runtime.watch import Watch


class Bell:
    """Rung by watches and by whoever has news; one task waits."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """There is something to look at."""
        self._rung.set()

    def listen(self, tasks: TaskCenter, name: str, watches: Sequence[Watch[Any]]) -> None:
        """Ring at every change of one of these, until the tasks of the role are stopped."""
        for watch in watches:
            tasks.spawn(TaskKind.ADMIN, name, self._follow(watch))

    async def wait(self, timeout_s: float) -> bool:
        """Until it rings, or the time is over (False). Cancellation-safe: a ring is kept."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    async def _follow(self, watch: Watch[Any]) -> None:
        revision = watch.revision
        while True:
            await watch.changed(revision)
            revision = watch.revision
            self._rung.set()
