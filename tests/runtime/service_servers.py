"""Small HTTP servers that run the services of the contract suite over real sockets.

The services are written once, against the call of the simulator; here the same call is made of
HTTP/2 (server side of the library) and of HTTP/1.1 (by hand). Written for tests: one loop, no
limits, no mercy.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ParamSpec

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from restate_node.runtime.services import Headers, RequestHead
from restate_node.sim.services import CallerGone, Service

LIMIT_SECONDS = 20.0
Parameters = ParamSpec("Parameters")


def limited(
    test: Callable[Parameters, Coroutine[Any, Any, None]],
) -> Callable[Parameters, Coroutine[Any, Any, None]]:
    """A test that hangs fails. A fixture cannot do that: it runs in a task of its own."""

    @wraps(test)
    async def within(*arguments: Parameters.args, **named: Parameters.kwargs) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            await test(*arguments, **named)

    return within


class Call:
    """What a service sees; the connection fills it and empties it."""

    def __init__(self, head: RequestHead, flush: Callable[[Call], None]) -> None:
        self.head = head
        self.number = 0
        self.arrived = bytearray()
        self.taken_bytes = 0
        self.request_ended = False
        self.gone = False
        self.status = 0
        self.headers: Headers = ()
        self.head_sent = False
        self.out = bytearray()
        self.finished = False
        self._flush = flush
        self.changed = asyncio.Event()

    async def receive(self) -> bytes:
        while not self.arrived:
            if self.gone:
                raise CallerGone("reset")
            if self.request_ended:
                return b""
            self.changed.clear()
            await self.changed.wait()
        data = bytes(self.arrived)
        self.arrived.clear()
        self.taken_bytes += len(data)
        self._flush(self)
        return data

    def start(self, status: int, headers: Headers = ()) -> None:
        self.status, self.headers = status, headers
        self._flush(self)

    def send(self, data: bytes) -> None:
        if not self.gone:
            self.out += data
            self._flush(self)

    async def drained(self) -> None:
        while len(self.out) > 256 * 1024 and not self.gone:
            self.changed.clear()
            await self.changed.wait()


@dataclass
class ServerPlan:
    """How an HTTP/2 server misbehaves, and what it saw."""

    service: Service
    streams_max: int = 100
    goaway_after: int = 0
    """GOAWAY that names the last stream, once so many were opened on a connection."""
    forgets: bool = False
    """After GOAWAY nothing that was begun is answered, and the next frame ends the connection."""
    refuse_first: int = 0
    """Answer so many streams, over all connections, with REFUSED_STREAM."""
    connections: list[Http2Server] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[Headers] = field(default_factory=list)


class Http2Server(asyncio.Protocol):
    """One accepted connection."""

    def __init__(self, plan: ServerPlan) -> None:
        self.plan = plan
        self.calls: dict[int, Call] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.opened = 0
        self.reset_count = 0
        self.is_open = True
        self.last_stream_id: int | None = None
        self.library = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.plan.connections.append(self)
        self.library.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: self.plan.streams_max,
                SettingCodes.INITIAL_WINDOW_SIZE: 256 * 1024,
            },
        )
        self.library.initiate_connection()
        self.write()

    def write(self) -> None:
        if self.is_open and (data := self.library.data_to_send()):
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        for call in self.calls.values():
            call.gone = True
            call.changed.set()

    def data_received(self, data: bytes) -> None:
        try:
            events = self.library.receive_data(data)
        except ProtocolError:
            self.write()
            self.transport.close()
            return
        for event in events:
            match event:
                case RequestReceived():
                    self.begin(event)
                case DataReceived():
                    call = self.calls.get(event.stream_id)
                    if call is not None:
                        call.arrived += event.data
                        call.changed.set()
                case StreamEnded():
                    if event.stream_id in self.calls:
                        self.calls[event.stream_id].request_ended = True
                        self.calls[event.stream_id].changed.set()
                case StreamReset():
                    self.reset_count += 1
                    call = self.calls.pop(event.stream_id, None)
                    if call is not None:
                        call.gone = True
                        call.changed.set()
                case WindowUpdated():
                    for call in list(self.calls.values()):
                        self.flush(call)
        self.write()

    def begin(self, event: RequestReceived) -> None:
        number = event.stream_id
        fields = dict(event.headers)
        self.opened += 1
        if self.plan.refuse_first > 0:
            self.plan.refuse_first -= 1
            self.library.reset_stream(number, ErrorCodes.REFUSED_STREAM)
            return
        if self.last_stream_id is not None and number > self.last_stream_id:
            return
        headers = tuple((k, v) for k, v in event.headers if not k.startswith(":"))
        head = RequestHead(fields[":method"], fields[":path"], headers)
        self.plan.paths.append(head.path)
        self.plan.headers.append(headers)
        call = self.calls[number] = Call(head, self.flush)
        call.number = number
        task = asyncio.ensure_future(self.run(call))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        if self.opened == self.plan.goaway_after:
            self.goaway(number)

    def goaway(self, last_stream_id: int, code: int = 0) -> None:
        """Say that this connection ends, as servers do that go on with what they have begun."""
        self.last_stream_id = last_stream_id
        if self.plan.forgets:
            self.library.close_connection()
            self.write()
            return
        payload = last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + b"bye"
        self.write()
        self.transport.write(len(payload).to_bytes(3, "big") + b"\7\0" + bytes(4) + payload)

    async def run(self, call: Call) -> None:
        try:
            await self.plan.service(call)
        except CallerGone:
            return
        except Exception:
            if self.is_open and call.number in self.calls:
                del self.calls[call.number]
                self.library.reset_stream(call.number, ErrorCodes.INTERNAL_ERROR)
                self.write()
            return
        call.finished = True
        self.flush(call)

    def flush(self, call: Call) -> None:
        """As much of the response as flow control lets out, and credit for what was taken."""
        if not self.is_open or call.number not in self.calls:
            return
        if call.taken_bytes:
            if not call.request_ended:
                self.library.acknowledge_received_data(call.taken_bytes, call.number)
            else:
                self.library.increment_flow_control_window(call.taken_bytes)
            call.taken_bytes = 0
        if call.status and not call.head_sent:
            call.head_sent = True
            self.library.send_headers(call.number, [(":status", str(call.status)), *call.headers])
        while call.out:
            size = min(
                self.library.local_flow_control_window(call.number),
                self.library.max_outbound_frame_size,
                len(call.out),
            )
            if size <= 0:
                break
            self.library.send_data(call.number, bytes(call.out[:size]))
            del call.out[:size]
            call.changed.set()
        if call.finished and not call.out:
            self.library.end_stream(call.number)
            del self.calls[call.number]
        self.write()


@asynccontextmanager
async def http2_server(
    plan: ServerPlan, security: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A listening server; its URI."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Http2Server(plan), "127.0.0.1", 0, ssl=security)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if security else 'http'}://127.0.0.1:{port}"
    finally:
        server.close()
        for connection in plan.connections:
            connection.transport.abort()
            for task in list(connection.tasks):
                task.cancel()
        await asyncio.sleep(0)


# ---------------------------------------------------------------- HTTP/1.1


class Http1Server:
    """Chunked and content-length, one request after the other."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.connection_count = 0
        self.requests: list[tuple[RequestHead, bool]] = []
        """Heads, and whether the body came in chunks."""
        self.serving: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection_count += 1
        task = asyncio.current_task()
        assert task
        self.serving[task] = writer
        try:
            while await self.one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        method, path, _ = lines[0].split(" ")
        pairs = [line.split(": ", 1) for line in lines[1:]]
        headers = tuple((name, value) for name, value in pairs)
        head = RequestHead(method, path, headers)
        fields = dict(headers)
        chunked = fields.get("transfer-encoding") == "chunked"
        self.requests.append((head, chunked))
        call = Call(head, lambda call: None)
        if chunked:
            while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                call.arrived += await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        else:
            call.arrived += await reader.readexactly(int(fields.get("content-length", "0")))
        call.request_ended = True
        running = asyncio.ensure_future(self.service(call))
        while not running.done() or call.out:
            await asyncio.wait([running], timeout=0.005)
            if running.done() and running.exception() is not None:
                return False
            await self.answer(call, writer)
        await self.answer(call, writer)
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def answer(self, call: Call, writer: asyncio.StreamWriter) -> None:
        if call.status and not call.head_sent:
            call.head_sent = True
            lines = [f"HTTP/1.1 {call.status} Fine", "Transfer-Encoding: chunked"]
            lines += [f"{name}: {value}" for name, value in call.headers]
            writer.write("\r\n".join([*lines, "", ""]).encode())
        if call.out:
            out, call.out = call.out, bytearray()
            writer.write(f"{len(out):x}\r\n".encode() + bytes(out) + b"\r\n")
            call.changed.set()
        await writer.drain()


@asynccontextmanager
async def http1_server(service: Service) -> AsyncIterator[tuple[str, Http1Server]]:
    """A listening server; its URI and itself."""
    served = Http1Server(service)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", served
    finally:
        server.close()
        for task, writer in served.serving.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*served.serving, return_exceptions=True)


class Scripted(asyncio.Protocol):
    """Answers the n-th read with the n-th bytes, then hangs up, resets, or stays."""

    def __init__(self, answers: tuple[bytes, ...], then: str) -> None:
        self.answers = list(answers)
        self.then = then

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.answers:
            self.transport.write(self.answers.pop(0))
        if self.answers:
            return
        if self.then == "close":
            self.transport.close()
        elif self.then == "reset":
            self.transport.abort()


@asynccontextmanager
async def scripted_server(*answers: bytes, then: str = "close") -> AsyncIterator[str]:
    """A listening server, the same for every connection; its URI."""
    loop = asyncio.get_running_loop()
    accepted: list[Scripted] = []

    def accept() -> Scripted:
        accepted.append(Scripted(answers, then))
        return accepted[-1]

    server = await loop.create_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for connection in accepted:
            connection.transport.abort()
        await asyncio.sleep(0)
