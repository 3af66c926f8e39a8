"""The operator's view of the cluster and the changes that are refused."""

from __future__ import annotations

from dataclasses import replace

from restate_node.types.cluster_configuration import ClusterConfiguration, refused_change
from restate_node.types.ids import Version
from restate_node.types.logs import Logs, ProviderConfiguration, ProviderKind
from restate_node.types.partitions import PartitionTable
from restate_node.types.replication import ReplicationProperty


def test_view_and_refusals() -> None:
    """Goal: no repartitioning and no way back from replicated logs. Method: change each field."""
    two = ReplicationProperty.of_nodes(2)
    logs = Logs(Version(1), configuration=ProviderConfiguration(ProviderKind.REPLICATED, two))
    view = ClusterConfiguration.of(logs, PartitionTable.equal_ranges(4, two))
    assert view == ClusterConfiguration(4, two, logs.configuration)

    repartitioned = refused_change(view, replace(view, partition_count=5))
    assert repartitioned is not None
    assert "number of partitions" in repartitioned
    local = replace(view, provider=ProviderConfiguration(ProviderKind.LOCAL))
    downgraded = refused_change(view, local)
    assert downgraded is not None
    assert "Choose 'replicated'" in downgraded
    assert refused_change(local, view) is None
    assert refused_change(view, replace(view, partition_replication=None)) is None
