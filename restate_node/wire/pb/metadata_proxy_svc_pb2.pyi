from google.protobuf import empty_pb2 as _empty_pb2
from restate_node.wire.pb import common_pb2 as _common_pb2
from restate_node.wire.pb import metadata_pb2 as _metadata_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class PutRequest(_message.Message):
    __slots__ = ("key", "value", "precondition")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    PRECONDITION_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: _metadata_pb2.VersionedValue
    precondition: _metadata_pb2.Precondition
    def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[_metadata_pb2.VersionedValue, _Mapping]] = ..., precondition: _Optional[_Union[_metadata_pb2.Precondition, _Mapping]] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("key", "precondition")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PRECONDITION_FIELD_NUMBER: _ClassVar[int]
    key: str
    precondition: _metadata_pb2.Precondition
    def __init__(self, key: _Optional[str] = ..., precondition: _Optional[_Union[_metadata_pb2.Precondition, _Mapping]] = ...) -> None: ...

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
