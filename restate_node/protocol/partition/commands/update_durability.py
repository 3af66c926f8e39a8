"""Records how much of the log is no longer needed for recovery. The point never goes back."""

from __future__ import annotations

from restate_node.protocol.partition.effects import DurabilityAdvanced, Effect
from restate_node.protocol.partition.tables import (
    DurablePoint,
    Mutation,
    TableReader,
    read_durable_point,
    write_durable_point,
)
from restate_node.types.ids import PartitionId
from restate_node.types.wal import UpdateDurability


def update_durability(
    partition: PartitionId, command: UpdateDurability, tables: TableReader
) -> tuple[list[Mutation], list[Effect]]:
    """A point below the known one, of a leader that was late, changes nothing."""
    known = read_durable_point(tables, partition)
    if known is not None and command.durable_point <= known.lsn:
        return [], []
    point = DurablePoint(command.durable_point, command.unix_ms)
    return [write_durable_point(partition, point)], [DurabilityAdvanced(point.lsn, point.unix_ms)]
