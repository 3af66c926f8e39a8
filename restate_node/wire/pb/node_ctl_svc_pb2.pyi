from google.protobuf import empty_pb2 as _empty_pb2
from restate_node.wire.pb import cluster_pb2 as _cluster_pb2
from restate_node.wire.pb import common_pb2 as _common_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClusterFeature(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CF_UNKNOWN: _ClassVar[ClusterFeature]
    CONTROLLED_IDEMPOTENT_SHARDING: _ClassVar[ClusterFeature]

class AddressKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AK_UNKNOWN: _ClassVar[AddressKind]
    TCP: _ClassVar[AddressKind]
    HTTP: _ClassVar[AddressKind]
    UNIX: _ClassVar[AddressKind]

class BottommostLevelCompaction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLC_UNSPECIFIED: _ClassVar[BottommostLevelCompaction]
    BLC_SKIP: _ClassVar[BottommostLevelCompaction]
    BLC_IF_HAVE_COMPACTION_FILTER: _ClassVar[BottommostLevelCompaction]
    BLC_FORCE: _ClassVar[BottommostLevelCompaction]
    BLC_FORCE_OPTIMIZED: _ClassVar[BottommostLevelCompaction]
CF_UNKNOWN: ClusterFeature
CONTROLLED_IDEMPOTENT_SHARDING: ClusterFeature
AK_UNKNOWN: AddressKind
TCP: AddressKind
HTTP: AddressKind
UNIX: AddressKind
BLC_UNSPECIFIED: BottommostLevelCompaction
BLC_SKIP: BottommostLevelCompaction
BLC_IF_HAVE_COMPACTION_FILTER: BottommostLevelCompaction
BLC_FORCE: BottommostLevelCompaction
BLC_FORCE_OPTIMIZED: BottommostLevelCompaction

class ProvisionClusterRequest(_message.Message):
    __slots__ = ("dry_run", "num_partitions", "partition_replication", "log_provider", "log_replication", "target_nodeset_size", "disabled_features")
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    NUM_PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    PARTITION_REPLICATION_FIELD_NUMBER: _ClassVar[int]
    LOG_PROVIDER_FIELD_NUMBER: _ClassVar[int]
    LOG_REPLICATION_FIELD_NUMBER: _ClassVar[int]
    TARGET_NODESET_SIZE_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FEATURES_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    num_partitions: int
    partition_replication: _cluster_pb2.ReplicationProperty
    log_provider: str
    log_replication: _cluster_pb2.ReplicationProperty
    target_nodeset_size: int
    disabled_features: _containers.RepeatedScalarFieldContainer[ClusterFeature]
    def __init__(self, dry_run: _Optional[bool] = ..., num_partitions: _Optional[int] = ..., partition_replication: _Optional[_Union[_cluster_pb2.ReplicationProperty, _Mapping]] = ..., log_provider: _Optional[str] = ..., log_replication: _Optional[_Union[_cluster_pb2.ReplicationProperty, _Mapping]] = ..., target_nodeset_size: _Optional[int] = ..., disabled_features: _Optional[_Iterable[_Union[ClusterFeature, str]]] = ...) -> None: ...

class ProvisionClusterResponse(_message.Message):
    __slots__ = ("dry_run", "cluster_configuration", "enabled_features")
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FEATURES_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    cluster_configuration: _cluster_pb2.ClusterConfiguration
    enabled_features: _containers.RepeatedScalarFieldContainer[ClusterFeature]
    def __init__(self, dry_run: _Optional[bool] = ..., cluster_configuration: _Optional[_Union[_cluster_pb2.ClusterConfiguration, _Mapping]] = ..., enabled_features: _Optional[_Iterable[_Union[ClusterFeature, str]]] = ...) -> None: ...

class NetAddress(_message.Message):
    __slots__ = ("name", "address", "kind")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    kind: AddressKind
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., kind: _Optional[_Union[AddressKind, str]] = ...) -> None: ...

class IdentResponse(_message.Message):
    __slots__ = ("status", "node_id", "cluster_name", "roles", "age_s", "admin_status", "worker_status", "log_server_status", "metadata_server_status", "nodes_config_version", "logs_version", "schema_version", "partition_table_version", "bound_addresses", "advertised_addresses")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_NAME_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    ADMIN_STATUS_FIELD_NUMBER: _ClassVar[int]
    WORKER_STATUS_FIELD_NUMBER: _ClassVar[int]
    LOG_SERVER_STATUS_FIELD_NUMBER: _ClassVar[int]
    METADATA_SERVER_STATUS_FIELD_NUMBER: _ClassVar[int]
    NODES_CONFIG_VERSION_FIELD_NUMBER: _ClassVar[int]
    LOGS_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTITION_TABLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    BOUND_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    ADVERTISED_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.NodeStatus
    node_id: _common_pb2.NodeId
    cluster_name: str
    roles: _containers.RepeatedScalarFieldContainer[str]
    age_s: int
    admin_status: _common_pb2.AdminStatus
    worker_status: _common_pb2.WorkerStatus
    log_server_status: _common_pb2.LogServerStatus
    metadata_server_status: _common_pb2.MetadataServerStatus
    nodes_config_version: int
    logs_version: int
    schema_version: int
    partition_table_version: int
    bound_addresses: _containers.RepeatedCompositeFieldContainer[NetAddress]
    advertised_addresses: _containers.RepeatedCompositeFieldContainer[NetAddress]
    def __init__(self, status: _Optional[_Union[_common_pb2.NodeStatus, str]] = ..., node_id: _Optional[_Union[_common_pb2.NodeId, _Mapping]] = ..., cluster_name: _Optional[str] = ..., roles: _Optional[_Iterable[str]] = ..., age_s: _Optional[int] = ..., admin_status: _Optional[_Union[_common_pb2.AdminStatus, str]] = ..., worker_status: _Optional[_Union[_common_pb2.WorkerStatus, str]] = ..., log_server_status: _Optional[_Union[_common_pb2.LogServerStatus, str]] = ..., metadata_server_status: _Optional[_Union[_common_pb2.MetadataServerStatus, str]] = ..., nodes_config_version: _Optional[int] = ..., logs_version: _Optional[int] = ..., schema_version: _Optional[int] = ..., partition_table_version: _Optional[int] = ..., bound_addresses: _Optional[_Iterable[_Union[NetAddress, _Mapping]]] = ..., advertised_addresses: _Optional[_Iterable[_Union[NetAddress, _Mapping]]] = ...) -> None: ...

class GetMetadataRequest(_message.Message):
    __slots__ = ("kind",)
    KIND_FIELD_NUMBER: _ClassVar[int]
    kind: _common_pb2.MetadataKind
    def __init__(self, kind: _Optional[_Union[_common_pb2.MetadataKind, str]] = ...) -> None: ...

class GetMetadataResponse(_message.Message):
    __slots__ = ("encoded",)
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    def __init__(self, encoded: _Optional[bytes] = ...) -> None: ...

class EmbeddedMetadataClusterHealth(_message.Message):
    __slots__ = ("members",)
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[_common_pb2.NodeId]
    def __init__(self, members: _Optional[_Iterable[_Union[_common_pb2.NodeId, _Mapping]]] = ...) -> None: ...

class ClusterHealthResponse(_message.Message):
    __slots__ = ("cluster_name", "metadata_cluster_health")
    CLUSTER_NAME_FIELD_NUMBER: _ClassVar[int]
    METADATA_CLUSTER_HEALTH_FIELD_NUMBER: _ClassVar[int]
    cluster_name: str
    metadata_cluster_health: EmbeddedMetadataClusterHealth
    def __init__(self, cluster_name: _Optional[str] = ..., metadata_cluster_health: _Optional[_Union[EmbeddedMetadataClusterHealth, _Mapping]] = ...) -> None: ...

class ManualCompactionOptions(_message.Message):
    __slots__ = ("bottommost_level_compaction", "recalculate_level")
    BOTTOMMOST_LEVEL_COMPACTION_FIELD_NUMBER: _ClassVar[int]
    RECALCULATE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    bottommost_level_compaction: BottommostLevelCompaction
    recalculate_level: bool
    def __init__(self, bottommost_level_compaction: _Optional[_Union[BottommostLevelCompaction, str]] = ..., recalculate_level: _Optional[bool] = ...) -> None: ...

class TriggerCompactionRequest(_message.Message):
    __slots__ = ("databases", "options")
    DATABASES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    databases: _containers.RepeatedScalarFieldContainer[_common_pb2.DatabaseKind]
    options: ManualCompactionOptions
    def __init__(self, databases: _Optional[_Iterable[_Union[_common_pb2.DatabaseKind, str]]] = ..., options: _Optional[_Union[ManualCompactionOptions, _Mapping]] = ...) -> None: ...

class DatabaseCompactionResult(_message.Message):
    __slots__ = ("db_name", "success", "error", "column_families_compacted")
    DB_NAME_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FAMILIES_COMPACTED_FIELD_NUMBER: _ClassVar[int]
    db_name: str
    success: bool
    error: str
    column_families_compacted: int
    def __init__(self, db_name: _Optional[str] = ..., success: _Optional[bool] = ..., error: _Optional[str] = ..., column_families_compacted: _Optional[int] = ...) -> None: ...

class TriggerCompactionResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[DatabaseCompactionResult]
    def __init__(self, results: _Optional[_Iterable[_Union[DatabaseCompactionResult, _Mapping]]] = ...) -> None: ...
