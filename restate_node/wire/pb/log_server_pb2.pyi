from restate_node.wire.pb import log_server_common_pb2 as _log_server_common_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetDigestRequest(_message.Message):
    __slots__ = ("loglet_id", "from_offset", "to_offset")
    LOGLET_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    TO_OFFSET_FIELD_NUMBER: _ClassVar[int]
    loglet_id: int
    from_offset: int
    to_offset: int
    def __init__(self, loglet_id: _Optional[int] = ..., from_offset: _Optional[int] = ..., to_offset: _Optional[int] = ...) -> None: ...

class GetDigestResponse(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: _log_server_common_pb2.Digest
    def __init__(self, digest: _Optional[_Union[_log_server_common_pb2.Digest, _Mapping]] = ...) -> None: ...

class GetLogletInfoRequest(_message.Message):
    __slots__ = ("loglet_id",)
    LOGLET_ID_FIELD_NUMBER: _ClassVar[int]
    loglet_id: int
    def __init__(self, loglet_id: _Optional[int] = ...) -> None: ...

class GetLogletInfoResponse(_message.Message):
    __slots__ = ("info",)
    INFO_FIELD_NUMBER: _ClassVar[int]
    info: _log_server_common_pb2.LogletInfo
    def __init__(self, info: _Optional[_Union[_log_server_common_pb2.LogletInfo, _Mapping]] = ...) -> None: ...
