from google.protobuf import empty_pb2 as _empty_pb2
from restate_node.wire.pb import common_pb2 as _common_pb2
from restate_node.wire.pb import metadata_pb2 as _metadata_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetRequest(_message.Message):
    __slots__ = ("key", "cluster_fingerprint", "cluster_name")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_NAME_FIELD_NUMBER: _ClassVar[int]
    key: str
    cluster_fingerprint: int
    cluster_name: str
    def __init__(self, key: _Optional[str] = ..., cluster_fingerprint: _Optional[int] = ..., cluster_name: _Optional[str] = ...) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("key", "value", "precondition", "cluster_fingerprint", "cluster_name")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    PRECONDITION_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_NAME_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: _metadata_pb2.VersionedValue
    precondition: _metadata_pb2.Precondition
    cluster_fingerprint: int
    cluster_name: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_metadata_pb2.VersionedValue, _Mapping]] = ..., precondition: _Optional[_Union[_metadata_pb2.Precondition, _Mapping]] = ..., cluster_fingerprint: _Optional[int] = ..., cluster_name: _Optional[str] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("key", "precondition", "cluster_fingerprint", "cluster_name")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PRECONDITION_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_NAME_FIELD_NUMBER: _ClassVar[int]
    key: str
    precondition: _metadata_pb2.Precondition
    cluster_fingerprint: int
    cluster_name: str
    def __init__(self, key: _Optional[str] = ..., precondition: _Optional[_Union[_metadata_pb2.Precondition, _Mapping]] = ..., cluster_fingerprint: _Optional[int] = ..., cluster_name: _Optional[str] = ...) -> None: ...

class GetResponse(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: _metadata_pb2.VersionedValue
    def __init__(self, value: _Optional[_Union[_metadata_pb2.VersionedValue, _Mapping]] = ...) -> None: ...

class GetVersionResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: _common_pb2.Version
    def __init__(self, version: _Optional[_Union[_common_pb2.Version, _Mapping]] = ...) -> None: ...

class ProvisionRequest(_message.Message):
    __slots__ = ("nodes_configuration",)
    NODES_CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    nodes_configuration: bytes
    def __init__(self, nodes_configuration: _Optional[bytes] = ...) -> None: ...

class ProvisionResponse(_message.Message):
    __slots__ = ("newly_provisioned",)
    NEWLY_PROVISIONED_FIELD_NUMBER: _ClassVar[int]
    newly_provisioned: bool
    def __init__(self, newly_provisioned: _Optional[bool] = ...) -> None: ...

class RemoveNodeRequest(_message.Message):
    __slots__ = ("plain_node_id", "created_at_millis")
    PLAIN_NODE_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_MILLIS_FIELD_NUMBER: _ClassVar[int]
    plain_node_id: int
    created_at_millis: int
    def __init__(self, plain_node_id: _Optional[int] = ..., created_at_millis: _Optional[int] = ...) -> None: ...

class StatusResponse(_message.Message):
    __slots__ = ("status", "configuration", "leader", "snapshot", "raft")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CONFIGURATION_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    RAFT_FIELD_NUMBER: _ClassVar[int]
    status: _common_pb2.MetadataServerStatus
    configuration: MetadataServerConfiguration
    leader: int
    snapshot: SnapshotSummary
    raft: RaftSummary
    def __init__(self, status: _Optional[_Union[_common_pb2.MetadataServerStatus, str]] = ..., configuration: _Optional[_Union[MetadataServerConfiguration, _Mapping]] = ..., leader: _Optional[int] = ..., snapshot: _Optional[_Union[SnapshotSummary, _Mapping]] = ..., raft: _Optional[_Union[RaftSummary, _Mapping]] = ...) -> None: ...

class MetadataServerConfiguration(_message.Message):
    __slots__ = ("version", "members")
    class MembersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: int
        def __init__(self, key: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    version: _common_pb2.Version
    members: _containers.ScalarMap[int, int]
    def __init__(self, version: _Optional[_Union[_common_pb2.Version, _Mapping]] = ..., members: _Optional[_Mapping[int, int]] = ...) -> None: ...

class SnapshotSummary(_message.Message):
    __slots__ = ("index", "size")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    index: int
    size: int
    def __init__(self, index: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class RaftSummary(_message.Message):
    __slots__ = ("term", "applied", "committed", "first_index", "last_index")
    TERM_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    FIRST_INDEX_FIELD_NUMBER: _ClassVar[int]
    LAST_INDEX_FIELD_NUMBER: _ClassVar[int]
    term: int
    applied: int
    committed: int
    first_index: int
    last_index: int
    def __init__(self, term: _Optional[int] = ..., applied: _Optional[int] = ..., committed: _Optional[int] = ..., first_index: _Optional[int] = ..., last_index: _Optional[int] = ...) -> None: ...
