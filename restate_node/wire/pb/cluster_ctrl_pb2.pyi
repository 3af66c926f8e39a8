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

class TailState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TailState_UNKNOWN: _ClassVar[TailState]
    OPEN: _ClassVar[TailState]
    SEALED: _ClassVar[TailState]
TailState_UNKNOWN: TailState
OPEN: TailState
SEALED: TailState

class SetClusterConfigurationRequest(_message.Message):
    __slots__ = ("cluster_configuration",)
    CLUSTER_CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    cluster_configuration: _cluster_pb2.ClusterConfiguration
    def __init__(self, cluster_configuration: _Optional[_Union[_cluster_pb2.ClusterConfiguration, _Mapping]] = ...) -> None: ...

class SetClusterConfigurationResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetClusterConfigurationRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetClusterConfigurationResponse(_message.Message):
    __slots__ = ("cluster_configuration",)
    CLUSTER_CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    cluster_configuration: _cluster_pb2.ClusterConfiguration
    def __init__(self, cluster_configuration: _Optional[_Union[_cluster_pb2.ClusterConfiguration, _Mapping]] = ...) -> None: ...

class ClusterStateRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ClusterStateResponse(_message.Message):
    __slots__ = ("cluster_state",)
    CLUSTER_STATE_FIELD_NUMBER: _ClassVar[int]
    cluster_state: _cluster_pb2.ClusterState
    def __init__(self, cluster_state: _Optional[_Union[_cluster_pb2.ClusterState, _Mapping]] = ...) -> None: ...

class ListLogsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListLogsResponse(_message.Message):
    __slots__ = ("logs",)
    LOGS_FIELD_NUMBER: _ClassVar[int]
    logs: bytes
    def __init__(self, logs: _Optional[bytes] = ...) -> None: ...

class DescribeLogRequest(_message.Message):
    __slots__ = ("log_id",)
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    log_id: int
    def __init__(self, log_id: _Optional[int] = ...) -> None: ...

class DescribeLogResponse(_message.Message):
    __slots__ = ("chain", "tail_state", "tail_offset", "trim_point", "log_id", "logs_version", "nodes_configuration")
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    TAIL_STATE_FIELD_NUMBER: _ClassVar[int]
    TAIL_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TRIM_POINT_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    LOGS_VERSION_FIELD_NUMBER: _ClassVar[int]
    NODES_CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    chain: bytes
    tail_state: TailState
    tail_offset: int
    trim_point: int
    log_id: int
    logs_version: int
    nodes_configuration: bytes
    def __init__(self, chain: _Optional[bytes] = ..., tail_state: _Optional[_Union[TailState, str]] = ..., tail_offset: _Optional[int] = ..., trim_point: _Optional[int] = ..., log_id: _Optional[int] = ..., logs_version: _Optional[int] = ..., nodes_configuration: _Optional[bytes] = ...) -> None: ...

class TrimLogRequest(_message.Message):
    __slots__ = ("log_id", "trim_point")
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    TRIM_POINT_FIELD_NUMBER: _ClassVar[int]
    log_id: int
    trim_point: int
    def __init__(self, log_id: _Optional[int] = ..., trim_point: _Optional[int] = ...) -> None: ...

class CreatePartitionSnapshotRequest(_message.Message):
    __slots__ = ("partition_id", "min_target_lsn", "trim_log")
    PARTITION_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_TARGET_LSN_FIELD_NUMBER: _ClassVar[int]
    TRIM_LOG_FIELD_NUMBER: _ClassVar[int]
    partition_id: int
    min_target_lsn: int
    trim_log: bool
    def __init__(self, partition_id: _Optional[int] = ..., min_target_lsn: _Optional[int] = ..., trim_log: _Optional[bool] = ...) -> None: ...

class CreatePartitionSnapshotResponse(_message.Message):
    __slots__ = ("snapshot_id", "log_id", "min_applied_lsn")
    SNAPSHOT_ID_FIELD_NUMBER: _ClassVar[int]
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_APPLIED_LSN_FIELD_NUMBER: _ClassVar[int]
    snapshot_id: str
    log_id: int
    min_applied_lsn: int
    def __init__(self, snapshot_id: _Optional[str] = ..., log_id: _Optional[int] = ..., min_applied_lsn: _Optional[int] = ...) -> None: ...

class ChainExtension(_message.Message):
    __slots__ = ("segment_index", "provider", "params", "replication", "sequencer", "nodeset")
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    REPLICATION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCER_FIELD_NUMBER: _ClassVar[int]
    NODESET_FIELD_NUMBER: _ClassVar[int]
    segment_index: int
    provider: str
    params: str
    replication: _cluster_pb2.ReplicationProperty
    sequencer: _common_pb2.NodeId
    nodeset: _containers.RepeatedCompositeFieldContainer[_common_pb2.NodeId]
    def __init__(self, segment_index: _Optional[int] = ..., provider: _Optional[str] = ..., params: _Optional[str] = ..., replication: _Optional[_Union[_cluster_pb2.ReplicationProperty, _Mapping]] = ..., sequencer: _Optional[_Union[_common_pb2.NodeId, _Mapping]] = ..., nodeset: _Optional[_Iterable[_Union[_common_pb2.NodeId, _Mapping]]] = ...) -> None: ...

class SealAndExtendChainRequest(_message.Message):
    __slots__ = ("log_id", "min_version", "extension")
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_VERSION_FIELD_NUMBER: _ClassVar[int]
    EXTENSION_FIELD_NUMBER: _ClassVar[int]
    log_id: int
    min_version: _common_pb2.Version
    extension: ChainExtension
    def __init__(self, log_id: _Optional[int] = ..., min_version: _Optional[_Union[_common_pb2.Version, _Mapping]] = ..., extension: _Optional[_Union[ChainExtension, _Mapping]] = ...) -> None: ...

class SealedSegment(_message.Message):
    __slots__ = ("provider", "params", "tail_offset")
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    TAIL_OFFSET_FIELD_NUMBER: _ClassVar[int]
    provider: str
    params: str
    tail_offset: int
    def __init__(self, provider: _Optional[str] = ..., params: _Optional[str] = ..., tail_offset: _Optional[int] = ...) -> None: ...

class SealAndExtendChainResponse(_message.Message):
    __slots__ = ("new_segment_index", "sealed_segment")
    NEW_SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    SEALED_SEGMENT_FIELD_NUMBER: _ClassVar[int]
    new_segment_index: int
    sealed_segment: SealedSegment
    def __init__(self, new_segment_index: _Optional[int] = ..., sealed_segment: _Optional[_Union[SealedSegment, _Mapping]] = ...) -> None: ...

class SealChainRequest(_message.Message):
    __slots__ = ("log_id", "segment_index", "context", "tail_lsn")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    TAIL_LSN_FIELD_NUMBER: _ClassVar[int]
    log_id: int
    segment_index: int
    context: _containers.ScalarMap[str, str]
    tail_lsn: int
    def __init__(self, log_id: _Optional[int] = ..., segment_index: _Optional[int] = ..., context: _Optional[_Mapping[str, str]] = ..., tail_lsn: _Optional[int] = ...) -> None: ...

class SealChainResponse(_message.Message):
    __slots__ = ("tail_offset",)
    TAIL_OFFSET_FIELD_NUMBER: _ClassVar[int]
    tail_offset: int
    def __init__(self, tail_offset: _Optional[int] = ...) -> None: ...

class FindTailRequest(_message.Message):
    __slots__ = ("log_id",)
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    log_id: int
    def __init__(self, log_id: _Optional[int] = ...) -> None: ...

class FindTailResponse(_message.Message):
    __slots__ = ("log_id", "segment_index", "tail_state", "tail_lsn")
    LOG_ID_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_INDEX_FIELD_NUMBER: _ClassVar[int]
    TAIL_STATE_FIELD_NUMBER: _ClassVar[int]
    TAIL_LSN_FIELD_NUMBER: _ClassVar[int]
    log_id: int
    segment_index: int
    tail_state: TailState
    tail_lsn: int
    def __init__(self, log_id: _Optional[int] = ..., segment_index: _Optional[int] = ..., tail_state: _Optional[_Union[TailState, str]] = ..., tail_lsn: _Optional[int] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("query",)
    QUERY_FIELD_NUMBER: _ClassVar[int]
    query: str
    def __init__(self, query: _Optional[str] = ...) -> None: ...

class QueryResponse(_message.Message):
    __slots__ = ("encoded", "warnings")
    ENCODED_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    encoded: bytes
    warnings: _containers.RepeatedCompositeFieldContainer[QueryWarning]
    def __init__(self, encoded: _Optional[bytes] = ..., warnings: _Optional[_Iterable[_Union[QueryWarning, _Mapping]]] = ...) -> None: ...

class QueryWarning(_message.Message):
    __slots__ = ("node_id", "message")
    NODE_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    node_id: str
    message: str
    def __init__(self, node_id: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class MigrateMetadataRequest(_message.Message):
    __slots__ = ("force_override", "target_client_config")
    FORCE_OVERRIDE_FIELD_NUMBER: _ClassVar[int]
    TARGET_CLIENT_CONFIG_FIELD_NUMBER: _ClassVar[int]
    force_override: bool
    target_client_config: bytes
    def __init__(self, force_override: _Optional[bool] = ..., target_client_config: _Optional[bytes] = ...) -> None: ...

class MigrateMetadataResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SyncEpochMetadataRequest(_message.Message):
    __slots__ = ("partition_ids",)
    PARTITION_IDS_FIELD_NUMBER: _ClassVar[int]
    partition_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, partition_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class SyncEpochMetadataResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
