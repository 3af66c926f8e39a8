"""Who gives trimmed disk back, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from restate_node.roles.log_server.log_store import DATA, DeleteRange
from restate_node.roles.log_server.reclaim import PAUSE_S, RANGES_MAX, Reclaim
from restate_node.runtime.ports import StoreError
from restate_node.sim.loop import SimLoop, simulate


class Merging:
    """The one method of a store that is needed; notes what it is asked for, and may refuse."""

    def __init__(self) -> None:
        self.merged: list[tuple[bytes, bytes]] = []
        self.refuses = False
        self.flushes = 0

    async def flush(self) -> None:
        self.flushes += 1

    async def compact_range(self, family: str, start: bytes, end: bytes) -> None:
        assert family == DATA
        if self.refuses:
            raise StoreError("no")
        self.merged.append((start, end))


def run(main: Callable[[Reclaim, Merging], Awaitable[None]]) -> None:
    async def build(_: SimLoop) -> None:
        reclaim, store = Reclaim(), Merging()
        running = asyncio.create_task(reclaim.run(store))
        await main(reclaim, store)
        running.cancel()

    simulate(1, build)


def test_trims_of_the_same_moment_are_merged_once() -> None:
    """Goal: the last range of each loglet, after the pause, and later ones again. Method: two
    loglets, one trimmed twice, on simulated time."""

    async def main(reclaim: Reclaim, store: Merging) -> None:
        reclaim.note(DeleteRange(DATA, b"a0", b"a1"))
        reclaim.note(DeleteRange(DATA, b"b0", b"b0"))
        reclaim.note(DeleteRange(DATA, b"a0", b"a2"))
        reclaim.note(DeleteRange(DATA, b"c0", b"c5"))
        await asyncio.sleep(PAUSE_S / 2)
        assert store.merged == []
        await asyncio.sleep(PAUSE_S)
        assert store.merged == [(b"a0", b"a2"), (b"c0", b"c5")]
        reclaim.note(DeleteRange(DATA, b"a0", b"a3"))
        await asyncio.sleep(PAUSE_S * 2)
        assert store.flushes == 2
        assert store.merged[2:] == [(b"a0", b"a3")]

    run(main)


def test_a_store_that_refuses_is_asked_again_after_the_next_trim() -> None:
    """Goal: the task survives. Method: refuse, then not; and more loglets than are kept."""

    async def main(reclaim: Reclaim, store: Merging) -> None:
        store.refuses = True
        reclaim.note(DeleteRange(DATA, b"a0", b"a1"))
        await asyncio.sleep(PAUSE_S * 2)
        store.refuses = False
        for number in range(RANGES_MAX + 5):
            reclaim.note(DeleteRange(DATA, b"%06d" % number, b"%06d-" % number))
        await asyncio.sleep(PAUSE_S * 2)
        assert len(store.merged) == RANGES_MAX

    run(main)
