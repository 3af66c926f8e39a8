"""The partition table and the epoch metadata of a partition as bytes.

A partition's log is written as null when it has the partition's own number. Replication is a
number when only nodes count (`{"limit": 2}`), a text when zones or regions do, and `"everywhere"`
in tables of old clusters. Policies are left out while they say nothing; the epoch of very old
objects is their version.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from restate_node.types.ids import (
    GenerationalNodeId,
    LeaderEpoch,
    LogId,
    PartitionId,
    PlainNodeId,
    Version,
)
from restate_node.types.nodes import NodeLocation
from restate_node.types.partitions import (
    EpochMetadata,
    KeyRange,
    LeaderAffinity,
    LeadershipPolicy,
    LocationAffinity,
    NodeAffinity,
    Partition,
    PartitionTable,
    PlacementPolicy,
    ReplicaSetConfiguration,
)
from restate_node.types.replication import LocationScope, ReplicationProperty
from restate_node.wire.storage_codec import U16, U32, U63, decode_object, encode_shape


class _KeyRange(msgspec.Struct):
    start: int
    end: int


class _Partition(msgspec.Struct):
    key_range: _KeyRange
    log_id: U32 | None = None
    db_name: str | None = None
    cf_name: str | None = None


class _Limit(msgspec.Struct):
    limit: int | str | dict[LocationScope, int]


class _PartitionTable(msgspec.Struct):
    version: U32
    num_partitions: int
    partitions: list[tuple[U16, _Partition]]
    replication: Literal["everywhere"] | _Limit = "everywhere"


class _ReplicaSet(msgspec.Struct):
    version: U32
    replication: str
    replica_set: list[U32]
    modified_at: U63 = 0
    context: dict[str, str] = msgspec.field(default_factory=dict[str, str])


class _Leader(msgspec.Struct):
    partition_id: U16
    node_id: tuple[U32, U32]


class _Affinity(msgspec.Struct):
    node: U32 | UnsetType = msgspec.field(name="Node", default=UNSET)
    location: str | UnsetType = msgspec.field(name="Location", default=UNSET)


class _Freeze(msgspec.Struct):
    reason: str = ""


class _LeadershipPolicy(msgspec.Struct):
    affinity: _Affinity | UnsetType | None = UNSET
    freeze: _Freeze | UnsetType | None = UNSET


class _PlacementPolicy(msgspec.Struct):
    freeze: _Freeze | UnsetType | None = UNSET


class _EpochMetadata(msgspec.Struct):
    version: U32
    leader_metadata: _Leader | None = None
    epoch: U63 | None = None
    current: _ReplicaSet | None = None
    next: _ReplicaSet | None = None
    leadership_policy: _LeadershipPolicy | UnsetType | None = UNSET
    placement_policy: _PlacementPolicy | UnsetType | None = UNSET


def decode_partition_table(data: bytes) -> PartitionTable:
    """From either encoding; CodecError if it is not one."""
    return decode_object(data, _PartitionTable, _build_table)


def encode_partition_table(table: PartitionTable) -> bytes:
    """The JSON frame."""
    ordered = sorted(table.partitions.values(), key=lambda partition: partition.id)
    return encode_shape(
        _PartitionTable(
            version=table.version,
            num_partitions=len(ordered),
            partitions=[(partition.id, _partition_shape(partition)) for partition in ordered],
            replication=_replication_shape(table.replication),
        )
    )


def decode_epoch_metadata(data: bytes) -> EpochMetadata:
    """From either encoding; CodecError if it is not one."""
    return decode_object(data, _EpochMetadata, _build_epoch_metadata)


def encode_epoch_metadata(metadata: EpochMetadata, partition: PartitionId) -> bytes:
    """The JSON frame; the partition's number is repeated beside the leader."""
    leader = metadata.leader
    return encode_shape(
        _EpochMetadata(
            version=metadata.version,
            leader_metadata=leader and _Leader(partition, (leader.id, leader.generation)),
            epoch=metadata.epoch,
            current=_replica_set_shape(metadata.current),
            next=_replica_set_shape(metadata.next),
            leadership_policy=_leadership_shape(metadata.leadership_policy),
            placement_policy=_placement_shape(metadata.placement_policy),
        )
    )


def _build_table(shape: _PartitionTable) -> PartitionTable:
    if shape.num_partitions != len(shape.partitions):
        raise ValueError(
            f"{shape.num_partitions} partitions announced, {len(shape.partitions)} listed"
        )
    partitions = {
        PartitionId(number): _build_partition(PartitionId(number), partition)
        for number, partition in shape.partitions
    }
    return PartitionTable(Version(shape.version), partitions, _build_replication(shape.replication))


def _build_partition(number: PartitionId, shape: _Partition) -> Partition:
    log = LogId(number if shape.log_id is None else shape.log_id)
    key_range = KeyRange(shape.key_range.start, shape.key_range.end)
    return Partition(number, log, key_range, cf_name=shape.cf_name, db_name=shape.db_name)


def _partition_shape(partition: Partition) -> _Partition:
    return _Partition(
        key_range=_KeyRange(partition.key_range.start, partition.key_range.end),
        log_id=None if partition.log_id == partition.id else partition.log_id,
        db_name=partition.db_name,
        cf_name=partition.cf_name,
    )


def _build_replication(shape: Literal["everywhere"] | _Limit) -> ReplicationProperty | None:
    if not isinstance(shape, _Limit):
        return None
    match shape.limit:
        case int() as copies:
            return ReplicationProperty.of_nodes(copies)
        case str() as text:
            return ReplicationProperty.parse(text)
        case dict() as factors:
            return ReplicationProperty.of(factors)


def _replication_shape(
    replication: ReplicationProperty | None,
) -> Literal["everywhere"] | _Limit:
    if replication is None:
        return "everywhere"
    node_only = replication.scopes == frozenset((LocationScope.NODE,))
    return _Limit(replication.copies if node_only else str(replication))


def _build_epoch_metadata(shape: _EpochMetadata) -> EpochMetadata:
    epoch = shape.version if shape.epoch is None else shape.epoch
    return EpochMetadata(
        version=Version(shape.version),
        epoch=LeaderEpoch(epoch),
        leader=_build_leader(shape.leader_metadata),
        current=_build_replica_set(shape.current),
        next=_build_replica_set(shape.next),
        leadership_policy=_build_leadership(shape.leadership_policy),
        placement_policy=_build_placement(shape.placement_policy),
    )


def _build_leader(shape: _Leader | None) -> GenerationalNodeId | None:
    if shape is None:
        return None
    node, generation = shape.node_id
    return GenerationalNodeId(PlainNodeId(node), generation)


def _build_replica_set(shape: _ReplicaSet | None) -> ReplicaSetConfiguration | None:
    if shape is None:
        return None
    return ReplicaSetConfiguration(
        version=Version(shape.version),
        replication=ReplicationProperty.parse(shape.replication),
        replica_set=tuple(PlainNodeId(node) for node in shape.replica_set),
        modified_at=shape.modified_at,
        context=shape.context,
    )


def _replica_set_shape(replica_set: ReplicaSetConfiguration | None) -> _ReplicaSet | None:
    if replica_set is None:
        return None
    return _ReplicaSet(
        version=replica_set.version,
        replication=str(replica_set.replication),
        replica_set=list(replica_set.replica_set),
        modified_at=replica_set.modified_at,
        context=dict(replica_set.context),
    )


def _build_leadership(shape: _LeadershipPolicy | UnsetType | None) -> LeadershipPolicy:
    if not isinstance(shape, _LeadershipPolicy):
        return LeadershipPolicy()
    return LeadershipPolicy(_build_affinity(shape.affinity), _freeze_reason(shape.freeze))


def _build_affinity(shape: _Affinity | UnsetType | None) -> LeaderAffinity | None:
    if not isinstance(shape, _Affinity):
        return None
    if not isinstance(shape.node, UnsetType):
        return NodeAffinity(PlainNodeId(shape.node))
    if not isinstance(shape.location, UnsetType):
        return LocationAffinity(NodeLocation.parse(shape.location))
    raise ValueError("a leader affinity names neither Node nor Location")


def _build_placement(shape: _PlacementPolicy | UnsetType | None) -> PlacementPolicy:
    if not isinstance(shape, _PlacementPolicy):
        return PlacementPolicy()
    return PlacementPolicy(_freeze_reason(shape.freeze))


def _freeze_reason(shape: _Freeze | UnsetType | None) -> str | None:
    return shape.reason if isinstance(shape, _Freeze) else None


def _leadership_shape(policy: LeadershipPolicy) -> _LeadershipPolicy | UnsetType:
    if policy == LeadershipPolicy():
        return UNSET
    return _LeadershipPolicy(
        affinity=_affinity_shape(policy.affinity), freeze=_freeze_shape(policy.freeze_reason)
    )


def _affinity_shape(affinity: LeaderAffinity | None) -> _Affinity | UnsetType:
    match affinity:
        case None:
            return UNSET
        case NodeAffinity(node):
            return _Affinity(node=node)
        case LocationAffinity(location):
            return _Affinity(location=str(location))


def _placement_shape(policy: PlacementPolicy) -> _PlacementPolicy | UnsetType:
    if policy == PlacementPolicy():
        return UNSET
    return _PlacementPolicy(freeze=_freeze_shape(policy.freeze_reason))


def _freeze_shape(reason: str | None) -> _Freeze | UnsetType:
    return UNSET if reason is None else _Freeze(reason)
