from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    S_UNKNOWN: _ClassVar[Status]
    OK: _ClassVar[Status]
    DISABLED: _ClassVar[Status]
    DROPPED: _ClassVar[Status]
    SEALED: _ClassVar[Status]
    SEALING: _ClassVar[Status]
    SEQUENCER_MISMATCH: _ClassVar[Status]
    OUT_OF_BOUNDS: _ClassVar[Status]
    MALFORMED: _ClassVar[Status]

class RecordStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RS_UNKNOWN: _ClassVar[RecordStatus]
    TRIMMED: _ClassVar[RecordStatus]
    ARCHIVED: _ClassVar[RecordStatus]
    EXISTS: _ClassVar[RecordStatus]
S_UNKNOWN: Status
OK: Status
DISABLED: Status
DROPPED: Status
SEALED: Status
SEALING: Status
SEQUENCER_MISMATCH: Status
OUT_OF_BOUNDS: Status
MALFORMED: Status
RS_UNKNOWN: RecordStatus
TRIMMED: RecordStatus
ARCHIVED: RecordStatus
EXISTS: RecordStatus

class ResponseHeader(_message.Message):
    __slots__ = ("status", "local_tail", "known_global_tail", "sealed")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LOCAL_TAIL_FIELD_NUMBER: _ClassVar[int]
    KNOWN_GLOBAL_TAIL_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    status: Status
    local_tail: int
    known_global_tail: int
    sealed: bool
    def __init__(self, status: _Optional[_Union[Status, str]] = ..., local_tail: _Optional[int] = ..., known_global_tail: _Optional[int] = ..., sealed: _Optional[bool] = ...) -> None: ...

class DigestEntry(_message.Message):
    __slots__ = ("from_offset", "to_offset", "status")
    FROM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TO_OFFSET_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    from_offset: int
    to_offset: int
    status: RecordStatus
    def __init__(self, from_offset: _Optional[int] = ..., to_offset: _Optional[int] = ..., status: _Optional[_Union[RecordStatus, str]] = ...) -> None: ...

class Digest(_message.Message):
    __slots__ = ("header", "entries")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    header: ResponseHeader
    entries: _containers.RepeatedCompositeFieldContainer[DigestEntry]
    def __init__(self, header: _Optional[_Union[ResponseHeader, _Mapping]] = ..., entries: _Optional[_Iterable[_Union[DigestEntry, _Mapping]]] = ...) -> None: ...

class LogletInfo(_message.Message):
    __slots__ = ("header", "trim_point")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TRIM_POINT_FIELD_NUMBER: _ClassVar[int]
    header: ResponseHeader
    trim_point: int
    def __init__(self, header: _Optional[_Union[ResponseHeader, _Mapping]] = ..., trim_point: _Optional[int] = ...) -> None: ...
