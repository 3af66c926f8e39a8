"""The writer of a log store: one write per turn, one fsync for all, nothing after the end."""

from __future__ import annotations

import asyncio

from restate_node.roles.log_server.log_store import METADATA, LogStore, Put
from restate_node.roles.log_server.writer import Writer
from restate_node.runtime.ports import StoreError
from restate_node.sim.disk import SimMedium
from restate_node.sim.loop import SimLoop, simulate

ROW = Put(METADATA, b"key", b"value")


def test_stopped_writer_touches_a_closed_store_no_more() -> None:
    """Goal: a store that closes is not written to. How: stage, stop and close in one turn.

    What was staged, before and after, is denied, and the write that was due does nothing.
    """

    async def main(loop: SimLoop) -> None:
        disk = SimMedium("host", loop.streams.stream("disk")).mount(loop.boot("host"))
        store = LogStore.open(disk)
        failures: list[StoreError] = []
        writer = Writer(store.store, failures.append)
        answers: list[bool] = []
        writer.stage([ROW], answers.append)
        writer.stop()
        await store.store.close()
        writer.stage([ROW], answers.append)
        await asyncio.sleep(1)
        assert answers == [False, False]
        assert failures == []

    simulate(1, main)
