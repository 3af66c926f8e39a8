"""What the runs of a worker share: how services are reached, what is registered, what holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from restate_node.protocol.invocation.session import ServiceCodec
from restate_node.protocol.partition.machine import JournalCodec
from restate_node.runtime.services import ServiceTransport
from restate_node.runtime.watch import Watch
from restate_node.types.options import InvokerOptions
from restate_node.types.partitions import PartitionTable
from restate_node.types.schema import HandlerDefaults, Schema
from restate_node.types.wal import AttemptProgress


@dataclass(frozen=True, slots=True)
class Services:
    """Given to every partition of a worker."""

    transport: ServiceTransport
    schema: Watch[Schema]
    partition_table: Watch[PartitionTable]
    defaults: HandlerDefaults
    options: InvokerOptions
    journal: JournalCodec
    frames: ServiceCodec


class Reporter(Protocol):
    """Where reports of attempts go: the partition's log."""

    async def room(self) -> None:
        """Wait until there is room for another report. Cancellation-safe."""
        ...

    def report(self, progress: AttemptProgress) -> None:
        """Write it; reports keep their order. Raises RecordTooLarge."""
        ...
