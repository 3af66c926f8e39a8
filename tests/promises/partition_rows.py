"""What a stopped node has in the database of a partition, to compare replicas."""

from __future__ import annotations

import asyncio

from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.runtime.real.disk import RealDisk
from restate_node.types.ids import PartitionId
from tests.process.node_processes import NodeProcess

ROWS_MAX = 10_000


def partition_rows(node: NodeProcess, partition: int = 0) -> dict[bytes, bytes]:
    """Every row of the store, its applied position among them; the node must have stopped."""
    return asyncio.run(_rows(node, PartitionId(partition)))


async def _rows(node: NodeProcess, partition: PartitionId) -> dict[bytes, bytes]:
    disk = RealDisk(node.data / node.name)
    store = await PartitionStore.open(disk, partition)
    try:
        rows = store.scan(b"", b"\xff" * 8, rows_max=ROWS_MAX)
        assert len(rows) < ROWS_MAX, "compare in pieces"
        return dict(rows)
    finally:
        await store.close()
