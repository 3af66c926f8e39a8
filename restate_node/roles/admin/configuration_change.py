"""Changing the configuration of a running cluster.

    wanted ─▶ allowed? ─▶ feasible? ─▶ partition table (compare-and-swap)
                                  └──▶ logs            (compare-and-swap)

What cannot be satisfied by the nodes of the cluster is refused unless forced: accepted, it would
stop the logs or leave partitions without a home, and nobody would know why. Only what
changes is judged, so that a cluster which lost nodes can still be changed for the better.

The two objects are written one after the other. If the second write fails, the first has taken
effect; the same request again completes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from restate_node.cluster.metadata_cache import KEY_OF, MetadataCache
from restate_node.cluster.metadata_errors import MetadataRejected, MetadataUnavailable
from restate_node.protocol.cluster_view import ClusterView
from restate_node.protocol.nodesets import CannotPlace, select_nodeset
from restate_node.protocol.placement import unplaceable
from restate_node.roles.admin.epochs import MetadataStore
from restate_node.types.cluster_configuration import ClusterConfiguration, refused_change
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import LogId, Version
from restate_node.types.logs import ProviderKind
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import NodesConfiguration
from restate_node.types.partitions import PartitionTable
from restate_node.wire.logs import decode_logs, encode_logs
from restate_node.wire.partitions import decode_partition_table, encode_partition_table
from restate_node.wire.storage_codec import CodecError


class UpdatableStore(MetadataStore, Protocol):
    """The metadata store with its retried compare-and-swap."""

    async def update(self, key: str, edit: Callable[[bytes | None], bytes | None]) -> bytes | None:
        """`edit` gives None to leave the value as it is."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a change is not made. Only what the nodes cannot satisfy yet can be forced."""

    reason: str
    forcible: bool


def refusal_of(metadata: MetadataCache, wanted: ClusterConfiguration) -> Refusal | None:
    """Why the cluster should not be changed so; None if it can be."""
    current = ClusterConfiguration.of(metadata.logs.value, metadata.partition_table.value)
    never = refused_change(current, wanted)
    if never is not None:
        return Refusal(never, forcible=False)
    nodes = metadata.nodes.value
    reason = None
    if wanted.provider != current.provider:
        reason = infeasible_log_replication(wanted, nodes)
    if reason is None and wanted.partition_replication != current.partition_replication:
        reason = infeasible_partition_replication(wanted, nodes)
    return None if reason is None else Refusal(reason, forcible=True)


async def change_configuration(
    metadata: MetadataCache,
    store: UpdatableStore,
    wanted: ClusterConfiguration,
    *,
    force: bool = False,
) -> None:
    """Write what differs. Raises GrpcError; safe to repeat. `force`: also what cannot be met yet.

    Cancellation-safe in each object: it has the old value or the new one.
    """
    _check(refusal_of(metadata, wanted), force)
    try:
        await _update(
            metadata, store, MetadataKind.PARTITION_TABLE, lambda blob: _edit_table(blob, wanted)
        )
        await _update(metadata, store, MetadataKind.LOGS, lambda blob: _edit_logs(blob, wanted))
    except MetadataUnavailable as error:
        raise GrpcError(
            StatusCode.UNAVAILABLE,
            f"the metadata store did not confirm the change, which may have been applied: {error}",
        ) from None
    except (MetadataRejected, CodecError) as error:
        raise GrpcError(
            StatusCode.INTERNAL, f"the configuration was not changed: {error}"
        ) from None


def infeasible_log_replication(
    wanted: ClusterConfiguration, nodes: NodesConfiguration
) -> str | None:
    """Why no log server could store the logs so; None if some can."""
    if wanted.provider.kind is not ProviderKind.REPLICATED:
        return None
    choice = select_nodeset(
        LogId(0),
        wanted.provider.replication,
        nodes,
        size_target=wanted.provider.target_nodeset_size,
    )
    return f"log {choice.reason}" if isinstance(choice, CannotPlace) else None


def infeasible_partition_replication(
    wanted: ClusterConfiguration, nodes: NodesConfiguration
) -> str | None:
    """Why partitions could not be placed so, even with every worker alive; None if they could."""
    alive = frozenset(node.current_generation for node in nodes.members())
    table = PartitionTable.equal_ranges(1, wanted.partition_replication)
    view = ClusterView(nodes=nodes, table=table, epochs={}, alive=alive)
    if not unplaceable(view):
        return None
    return (
        f"partition replication {wanted.partition_replication} cannot be met by "
        f"{len(view.workers())} active workers; add workers or lower the replication"
    )


def _check(refusal: Refusal | None, force: bool) -> None:
    if refusal is None or (refusal.forcible and force):
        return
    if refusal.forcible:
        raise GrpcError(StatusCode.FAILED_PRECONDITION, refusal.reason)
    text = f"failed read-modify-write operation: {refusal.reason}"
    raise GrpcError(StatusCode.INTERNAL, text)


async def _update(
    metadata: MetadataCache,
    store: UpdatableStore,
    kind: MetadataKind,
    edit: Callable[[bytes | None], bytes | None],
) -> None:
    blob = await store.update(KEY_OF[kind], edit)
    if blob is not None:
        metadata.install_blob(kind, blob)


def _edit_table(blob: bytes | None, wanted: ClusterConfiguration) -> bytes | None:
    table = decode_partition_table(_provisioned(blob))
    if not table.partitions and wanted.partition_count:
        return encode_partition_table(_first_partitions(table, wanted))
    if len(table.partitions) != wanted.partition_count:
        raise GrpcError(StatusCode.ABORTED, "the partition table changed meanwhile; try again")
    if table.replication == wanted.partition_replication:
        return None
    version = Version(table.version + 1)
    changed = replace(table, version=version, replication=wanted.partition_replication)
    return encode_partition_table(changed)


def _first_partitions(table: PartitionTable, wanted: ClusterConfiguration) -> PartitionTable:
    """The only repartitioning there is: from none."""
    version = Version(table.version + 1)
    count, replication = wanted.partition_count, wanted.partition_replication
    try:
        return PartitionTable.equal_ranges(count, replication, version)
    except ValueError as error:
        raise GrpcError(StatusCode.INVALID_ARGUMENT, str(error)) from None


def _edit_logs(blob: bytes | None, wanted: ClusterConfiguration) -> bytes | None:
    logs = decode_logs(_provisioned(blob))
    if logs.configuration == wanted.provider:
        return None
    changed = replace(logs, version=Version(logs.version + 1), configuration=wanted.provider)
    return encode_logs(changed)


def _provisioned(blob: bytes | None) -> bytes:
    if blob is None:
        raise GrpcError(StatusCode.UNAVAILABLE, "the cluster is not provisioned yet")
    return blob
