"""A service whose handler sleeps for years and suspends at once: what it answers is fixed bytes.

    GET /discover            the manifest: service Sleeper, handler sleep, request-response
    POST /invoke/…           SleepCommand, Suspension; of `nap`: OutputCommand, End

No SDK, so that a hundred thousand invocations say something about the nodes and not about it.
HTTP/1.1 on one loop, as much of it as a node sends.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from restate_node.types.journal import MessageType
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_frames import encode_frame

HOST: Final = "127.0.0.1"
VERSION: Final = 5
WAKE_UP_MS: Final = 4_102_444_800_000
"""The year 2100."""
SERVICE: Final = "Sleeper"
MANIFEST: Final = json.dumps(
    {
        "protocolMode": "REQUEST_RESPONSE",
        "minProtocolVersion": VERSION,
        "maxProtocolVersion": VERSION,
        "services": [
            {"name": SERVICE, "ty": "SERVICE", "handlers": [{"name": "sleep"}, {"name": "nap"}]}
        ],
    }
).encode()


@asynccontextmanager
async def sleeping_service(port: int) -> AsyncIterator[str]:
    """Serve as long as the context lasts; gives the URI to register."""
    connections: set[asyncio.Task[None]] = set()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "a server gives each connection a task"
        connections.add(task)
        try:
            await _converse(reader, writer)
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(connection, HOST, port, backlog=1024)
    try:
        yield f"http://{HOST}:{port}/"
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(EOFError, OSError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await _skip_body(reader, head)
            writer.write(_answer(head))
            await writer.drain()


async def _skip_body(reader: asyncio.StreamReader, head: bytes) -> None:
    if b"transfer-encoding: chunked" in head:
        while size := int(await reader.readuntil(b"\r\n"), 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
        return
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b": ")
        if name == b"content-length":
            await reader.readexactly(int(value))


def _answer(head: bytes) -> bytes:
    if head.startswith(b"get /discover"):
        return _response("application/vnd.restate.endpointmanifest.v3+json", MANIFEST)
    body = _NAP if b"/nap " in head else _SLEEP
    return _response(f"application/vnd.restate.invocation.v{VERSION}", body)


def _response(kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _frames(*messages: tuple[MessageType, bytes]) -> bytes:
    return b"".join(encode_frame(kind, payload) for kind, payload in messages)


_SLEEP: Final = _frames(
    (
        MessageType.SLEEP_COMMAND,
        pb.SleepCommandMessage(wake_up_time=WAKE_UP_MS, result_completion_id=1).SerializeToString(),
    ),
    (
        MessageType.SUSPENSION,
        pb.SuspensionMessage(waiting_completions=[1]).SerializeToString(),
    ),
)
_NAP: Final = _frames(
    (
        MessageType.OUTPUT_COMMAND,
        pb.OutputCommandMessage(value=pb.Value(content=b'"rested"')).SerializeToString(),
    ),
    (MessageType.END, b""),
)
