"""A seeded operator: gives commands while there is trouble, then puts the cluster in order again.

    trouble   commands, one after the other, whatever becomes of them
    order     the configuration of the start, no policies, all states as they were — but now and
              then one worker stays drained and one log server read-only: from there on the
              cluster must come to rest without them

Driven by the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from random import Random
from typing import Final

from restate_node.sim.history_cluster import OperatorSaid
from restate_node.sim.operating.commands import (
    COMMANDS,
    Desk,
    change_partition,
    change_storage_state,
    change_worker_state,
    edit_node,
    free_partition,
    read_configuration,
    write_configuration,
)
from restate_node.sim.operating.console import Console, Refused
from restate_node.sim.operating.survey import read_nodes, read_table
from restate_node.sim.scenario import Losses
from restate_node.sim.world import World
from restate_node.types.nodes import Node, StorageState, WorkerState

PAUSE_SECONDS: Final = 0.5
ORDER_SECONDS_MAX: Final = 25.0
ORDER_PAUSE_SECONDS: Final = 0.3
LEFT_OUT_PROBABILITY: Final = 0.4


class Operator:
    """One per run."""

    def __init__(
        self, world: World, rng: Random, found: Callable[[str], None], losses: Losses
    ) -> None:
        self._world = world
        self._rng = rng
        self._found = found
        self._desk = Desk(Console(world, rng, found), found, losses)

    async def work(self) -> None:
        """Until cancelled."""
        commands, weights = zip(*COMMANDS, strict=True)
        while True:
            await asyncio.sleep(self._rng.uniform(0.2, 1.8) * PAUSE_SECONDS)
            command = self._rng.choices(commands, weights)[0]
            await self.give(command.__name__, partial(command, self._desk))

    async def restore(self) -> None:
        """Put everything back, however often it takes; a finding if it cannot be done."""
        deadline = self._world.recorder.now() + ORDER_SECONDS_MAX
        while not await self.give("order", self._restore):
            if self._world.recorder.now() > deadline:
                self._found(f"the cluster cannot be put in order within {ORDER_SECONDS_MAX:.0f}s")
                return
            await asyncio.sleep(ORDER_PAUSE_SECONDS)

    async def leave_out(self) -> None:
        """Perhaps drain one worker and take one log server out, where that is safe."""
        if self._desk.losses is Losses.STORE:
            return
        if self._rng.random() < LEFT_OUT_PROBABILITY:
            await self.give("drain", lambda: self._drain(WorkerState.DRAINING))
        if self._rng.random() < LEFT_OUT_PROBABILITY:
            await self.give("take out", lambda: self._take_out(StorageState.READ_ONLY))

    async def give(self, name: str, command: Callable[[], Awaitable[str]]) -> bool:
        """Whether it was done; either way it is told."""
        recorder = self._world.recorder
        try:
            outcome, done = await command(), True
        except Refused as refusal:
            outcome, done = f"{name} refused: {refusal}", False
        recorder.add(OperatorSaid(recorder.now(), outcome))
        return done

    # ------------------------------------------------------------ inside

    async def _restore(self) -> str:
        console = self._desk.console
        wanted = await read_configuration(console)
        copies = str(self._world.options.replication)
        wanted.bifrost_provider.replication_property.replication_property = copies
        wanted.bifrost_provider.target_nodeset_size = 0
        wanted.partition_replication.replication_property = copies
        for node in (await read_nodes(console)).members():
            if not self._world.machines[node.name].has_lost_store:
                await edit_node(console, node, _as_it_was)
        await write_configuration(console, wanted, force=True)
        for partition in sorted((await read_table(console)).partitions):
            await change_partition(console, free_partition, partition)
        if self._desk.declared_lost is not None:
            self._world.excuse(self._desk.declared_lost, False)
            self._desk.declared_lost = None
        return "everything is as it was"

    async def _drain(self, state: WorkerState) -> str:
        node = await self._some_node()
        await change_worker_state(self._desk.console, node, state)
        return f"{node.name} stays {state.value}"

    async def _take_out(self, state: StorageState) -> str:
        node = await self._some_node()
        await change_storage_state(self._desk.console, node, state)
        return f"the log server of {node.name} stays {state.value}"

    async def _some_node(self) -> Node:
        return self._rng.choice((await read_nodes(self._desk.console)).members())


def _as_it_was(node: Node) -> Node:
    return replace(node, storage_state=StorageState.READ_WRITE, worker_state=WorkerState.ACTIVE)
