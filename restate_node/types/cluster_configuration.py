"""What an operator reads and sets of the whole cluster (`config get`, `config set`).

It is a view: the number of partitions and their replication live in the partition table, the
provider of new log segments in the logs.
"""

from __future__ import annotations

from dataclasses import dataclass

from restate_node.types.logs import Logs, ProviderConfiguration, ProviderKind
from restate_node.types.partitions import PartitionTable
from restate_node.types.replication import ReplicationProperty


@dataclass(frozen=True, slots=True)
class ClusterConfiguration:
    """Partition replication None means: on every worker."""

    partition_count: int
    partition_replication: ReplicationProperty | None
    provider: ProviderConfiguration

    @staticmethod
    def of(logs: Logs, table: PartitionTable) -> ClusterConfiguration:
        """The view of the two objects."""
        return ClusterConfiguration(
            partition_count=len(table.partitions),
            partition_replication=table.replication,
            provider=logs.configuration,
        )


def refused_change(current: ClusterConfiguration, wanted: ClusterConfiguration) -> str | None:
    """Why a running cluster cannot be changed so; None if it can."""
    if current.partition_count and wanted.partition_count != current.partition_count:
        return "changing the number of partitions is not yet supported by Restate"
    was, becomes = current.provider.kind, wanted.provider.kind
    if was is ProviderKind.REPLICATED and becomes is not ProviderKind.REPLICATED:
        return (
            f"changing default provider kind to {becomes.value} is not supported. "
            "Choose 'replicated' instead"
        )
    return None
