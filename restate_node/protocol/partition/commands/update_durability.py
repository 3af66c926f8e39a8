"""Records how much of the log is no longer needed for recovery. The point never goes back."""

from __future__ import annotations

from restate_node.protocol.partition.effects import DurabilityAdvanced
from restate_node.protocol.partition.machine import Machine
from restate_node.protocol.partition.tables import (
    DurablePoint,
    read_durable_point,
    write_durable_point,
)
from restate_node.types.wal import UpdateDurability


def update_durability(machine: Machine, command: UpdateDurability) -> None:
    """A point below the known one, of a leader that was late, changes nothing."""
    partition = machine.partition.id
    known = read_durable_point(machine.rows, partition)
    if known is not None and command.durable_point <= known.lsn:
        return
    point = DurablePoint(command.durable_point, command.unix_ms)
    machine.put(write_durable_point(partition, point))
    machine.effects.append(DurabilityAdvanced(point.lsn, point.unix_ms))
