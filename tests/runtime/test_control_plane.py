"""The control plane over its unix socket, called by gRPC's own client and by bytes made by hand."""

import asyncio
import gzip
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import h2.connection
import h2.events
import h2.settings
import pytest
import structlog
import zstandard
from google.protobuf.empty_pb2 import Empty

from restate_node.runtime.real.control_plane import ControlPlane, ControlPlaneOptions
from restate_node.runtime.real.control_plane_methods import GrpcMethod, GrpcStreamMethod, Page
from restate_node.runtime.real.front_address import AddressUnusable
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.wire.pb import cluster_ctrl_pb2, common_pb2, node_ctl_svc_pb2
from restate_node.wire.pb.node_ctl_svc_pb2_grpc import NodeCtlSvcStub

NODE = "restate.node_ctl_svc.NodeCtlSvc"
CLUSTER = "restate.cluster_ctrl.ClusterCtrlSvc"
IDENT = f"/{NODE}/GetIdent"
METADATA = f"/{NODE}/GetMetadata"
MESSAGE_BYTES_MAX = 256 * 1024
OPTIONS = ControlPlaneOptions(message_bytes_max=MESSAGE_BYTES_MAX, connections_max=4)


class Handlers:
    """The handlers of a node; each test looks at one of them."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.proceed = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def ident(self, _: Empty) -> node_ctl_svc_pb2.IdentResponse:
        return node_ctl_svc_pb2.IdentResponse(status=common_pb2.ALIVE, cluster_name="test")

    async def metadata(
        self, request: node_ctl_svc_pb2.GetMetadataRequest
    ) -> node_ctl_svc_pb2.GetMetadataResponse:
        match request.kind:
            case common_pb2.MK_UNKNOWN:
                raise GrpcError(StatusCode.INVALID_ARGUMENT, "unknown metadata kind: ünknown %")
            case common_pb2.SCHEMA:
                raise KeyError("a mistake")
            case _:
                return node_ctl_svc_pb2.GetMetadataResponse(encoded=b"x" * 100_000)

    async def wrong(self, _: Empty) -> Any:
        return Empty()

    async def slow(
        self, _: node_ctl_svc_pb2.TriggerCompactionRequest
    ) -> node_ctl_svc_pb2.TriggerCompactionResponse:
        self.entered.set()
        try:
            await self.proceed.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return node_ctl_svc_pb2.TriggerCompactionResponse()

    async def query(
        self, request: cluster_ctrl_pb2.QueryRequest
    ) -> AsyncIterator[cluster_ctrl_pb2.QueryResponse]:
        for index in range(3):
            yield cluster_ctrl_pb2.QueryResponse(encoded=bytes([index]))
        if request.query == "broken":
            raise GrpcError(StatusCode.FAILED_PRECONDITION, "table not found")

    def methods(self, slow_timeout_ms: int = 30_000) -> list[Any]:
        pb = node_ctl_svc_pb2
        return [
            GrpcMethod(NODE, "GetIdent", Empty, pb.IdentResponse, self.ident),
            GrpcMethod(
                NODE, "GetMetadata", pb.GetMetadataRequest, pb.GetMetadataResponse, self.metadata
            ),
            GrpcMethod(NODE, "ClusterHealth", Empty, pb.ClusterHealthResponse, self.wrong),
            GrpcMethod(
                NODE,
                "TriggerCompaction",
                pb.TriggerCompactionRequest,
                pb.TriggerCompactionResponse,
                self.slow,
                timeout_ms=slow_timeout_ms,
            ),
            GrpcStreamMethod(
                CLUSTER,
                "Query",
                cluster_ctrl_pb2.QueryRequest,
                cluster_ctrl_pb2.QueryResponse,
                self.query,
            ),
        ]


async def health() -> Page:
    return Page(200, "application/json", b'{"status":"ALIVE"}')


async def broken_page() -> Page:
    raise RuntimeError("a mistake")


PAGES = {"/health": health, "/broken": broken_page}


class Node:
    """A running control plane and ways to call it."""

    def __init__(self, plane: ControlPlane, task: asyncio.Task[None], path: Path) -> None:
        self.plane = plane
        self.task = task
        self.path = path

    async def call(self, path: str, request: bytes = b"", timeout: float = 10) -> bytes:
        async with grpc.aio.insecure_channel(f"unix:{self.path}") as channel:
            return await channel.unary_unary(path)(request, timeout=timeout)


@asynccontextmanager
async def serving(
    tmp_path: Path, handlers: Handlers, options: ControlPlaneOptions = OPTIONS, **settings: int
) -> AsyncIterator[Node]:
    path = tmp_path / "fabric.sock"
    plane = ControlPlane(handlers.methods(**settings), PAGES, path, options)
    task = asyncio.create_task(plane.run())
    await plane.started.wait()
    try:
        yield Node(plane, task, path)
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def node(tmp_path: Path, handlers: Handlers) -> AsyncIterator[Node]:
    async with serving(tmp_path, handlers) as running:
        yield running


class RawAnswer:
    """What came back for a request made by hand."""

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.ended = False


def request_headers(method: str) -> list[tuple[str, str]]:
    """The headers of every gRPC call."""
    pseudo = [(":method", "POST"), (":scheme", "http"), (":path", method), (":authority", "x")]
    return [*pseudo, ("content-type", "application/grpc"), ("te", "trailers")]


async def raw_call(
    path: Path,
    method: str,
    body: bytes,
    encoding: str = "identity",
    *,
    headers: tuple[tuple[str, str], ...] = (),
) -> RawAnswer:
    """One gRPC call over HTTP/2, frame by frame, in the encoding asked for."""
    reader, writer = await asyncio.open_unix_connection(path)
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    connection.ping(b"keepaliv")
    encodings = [("grpc-encoding", encoding), ("grpc-accept-encoding", "zstd,gzip,identity")]
    connection.send_headers(1, [*request_headers(method), *encodings, *headers])
    answer = RawAnswer()
    unsent = memoryview(body)
    half_closed = False
    while not answer.ended:
        while unsent and (room := min(connection.local_flow_control_window(1), 16_384)) > 0:
            connection.send_data(1, bytes(unsent[:room]))
            unsent = unsent[room:]
        if not unsent and not half_closed:
            connection.end_stream(1)
            half_closed = True
        writer.write(connection.data_to_send())
        data = await asyncio.wait_for(reader.read(65_536), 10)
        if not data:
            break
        for event in connection.receive_data(data):
            take(event, answer, connection)
    writer.close()
    await writer.wait_closed()
    return answer


def take(event: object, answer: RawAnswer, connection: h2.connection.H2Connection) -> None:
    match event:
        case h2.events.ResponseReceived() | h2.events.TrailersReceived():
            answer.headers.update((bytes(k), bytes(v)) for k, v in event.headers)
        case h2.events.DataReceived():
            answer.body += event.data
            connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        case h2.events.StreamEnded() | h2.events.StreamReset():
            answer.ended = True
        case h2.events.PingAckReceived():
            answer.headers[b"ping"] = event.ping_data
        case _:
            pass


def envelope(message: bytes, *, compressed: bool) -> bytes:
    return struct.pack(">BI", compressed, len(message)) + message


def opened(body: bytes) -> bytes:
    """The message in an answer's only envelope, decompressed."""
    compressed, length = struct.unpack(">BI", body[:5])
    assert length == len(body) - 5
    return zstandard.ZstdDecompressor().decompressobj().decompress(body[5:]) if compressed else body


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_grpc_client_is_answered(node: Node) -> None:
    """Goal: nodes call each other with grpcio. Method: our stub on its channel."""
    async with grpc.aio.insecure_channel(f"unix:{node.path}") as channel:
        answer = await NodeCtlSvcStub(channel).GetIdent(Empty(), timeout=10)
    assert (answer.status, answer.cluster_name) == (common_pb2.ALIVE, "test")


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("zstd", zstandard.ZstdCompressor().compress),
        ("zstd", lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data)),
        ("gzip", gzip.compress),
    ],
    ids=["zstd", "zstd without size", "gzip"],
)
async def test_compressed_requests_are_answered(node: Node, encoding: str, compress: Any) -> None:
    """Goal: restatectl compresses even empty messages. Method: frames by hand, with a ping."""
    request = node_ctl_svc_pb2.GetMetadataRequest(kind=common_pb2.LOGS).SerializeToString()
    body = envelope(compress(request), compressed=True)
    answer = await raw_call(node.path, METADATA, body, encoding)
    assert answer.headers[b"grpc-status"] == b"0"
    assert answer.headers[b"grpc-encoding"] == b"zstd"
    assert answer.headers[b"ping"] == b"keepaliv"
    response = node_ctl_svc_pb2.GetMetadataResponse.FromString(opened(answer.body))
    assert response.encoded == b"x" * 100_000
    assert len(answer.body) < 1000


@pytest.mark.parametrize("path", [f"/{NODE}/Nope", "/restate.nope.Svc/Get", "/health"])
async def test_unknown_methods_are_unimplemented(node: Node, path: str) -> None:
    """Goal: a tool moves on to the next node. Method: both clients; the status is gRPC's own."""
    error = await failure(node.call(path))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.UNIMPLEMENTED,
        f"unknown method {path}",
    )
    raw = await raw_call(node.path, path, envelope(b"", compressed=False), "zstd")
    assert raw.headers[b":status"] == b"200"
    assert raw.headers[b"grpc-status"] == b"12"


async def test_errors_of_handlers_are_statuses(node: Node) -> None:
    """Goal: code and message arrive unharmed. Method: a handler that raises GrpcError."""
    error = await failure(node.call(METADATA))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "unknown metadata kind: ünknown %"


async def test_unexpected_errors_are_internal_and_logged_once(node: Node) -> None:
    """Goal: a bug costs one call and one log line. Method: a handler with a bug."""
    with structlog.testing.capture_logs() as logs:
        request = node_ctl_svc_pb2.GetMetadataRequest(kind=common_pb2.SCHEMA)
        error = await failure(node.call(METADATA, request.SerializeToString()))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "KeyError: 'a mistake'")
    assert [(log["log_level"], log["method"]) for log in logs] == [("error", METADATA)]
    assert "test_control_plane.py:" in logs[0]["where"]
    assert await node.call(IDENT)


async def test_a_response_of_the_wrong_type_is_internal(node: Node) -> None:
    """Goal: bytes of another message never leave. Method: a handler that answers Empty."""
    with structlog.testing.capture_logs():
        error = await failure(node.call(f"/{NODE}/ClusterHealth"))
    assert error.code() is grpc.StatusCode.INTERNAL


async def test_malformed_messages_are_refused(node: Node) -> None:
    """Goal: garbage is the caller's fault. Method: bytes that are no message, no zstd frame."""
    error = await failure(node.call(METADATA, b"\xff\xff"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    raw = await raw_call(node.path, IDENT, envelope(b"no frame", compressed=True), "zstd")
    assert raw.headers[b"grpc-status"] == b"3"
    unknown = await raw_call(node.path, IDENT, envelope(b"x", compressed=True), "brotli")
    assert unknown.headers[b"grpc-status"] == b"12"


async def test_large_messages_are_refused(node: Node) -> None:
    """Goal: a caller cannot fill memory. Method: one byte over the limit, then at the limit."""
    error = await failure(node.call(IDENT, bytes(MESSAGE_BYTES_MAX + 1)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    padding = b"\x7a" + b"\xfb\xff\x0f" + bytes(MESSAGE_BYTES_MAX - 5)
    assert len(padding) <= MESSAGE_BYTES_MAX
    assert await node.call(IDENT, padding)


async def test_an_early_error_keeps_the_connection(node: Node) -> None:
    """Goal: one bad call does not end the calls beside it. Method: promise a large message,
    send a burst of small frames, more than the server queues, then make another call."""
    reader, writer = await asyncio.open_unix_connection(node.path)
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    connection.send_headers(1, request_headers(IDENT))
    connection.send_data(1, struct.pack(">BI", 0, MESSAGE_BYTES_MAX + 1))
    answers = {1: RawAnswer(), 3: RawAnswer()}
    for _ in range(60):
        connection.send_data(1, bytes(1000))
    connection.end_stream(1)
    connection.send_headers(3, request_headers(IDENT))
    connection.send_data(3, envelope(b"", compressed=False), end_stream=True)
    while not (answers[1].ended and answers[3].ended):
        await exchange(connection, reader, writer, answers)
    writer.close()
    assert answers[1].headers[b"grpc-status"] == b"8"
    assert answers[3].headers[b"grpc-status"] == b"0"


async def exchange(
    connection: h2.connection.H2Connection,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    answers: dict[int, RawAnswer],
) -> None:
    """Send what is queued, then take in what comes."""
    writer.write(connection.data_to_send())
    data = await asyncio.wait_for(reader.read(65_536), 5)
    assert data, "the server closed the connection"
    for event in connection.receive_data(data):
        take(event, answers[getattr(event, "stream_id", None) or 1], connection)


@pytest.mark.parametrize("known_size", [True, False])
async def test_a_zstd_bomb_is_refused(node: Node, known_size: bool) -> None:
    """Goal: 64 MiB of zeros in 6 KiB stay zipped. Method: frames with and without their size."""
    compressor = zstandard.ZstdCompressor(write_content_size=known_size)
    bomb = compressor.compress(bytes(64 * 1024 * 1024))
    assert len(bomb) < 10_000
    answer = await raw_call(node.path, IDENT, envelope(bomb, compressed=True), "zstd")
    assert answer.headers[b"grpc-status"] == b"8"


async def test_a_gzip_bomb_is_refused(node: Node) -> None:
    """Goal and method: as above, by gzip."""
    bomb = gzip.compress(bytes(8 * 1024 * 1024))
    answer = await raw_call(node.path, IDENT, envelope(bomb, compressed=True), "gzip")
    assert answer.headers[b"grpc-status"] == b"8"


async def test_a_huge_zstd_window_is_refused(node: Node) -> None:
    """Goal: a frame cannot demand 128 MiB of memory. Method: a frame with such a window."""
    parameters = zstandard.ZstdCompressionParameters(
        window_log=27, enable_ldm=True, write_content_size=False
    )
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = writer.compress(b"x" * 1000) + writer.flush()
    answer = await raw_call(node.path, IDENT, envelope(frame, compressed=True), "zstd")
    assert answer.headers[b"grpc-status"] == b"3"


@pytest.mark.parametrize(("query", "code"), [("fine", None), ("broken", "FAILED_PRECONDITION")])
async def test_streams_are_served(node: Node, query: str, code: str | None) -> None:
    """Goal: Query streams, and may fail late. Method: read until the end."""
    request = cluster_ctrl_pb2.QueryRequest(query=query).SerializeToString()
    received: list[bytes] = []
    async with grpc.aio.insecure_channel(f"unix:{node.path}") as channel:
        try:
            async for message in channel.unary_stream(f"/{CLUSTER}/Query")(request, timeout=10):
                received.append(message)  # noqa: PERF401
            assert code is None
        except grpc.aio.AioRpcError as error:
            assert (error.code().name, error.details()) == (code, "table not found")
    encoded = [cluster_ctrl_pb2.QueryResponse.FromString(message).encoded for message in received]
    assert encoded == [b"\0", b"\1", b"\2"]


async def test_the_methods_own_deadline(tmp_path: Path, handlers: Handlers) -> None:
    """Goal: no call hangs for ever. Method: a handler that waits, with a timeout of 20 ms."""
    async with serving(tmp_path, handlers, slow_timeout_ms=20) as node:
        error = await failure(node.call(f"/{NODE}/TriggerCompaction"))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "not done after 20 ms" in (error.details() or "")
    assert handlers.cancelled.is_set()


async def test_the_callers_deadline(node: Node, handlers: Handlers) -> None:
    """Goal: nobody works for a caller that is gone. Method: grpc-timeout, then a cancelled call."""
    body = envelope(b"", compressed=False)
    path = f"/{NODE}/TriggerCompaction"
    answer = await raw_call(node.path, path, body, headers=(("grpc-timeout", "20m"),))
    assert answer.headers[b"grpc-status"] == b"4"
    handlers.entered.clear()
    handlers.cancelled.clear()
    async with grpc.aio.insecure_channel(f"unix:{node.path}") as channel:
        call = channel.unary_unary(path)(b"", timeout=10)
        await handlers.entered.wait()
        call.cancel()
        await asyncio.wait_for(handlers.cancelled.wait(), 5)


def half_request(method: str) -> h2.connection.H2Connection:
    """A client connection that has sent the headers of a call, and no body yet."""
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    connection.send_headers(1, request_headers(method))
    return connection


async def test_a_late_body_costs_the_connection(tmp_path: Path, handlers: Handlers) -> None:
    """Goal: a caller that sends half a request holds nothing. Method: 20 ms for the body."""
    options = ControlPlaneOptions(body_timeout_ms=20)
    async with serving(tmp_path, handlers, options) as node:
        with suppress(ConnectionResetError):
            await http(node.path, half_request(IDENT).data_to_send())
        assert await node.call(IDENT)


async def test_a_caller_that_vanishes_leaves_nothing(node: Node) -> None:
    """Goal: no connection leaks while an answer is being sent. Method: never read, then hang up."""
    connection = half_request(METADATA)
    request = node_ctl_svc_pb2.GetMetadataRequest(kind=common_pb2.LOGS).SerializeToString()
    connection.send_data(1, envelope(request, compressed=False), end_stream=True)
    reader, writer = await asyncio.open_unix_connection(node.path)
    writer.write(connection.data_to_send())
    assert await reader.read(1)
    tasks = list(node.plane._server._connections)
    writer.transport.abort()
    done, _ = await asyncio.wait(tasks, timeout=5)
    assert len(done) == 1
    assert node.plane.connection_count == 0


async def http(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 5)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("line", "status", "body"),
    [
        (b"GET /health", b"200", b'{"status":"ALIVE"}'),
        (b"HEAD /health", b"200", b""),
        (b"POST /health", b"405", b"use GET\n"),
        (b"GET /nope", b"404", b"not found\n"),
        (b"GET /broken", b"500", b"internal error: see the log of this node\n"),
        (b"GET /restate.node_ctl_svc.NodeCtlSvc/GetIdent", b"404", b"not found\n"),
    ],
)
async def test_pages(node: Node, line: bytes, status: bytes, body: bytes) -> None:
    """Goal: monitoring speaks plain HTTP/1.1. Method: requests by hand."""
    with structlog.testing.capture_logs() as logs:
        answer = await http(node.path, line + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    head, _, received = answer.partition(b"\r\n\r\n")
    assert head.split()[1] == status
    assert received == body
    assert len(logs) == (status == b"500")


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02 nonsense\r\n\r\n",
        b"\xff" * 70_000,
        PREFACE + bytes.fromhex("000005 00 00 00000001") + b"hello",
    ],
    ids=["line", "flood", "frame"],
)
async def test_garbage_costs_only_its_connection(node: Node, garbage: bytes) -> None:
    """Goal: a port scanner does no harm. Method: bytes of no protocol, then a good call."""
    await http(node.path, garbage)
    assert await node.call(IDENT)


@pytest.mark.parametrize("part", [b"", b"GET /hea", PREFACE, PREFACE + b"\xff" * 100])
async def test_idle_connections_end(tmp_path: Path, handlers: Handlers, part: bytes) -> None:
    """Goal: half a request holds no connection for ever. Method: an idle timeout of 20 ms."""
    async with serving(tmp_path, handlers, ControlPlaneOptions(idle_timeout_ms=20)) as node:
        with suppress(ConnectionResetError):
            await http(node.path, part)
        assert await node.call(IDENT)


async def test_connections_are_limited(node: Node) -> None:
    """Goal: descriptors are bounded. Method: one connection more than allowed is closed at once."""
    writers = [(await asyncio.open_unix_connection(node.path))[1] for _ in range(4)]
    reader, writer = await asyncio.open_unix_connection(node.path)
    with structlog.testing.capture_logs(), suppress(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 5) == b""
    assert node.plane.connection_count == 4
    for open_writer in [*writers, writer]:
        open_writer.close()


async def test_stop_lets_calls_finish(node: Node, handlers: Handlers) -> None:
    """Goal: a graceful stop. Method: stop while a call is in flight; it is answered."""
    call = asyncio.create_task(node.call(f"/{NODE}/TriggerCompaction"))
    await handlers.entered.wait()
    node.task.cancel()
    handlers.proceed.set()
    assert await call == b""
    await asyncio.wait([node.task])
    assert node.task.cancelled()
    assert not node.path.exists()


async def test_stop_does_not_wait_for_ever(tmp_path: Path, handlers: Handlers) -> None:
    """Goal: within a second, whatever callers do. Method: a call that never ends, an idle peer."""
    options = ControlPlaneOptions(stop_grace_ms=30)
    loop = asyncio.get_running_loop()
    async with serving(tmp_path, handlers, options) as node:
        _, idle = await asyncio.open_unix_connection(node.path)
        call = asyncio.create_task(node.call(f"/{NODE}/TriggerCompaction"))
        await handlers.entered.wait()
        began = loop.time()
        node.task.cancel()
        await asyncio.wait([node.task])
        assert loop.time() - began < 1
        assert node.plane.connection_count == 0
        assert (await failure(call)).code() is grpc.StatusCode.UNAVAILABLE
        assert handlers.cancelled.is_set()
        idle.close()


async def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path, handlers: Handlers) -> None:
    """Goal: a crash does not block the restart. Method: a socket file that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "fabric.sock"))
    async with serving(tmp_path, handlers) as node:
        assert await node.call(IDENT)


async def test_the_socket_of_a_living_process_is_respected(node: Node, handlers: Handlers) -> None:
    """Goal: two nodes never share a directory. Method: a second server on the same socket."""
    second = ControlPlane(handlers.methods(), PAGES, node.path)
    with pytest.raises(
        AddressUnusable, match=r"another process serves .*; stop it, or set another"
    ):
        await second.run()
    assert await node.call(IDENT)


@pytest.mark.parametrize(
    ("name", "advice"),
    [("n" * 120, "set base-dir to a shorter path"), ("no/such/dir", "set base-dir to a directory")],
)
async def test_unusable_socket_paths(
    tmp_path: Path, handlers: Handlers, name: str, advice: str
) -> None:
    """Goal: the error says what to change, in one line. Method: two bad paths."""
    with pytest.raises(AddressUnusable, match=advice) as caught:
        await ControlPlane(handlers.methods(), PAGES, tmp_path / name).run()
    assert "\n" not in str(caught.value)


def test_the_method_table_has_no_duplicates(tmp_path: Path) -> None:
    """Goal: two roles cannot claim one method. Method: the same row twice."""
    methods = Handlers().methods()
    with pytest.raises(ValueError, match="same path"):
        ControlPlane([*methods, methods[0]], PAGES, tmp_path / "s")
