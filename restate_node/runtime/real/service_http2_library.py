"""What is used of the HTTP/2 library, with types: it has none that a strict checker accepts.

`jh2` is `h2` with its header compression in Rust; measured against it, an exchange costs a third
less. Driven by `service_http2`.
"""

# pyright: reportMissingTypeStubs=false
from __future__ import annotations

from typing import Any, Protocol, cast

from jh2.config import H2Configuration
from jh2.connection import H2Connection
from jh2.errors import ErrorCodes
from jh2.events import (
    DataReceived,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from jh2.exceptions import H2Error, StreamClosedError
from jh2.settings import SettingCodes, Settings

__all__ = [
    "CodeOrNumber",
    "DataEvent",
    "DataReceived",
    "ErrorCodes",
    "H2Error",
    "HeadEvent",
    "Library",
    "PeerSettings",
    "PingAckReceived",
    "RemoteSettingsChanged",
    "ResetEvent",
    "ResponseReceived",
    "StreamClosedError",
    "StreamEnded",
    "StreamEvent",
    "StreamReset",
    "WindowUpdated",
    "code_name",
    "new_library",
]

CodeOrNumber = ErrorCodes | int


class PeerSettings(Protocol):
    """What the peer asked for."""

    @property
    def max_concurrent_streams(self) -> int: ...


class Library(Protocol):
    """The state of one connection, without I/O."""

    @property
    def remote_settings(self) -> PeerSettings: ...

    @property
    def max_outbound_frame_size(self) -> int: ...

    def data_to_send(self) -> bytes: ...

    def end_stream(self, stream_id: int) -> None: ...

    def get_next_available_stream_id(self) -> int: ...

    def increment_flow_control_window(
        self, increment: int, stream_id: int | None = None
    ) -> None: ...

    def initiate_connection(self) -> None: ...

    def local_flow_control_window(self, stream_id: int) -> int: ...

    def ping(self, opaque_data: bytes) -> None: ...

    def receive_data(self, data: bytes) -> list[object]: ...

    def reset_stream(self, stream_id: int, error_code: int) -> None: ...

    def send_data(self, stream_id: int, data: bytes, end_stream: bool) -> None: ...

    def send_headers(self, stream_id: int, headers: list[tuple[str, str]]) -> None: ...


class StreamEvent(Protocol):
    """Something happened to a stream; to the connection when the number is 0."""

    stream_id: int


class HeadEvent(StreamEvent, Protocol):
    headers: list[tuple[bytes, bytes]]


class DataEvent(StreamEvent, Protocol):
    data: bytes
    flow_controlled_length: int


class ResetEvent(StreamEvent, Protocol):
    error_code: CodeOrNumber
    remote_reset: bool


def new_library(stream_window_bytes: int, head_bytes_max: int) -> Library:
    """The client's side of a connection, before its first byte.

    Headers are not checked: what goes out is made here, what comes in is passed to nobody who
    could be hurt by it, and each check costs as much as the rest of an exchange.
    """
    connection: Any = H2Connection(
        H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
            normalize_inbound_headers=False,
        )
    )
    # Replaced as a whole: a change of single settings is announced, but counts only when confirmed.
    connection.local_settings = Settings(
        client=True,
        initial_values={
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: stream_window_bytes,
            SettingCodes.MAX_HEADER_LIST_SIZE: head_bytes_max,
        },
    )
    return cast("Library", connection)


def code_name(code: CodeOrNumber) -> str:
    """As the standard calls it, or the number."""
    try:
        return ErrorCodes(code).name
    except ValueError:
        return str(code)
