"""Writes the state of virtual objects, as the admin API does: through the fabric, to whoever leads
the partition of the key.

Each write is different from every other, so that a double in the log shows when it takes effect.
"""

from __future__ import annotations

import asyncio
from typing import Final

from restate_node.sim.history import PatchAcknowledged
from restate_node.sim.workloads.sealing import seal_soon
from restate_node.sim.workloads.workload import Client, Stage, pause
from restate_node.sim.world import NodeLife
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.ids import PartitionId, PlainNodeId
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.partitions import Partition
from restate_node.types.processor_messages import PatchState, Proposed

SERVICE: Final = "sim"
ID: Final = "id"
KEYS_MAX: Final = 12
PAUSE_SECONDS: Final = 0.15
TIMEOUT_SECONDS: Final = 3.0
SEAL_PROBABILITY: Final = 0.08
BURST: Final = 6
BURST_SECONDS: Final = 0.008


class StateWriter:
    """One life's writer. Remembers who led which partition."""

    def __init__(self, life: NodeLife) -> None:
        self._life = life
        self._leaders: dict[PartitionId, PlainNodeId] = {}
        self._written = 0

    async def step(self) -> None:
        """One write of some key, or a burst of them while the partition's log is sealed."""
        key = f"k{self._life.rng.randrange(KEYS_MAX)}"
        partition = self._partition_of(key)
        if partition is not None and self._life.rng.random() < SEAL_PROBABILITY:
            writes = [self._write_late(key) for _ in range(BURST)]
            await asyncio.gather(*writes, seal_soon(self._life, partition.log_id))
        else:
            await self._write(key)

    def _partition_of(self, key: str) -> Partition | None:
        table = self._life.node.cache.partition_table.value
        return table.partition_of(partition_key_of_key(key))

    async def _write_late(self, key: str) -> None:
        await asyncio.sleep(self._life.rng.uniform(0, BURST_SECONDS))
        await self._write(key)

    async def _write(self, key: str) -> None:
        """A failure makes this client look for another leader."""
        node = self._life.node
        partition = self._partition_of(key)
        members = [member.id for member in node.cache.nodes.value.members()]
        if partition is None or not members:
            return
        self._written += 1
        target = self._leaders.get(partition.id) or self._life.rng.choice(members)
        state = {ID: f"{self._life.name}/{self._written}".encode()}
        request = PatchState(partition.id, SERVICE, key, state)
        try:
            done = await node.fabric.call(target, request, Proposed, timeout_s=TIMEOUT_SECONDS)
            self._acknowledged(partition.id, done)
            self._leaders[partition.id] = target
        except RpcFailure as failure:
            self._leaders.pop(partition.id, None)
            if failure.code is not RpcCode.NOT_READY:
                await pause(self._life.rng, PAUSE_SECONDS)

    def _acknowledged(self, partition: PartitionId, done: Proposed) -> None:
        recorder = self._life.recorder
        recorder.add(PatchAcknowledged(recorder.now(), self._life.name, partition, done.lsn))


async def _run(life: NodeLife, stage: Stage) -> None:
    writer = StateWriter(life)
    while stage.writing:
        await pause(life.rng, PAUSE_SECONDS)
        await writer.step()


CLIENT: Final = Client("state writes", _run)
