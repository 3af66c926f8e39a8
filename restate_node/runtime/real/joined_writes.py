"""A transport whose writes of one turn of the loop are one write to the socket.

    write head, write body ─▶ pieces ─ end of the turn ─▶ one write

An HTTP server writes the head of a response and then its body. Each write is a system call, a
segment, and a wake-up of the client, and costs more than all that Python does in between.

Invariants: bytes keep their order, also before a close; no more than `HELD_BYTES_MAX` wait here, so
that the flow control of the transport beneath sees them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

HELD_BYTES_MAX: Final = 64 * 1024


class JoinedWrites(asyncio.Transport):
    """Over another transport, for the protocol that writes."""

    __slots__ = ("_held", "_held_bytes", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held: list[bytes] = []
        self._held_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(bytes(data))
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES_MAX:
            self._flush()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def can_write_eof(self) -> bool:
        return self._transport.can_write_eof()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._held.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._held_bytes + self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()

    def _flush(self) -> None:
        """Also the second call of a turn, which finds nothing."""
        held, self._held = self._held, []
        self._held_bytes = 0
        if held:
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))
