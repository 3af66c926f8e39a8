from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class ProtocolVersion(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PV_UNKNOWN: _ClassVar[ProtocolVersion]
    V2: _ClassVar[ProtocolVersion]
    V3: _ClassVar[ProtocolVersion]

class NodeStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NS_UNKNOWN: _ClassVar[NodeStatus]
    ALIVE: _ClassVar[NodeStatus]
    STARTING_UP: _ClassVar[NodeStatus]
    SHUTTING_DOWN: _ClassVar[NodeStatus]

class WorkerStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WS_UNKNOWN: _ClassVar[WorkerStatus]
    WS_READY: _ClassVar[WorkerStatus]
    WS_STARTING_UP: _ClassVar[WorkerStatus]

class AdminStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AS_UNKNOWN: _ClassVar[AdminStatus]
    AS_READY: _ClassVar[AdminStatus]
    AS_STARTING_UP: _ClassVar[AdminStatus]

class LogServerStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LS_UNKNOWN: _ClassVar[LogServerStatus]
    LS_READY: _ClassVar[LogServerStatus]
    LS_STARTING_UP: _ClassVar[LogServerStatus]
    LS_FAILSAFE: _ClassVar[LogServerStatus]
    LS_STOPPING: _ClassVar[LogServerStatus]

class MetadataServerStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MS_UNKNOWN: _ClassVar[MetadataServerStatus]
    MS_STARTING_UP: _ClassVar[MetadataServerStatus]
    MS_AWAITING_PROVISIONING: _ClassVar[MetadataServerStatus]
    MS_MEMBER: _ClassVar[MetadataServerStatus]
    MS_STANDBY: _ClassVar[MetadataServerStatus]

class MetadataKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MK_UNKNOWN: _ClassVar[MetadataKind]
    NODES_CONFIGURATION: _ClassVar[MetadataKind]
    SCHEMA: _ClassVar[MetadataKind]
    PARTITION_TABLE: _ClassVar[MetadataKind]
    LOGS: _ClassVar[MetadataKind]

class DatabaseKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DK_UNSPECIFIED: _ClassVar[DatabaseKind]
    DK_PARTITION_STORE: _ClassVar[DatabaseKind]
    DK_LOG_SERVER: _ClassVar[DatabaseKind]
    DK_METADATA_SERVER: _ClassVar[DatabaseKind]
    DK_LOCAL_LOGLET: _ClassVar[DatabaseKind]
PV_UNKNOWN: ProtocolVersion
V2: ProtocolVersion
V3: ProtocolVersion
NS_UNKNOWN: NodeStatus
ALIVE: NodeStatus
STARTING_UP: NodeStatus
SHUTTING_DOWN: NodeStatus
WS_UNKNOWN: WorkerStatus
WS_READY: WorkerStatus
WS_STARTING_UP: WorkerStatus
AS_UNKNOWN: AdminStatus
AS_READY: AdminStatus
AS_STARTING_UP: AdminStatus
LS_UNKNOWN: LogServerStatus
LS_READY: LogServerStatus
LS_STARTING_UP: LogServerStatus
LS_FAILSAFE: LogServerStatus
LS_STOPPING: LogServerStatus
MS_UNKNOWN: MetadataServerStatus
MS_STARTING_UP: MetadataServerStatus
MS_AWAITING_PROVISIONING: MetadataServerStatus
MS_MEMBER: MetadataServerStatus
MS_STANDBY: MetadataServerStatus
MK_UNKNOWN: MetadataKind
NODES_CONFIGURATION: MetadataKind
SCHEMA: MetadataKind
PARTITION_TABLE: MetadataKind
LOGS: MetadataKind
DK_UNSPECIFIED: DatabaseKind
DK_PARTITION_STORE: DatabaseKind
DK_LOG_SERVER: DatabaseKind
DK_METADATA_SERVER: DatabaseKind
DK_LOCAL_LOGLET: DatabaseKind

class NodeId(_message.Message):
    __slots__ = ("id", "generation")
    ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    id: int
    generation: int
    def __init__(self, id: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class GenerationalNodeId(_message.Message):
    __slots__ = ("id", "generation")
    ID_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    id: int
    generation: int
    def __init__(self, id: _Optional[int] = ..., generation: _Optional[int] = ...) -> None: ...

class LeaderEpoch(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: int
    def __init__(self, value: _Optional[int] = ...) -> None: ...

class Lsn(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: int
    def __init__(self, value: _Optional[int] = ...) -> None: ...

class Version(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: int
    def __init__(self, value: _Optional[int] = ...) -> None: ...
