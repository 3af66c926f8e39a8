import builtins
from restate_node.wire.pb import common_pb2 as _common_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PreconditionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PK_UNKNOWN: _ClassVar[PreconditionKind]
    NONE: _ClassVar[PreconditionKind]
    DOES_NOT_EXIST: _ClassVar[PreconditionKind]
    MATCHES_VERSION: _ClassVar[PreconditionKind]
PK_UNKNOWN: PreconditionKind
NONE: PreconditionKind
DOES_NOT_EXIST: PreconditionKind
MATCHES_VERSION: PreconditionKind

class VersionedValue(_message.Message):
    __slots__ = ("version", "bytes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    version: _common_pb2.Version
    bytes: builtins.bytes
    def __init__(self, version: _Optional[_Union[_common_pb2.Version, _Mapping]] = ..., bytes: _Optional[builtins.bytes] = ...) -> None: ...

class Precondition(_message.Message):
    __slots__ = ("kind", "version")
    KIND_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    kind: PreconditionKind
    version: _common_pb2.Version
    def __init__(self, kind: _Optional[_Union[PreconditionKind, str]] = ..., version: _Optional[_Union[_common_pb2.Version, _Mapping]] = ...) -> None: ...
