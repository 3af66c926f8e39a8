"""A client with one kept connection: what a closed loop of calls needs of HTTP/1.1, and no more."""

from __future__ import annotations

import asyncio
from typing import Final

HOST: Final = "127.0.0.1"


class Caller:
    """One request at a time. Errors are those of asyncio's streams; close it after one."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer, which has to tell its length."""
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(HOST, self._port)
        kind = "content-type: application/json\r\n" if body else ""
        head = f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\n{kind}content-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        return int(answer[9:12]), await self._reader.readexactly(_length(answer))

    def close(self) -> None:
        """Idempotent; the next request connects again."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            return int(value)
    raise OSError("the answer does not tell its length")
