"""The configuration of the cluster as lines and JSON.

⚙️ Cluster Configuration
 Number of partitions: 8
 Partition replication: *            on every worker
 Logs Provider: replicated
 Log replication: {node: 1}
 Nodeset size: 0                     as the replication needs
"""

from __future__ import annotations

from restate_node.ctl.errors import CtlError
from restate_node.ctl.render import Json
from restate_node.wire.pb.cluster_pb2 import ClusterConfiguration

TITLE = "⚙️ Cluster Configuration"
EVERYWHERE = "*"


def configuration_lines(configuration: ClusterConfiguration) -> tuple[str, ...]:
    """The title and an indented line per value."""
    provider = configuration.bifrost_provider
    lines = (
        TITLE,
        f" Number of partitions: {configuration.num_partitions}",
        f" Partition replication: {partition_replication(configuration) or EVERYWHERE}",
        f" Logs Provider: {provider.provider}",
    )
    if provider.provider != "replicated":
        return lines
    return (
        *lines,
        f" Log replication: {log_replication(configuration)}",
        f" Nodeset size: {provider.target_nodeset_size}",
    )


def configuration_document(configuration: ClusterConfiguration) -> Json:
    """The same as JSON; partition_replication null means every worker."""
    provider = configuration.bifrost_provider
    replicated = provider.provider == "replicated"
    return {
        "num_partitions": configuration.num_partitions,
        "partition_replication": partition_replication(configuration),
        "provider": provider.provider,
        "log_replication": log_replication(configuration) if replicated else None,
        "target_nodeset_size": provider.target_nodeset_size if replicated else None,
    }


def partition_replication(configuration: ClusterConfiguration) -> str | None:
    """None: on every worker."""
    if not configuration.HasField("partition_replication"):
        return None
    return configuration.partition_replication.replication_property


def log_replication(configuration: ClusterConfiguration) -> str:
    """CtlError if the provider is replicated and does not say how."""
    provider = configuration.bifrost_provider
    if not provider.HasField("replication_property"):
        raise CtlError("the node answered a replicated provider without a replication property")
    return provider.replication_property.replication_property
