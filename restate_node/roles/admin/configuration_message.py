"""The cluster configuration as the message that `config get`, `config set` and `provision` use."""

from __future__ import annotations

from restate_node.types.cluster_configuration import ClusterConfiguration
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.logs import ProviderConfiguration, ProviderKind
from restate_node.types.replication import ReplicationProperty
from restate_node.wire.pb import cluster_pb2


def configuration_message(configuration: ClusterConfiguration) -> cluster_pb2.ClusterConfiguration:
    """An absent partition replication means: on every worker."""
    provider = configuration.provider
    replicated = provider.kind is ProviderKind.REPLICATED
    return cluster_pb2.ClusterConfiguration(
        num_partitions=configuration.partition_count,
        partition_replication=_replication_message(configuration.partition_replication),
        bifrost_provider=cluster_pb2.BifrostProvider(
            provider=provider.kind.value,
            replication_property=_replication_message(provider.replication) if replicated else None,
            target_nodeset_size=provider.target_nodeset_size if replicated else 0,
        ),
    )


def read_configuration(message: cluster_pb2.ClusterConfiguration) -> ClusterConfiguration:
    """The whole configuration; raises INVALID_ARGUMENT with what is wrong in it."""
    provider = message.bifrost_provider
    kind = read_provider_kind(provider.provider)
    if kind is ProviderKind.REPLICATED and not provider.HasField("replication_property"):
        raise _invalid("provider 'replicated' needs a replication_property")
    replication = (
        read_replication(provider.replication_property)
        if provider.HasField("replication_property")
        else ReplicationProperty.of_nodes(1)
    )
    return ClusterConfiguration(
        partition_count=message.num_partitions,
        partition_replication=(
            read_replication(message.partition_replication)
            if message.HasField("partition_replication")
            else None
        ),
        provider=ProviderConfiguration(kind, replication, provider.target_nodeset_size),
    )


def read_replication(message: cluster_pb2.ReplicationProperty) -> ReplicationProperty:
    """Raises INVALID_ARGUMENT."""
    try:
        return ReplicationProperty.parse(message.replication_property)
    except ValueError as error:
        raise _invalid(str(error)) from None


def read_provider_kind(text: str) -> ProviderKind:
    """Raises INVALID_ARGUMENT."""
    try:
        return ProviderKind(text)
    except ValueError:
        known = ", ".join(kind.value for kind in ProviderKind)
        raise _invalid(f"{text!r} is not a log provider; use one of {known}") from None


def _replication_message(
    replication: ReplicationProperty | None,
) -> cluster_pb2.ReplicationProperty | None:
    if replication is None:
        return None
    return cluster_pb2.ReplicationProperty(replication_property=str(replication))


def _invalid(message: str) -> GrpcError:
    return GrpcError(StatusCode.INVALID_ARGUMENT, message)
