"""A partition of any size on the disk of a running node, beside those of the cluster.

Filled through its store, not through a log: a gibibyte of state patches would take longer than all
that is measured. From there on everything is the node's own: store, export, repository, bootstrap.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from random import Random

from restate_node.node.node import Node
from restate_node.protocol.partition import tables
from restate_node.roles.worker.bootstrap import Bootstrap
from restate_node.roles.worker.context import LeadershipListeners, WorkerContext
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.roles.worker.snapshot_repository import (
    RepositoryIdentity,
    RepositoryPlace,
    SnapshotRepository,
)
from restate_node.roles.worker.snapshots import PartitionSnapshots
from restate_node.runtime.ports import ObjectStore, StoreBusy
from restate_node.runtime.real.disk import RealDisk
from restate_node.types.ids import LogId, PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.options import SnapshotOptions
from restate_node.types.partitions import KeyRange, Partition
from restate_node.types.snapshots import RetainedSnapshot

PARTITION = Partition(PartitionId(1000), LogId(1000), KeyRange(0, (1 << 64) - 1))
"""Far above the partitions of the cluster."""
VALUE_BYTES = 16 * 1024
ROWS_PER_COMMIT = 64
UNFLUSHED_BYTES_MAX = 32 * 1024 * 1024
BUSY_PAUSE_S = 0.01


class FilledPartition:
    """Random rows, which nothing on the way can compress."""

    def __init__(self, store: PartitionStore, context: WorkerContext) -> None:
        self._store = store
        self._context = context
        self.size_bytes = 0

    @staticmethod
    async def open(node: Node, options: SnapshotOptions) -> FilledPartition:
        """Empty at first."""
        context = _context(node, options)
        return FilledPartition(await PartitionStore.open(context.disk, PARTITION.id), context)

    async def fill(self, size_bytes: int) -> None:
        """Write so many bytes and flush them."""
        while self.size_bytes < size_bytes:
            await self._commit(ROWS_PER_COMMIT)
            if self._store.unflushed_bytes > UNFLUSHED_BYTES_MAX:
                await self._store.flush()
        await self._store.flush()

    async def export(self, path: str) -> None:
        """The files that a snapshot would consist of."""
        await self._store.export(path)

    async def snapshot(self, repository: SnapshotRepository) -> RetainedSnapshot:
        """A new one: of one more row than the one before."""
        await self._commit(1)
        snapshots = PartitionSnapshots(PARTITION, self._store, self._context, repository)
        return await snapshots.create(None)

    async def bootstrap(self, repository: SnapshotRepository, directory: Path) -> Lsn:
        """A replica without state, on a disk of its own; what it has applied when it is open."""
        beside = self._context.disk
        assert isinstance(beside, RealDisk), "the node is a real one"
        disk = RealDisk(directory, courtesy=beside.courtesy)
        context = replace(self._context, disk=disk, snapshots=repository)
        await Bootstrap(PARTITION, context).run()
        store = await PartitionStore.open(disk, PARTITION.id)
        try:
            return store.applied
        finally:
            await store.close()

    async def close(self) -> None:
        """Release the files."""
        await self._store.close()

    async def _commit(self, rows: int) -> None:
        applied = Lsn(self._store.applied + 1)
        transaction = self._store.begin()
        transaction.put([tables.write_applied(PARTITION.id, applied)])
        transaction.put(
            tables.Mutation(b"benchmark-%016d-%04d" % (applied, row), os.urandom(VALUE_BYTES))
            for row in range(rows)
        )
        while True:
            try:
                self._store.commit(transaction)
            except StoreBusy:
                await asyncio.sleep(BUSY_PAUSE_S)
            else:
                break
        self.size_bytes += transaction.size_bytes


def repository_of(node: Node, objects: ObjectStore, prefix: str) -> SnapshotRepository:
    """As a node makes its own."""
    identity = RepositoryIdentity("operations-benchmark", node.cache.fingerprint, "node-1")
    place = RepositoryPlace(prefix, 1)
    clock, rng = node.ports.clock, node.ports.stream()
    return SnapshotRepository(objects, place, identity, clock=clock, rng=rng, tasks=node.tasks)


def _context(node: Node, options: SnapshotOptions) -> WorkerContext:
    assert node.cache.me is not None
    assert node.bifrost is not None, "the node is ready"
    nobody = LeadershipListeners(
        announce=lambda partition, epoch: None,
        on_leader=lambda log, partition: None,
        on_follower=lambda log, partition: None,
    )
    return WorkerContext(
        me=node.cache.me,
        disk=node.ports.disk,
        log=node.bifrost,
        metadata=node.client,
        tasks=node.tasks,
        clock=node.ports.clock,
        rng=Random(os.urandom(8)),
        options=replace(node.options.worker, snapshots=options),
        listeners=nobody,
    )
