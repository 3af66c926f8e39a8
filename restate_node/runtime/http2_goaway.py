"""Takes GOAWAY frames out of what an HTTP/2 peer sends, before the protocol library sees them.

GOAWAY means: these streams will be finished, start no others. The library takes it as the end of
the connection and refuses the frames of the streams that are to be finished; so a connection that
drains keeps what a peer says about leaving away from the library.

    bytes from the peer ─▶ feed ─▶ the same bytes, whole but for GOAWAY frames, and what those said

Only the nine bytes of each frame header are read; payloads pass through as they come, in pieces
of any size. A frame above the size that every peer must keep to is refused here, at its header:
that is what text of another protocol looks like, and the library would wait for all of it.

Pure. Driven by `runtime.real.service_http2`.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

HEADER_BYTES: Final = 9
GOAWAY_TYPE: Final = 0x7
PAYLOAD_BYTES_MAX: Final = 16 * 1024
"""Of any frame: the default of the standard, which this side never raises."""

HEADER: Final = Struct(">BHB")
PAYLOAD: Final = Struct(">II")
STREAM_ID_MASK: Final = 0x7FFF_FFFF


@dataclass(frozen=True, slots=True)
class Goaway:
    """The peer is leaving: it did, or will do, nothing for streams above `last_stream_id`."""

    last_stream_id: int
    error_code: int
    text: str


class FrameTooLarge(ValueError):
    """The peer does not keep to the standard, or does not speak it."""


class GoawayFilter:
    """Of one connection; bytes go in and out in the order of the wire."""

    def __init__(self) -> None:
        self._passing_bytes = 0
        """Left of the payload that passes through."""
        self._held = b""
        """A header that is not complete yet, or a GOAWAY frame that is not."""

    def feed(self, data: bytes) -> tuple[bytes, list[Goaway]]:
        """What the library may see of it, and the GOAWAY frames that ended in it.

        Raises FrameTooLarge.
        """
        if self._held:
            data, self._held = self._held + data, b""
        position, length = self._passing_bytes, len(data)
        pieces: list[bytes] = []
        leaving: list[Goaway] = []
        start = 0
        while position + HEADER_BYTES <= length:
            high, low, kind = HEADER.unpack_from(data, position)
            size = high << 16 | low
            if size > PAYLOAD_BYTES_MAX:
                raise FrameTooLarge(f"a frame of {size} bytes")
            end = position + HEADER_BYTES + size
            if kind == GOAWAY_TYPE:
                if end > length:
                    break
                pieces.append(data[start:position])
                leaving.append(_parse(data[position + HEADER_BYTES : end]))
                start = end
            position = end
        if position < length:
            self._held = data[position:]
            self._passing_bytes = 0
            return b"".join((*pieces, data[start:position])), leaving
        self._passing_bytes = position - length
        if not pieces:
            return data, leaving
        return b"".join((*pieces, data[start:])), leaving


def _parse(payload: bytes) -> Goaway:
    """A payload that is too short says the least: nothing was processed, no error."""
    if len(payload) < PAYLOAD.size:
        return Goaway(0, 0, "")
    last_stream_id, error_code = PAYLOAD.unpack_from(payload)
    text = payload[PAYLOAD.size : PAYLOAD.size + 200].decode("utf-8", "replace")
    return Goaway(last_stream_id & STREAM_ID_MASK, error_code, text)
