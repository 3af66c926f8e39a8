"""Frames of the service protocol: what goes over a connection between a server and an SDK.

    type u16 | flags u16 | length u32 | protobuf payload          all numbers big-endian

The one flag asks for an acknowledgement. The length is looked at before a byte of the payload is
kept, so that nobody fills the memory of a node with one number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from restate_node.types.attempts import MalformedMessage, MessageTooLarge, ServiceFrame

_HEADER = struct.Struct(">HHI")
HEADER_BYTES: Final = _HEADER.size
REQUESTED_ACK: Final = 0x8000


def encode_head(kind: int, payload_bytes: int, flags: int = 0) -> bytes:
    """The header in front of a payload of this length."""
    return _HEADER.pack(kind, flags, payload_bytes)


def encode_frame(kind: int, payload: bytes, flags: int = 0) -> bytes:
    """Header and payload."""
    return _HEADER.pack(kind, flags, len(payload)) + payload


class FrameDecoder:
    """Takes pieces of a stream, gives the frames that they complete."""

    def __init__(self, message_bytes_max: int) -> None:
        self._message_bytes_max = message_bytes_max
        self._pending = bytearray()
        self._is_broken = False

    @property
    def is_between_frames(self) -> bool:
        """No frame has begun that did not end."""
        return not self._pending

    def receive(self, data: bytes) -> Iterator[ServiceFrame]:
        """The frames that `data` completes; MessageTooLarge after the ones before it. To be
        exhausted before the next call, or never again called.
        """
        if self._is_broken:
            raise MalformedMessage("the stream was given up at a frame before")
        self._pending += data
        start = 0
        try:
            while (end := self._end_of_frame(start)) is not None:
                kind, flags, _ = _HEADER.unpack_from(self._pending, start)
                with memoryview(self._pending) as view:
                    payload = bytes(view[start + HEADER_BYTES : end])
                start = end
                yield ServiceFrame(kind, flags, payload)
        finally:
            del self._pending[:start]

    def _end_of_frame(self, start: int) -> int | None:
        """Where the frame that begins there ends, if all of it is here."""
        if len(self._pending) - start < HEADER_BYTES:
            return None
        kind, _, length = _HEADER.unpack_from(self._pending, start)
        if length > self._message_bytes_max:
            self._is_broken = True
            del self._pending[start + HEADER_BYTES :]
            raise MessageTooLarge(
                f"a message of type {kind:#06x} and {length} bytes: "
                f"at most {self._message_bytes_max} are taken"
            )
        end = start + HEADER_BYTES + length
        return end if end <= len(self._pending) else None
