"""The front: who gets a connection, and what happens to those that nobody wants."""

import asyncio
import errno
import http.client
import resource
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc
import pytest
import structlog
import uvloop
from google.protobuf.empty_pb2 import Empty

from restate_node.runtime.real import listener
from restate_node.runtime.real.control_plane import ControlPlane
from restate_node.runtime.real.control_plane_methods import GrpcMethod, Page
from restate_node.runtime.real.front import FRAME_MAGIC, Front, FrontOptions
from restate_node.runtime.real.front_address import AddressUnusable, ListenAddress
from restate_node.runtime.real.front_splice import SpliceAcceptor
from restate_node.wire.pb import node_ctl_svc_pb2
from tests.runtime.waiting import until

LOCAL = ListenAddress("127.0.0.1", 0)
NODE = "restate.node_ctl_svc.NodeCtlSvc"


class Echo(asyncio.Protocol):
    """A data plane that sends back what it gets, in capitals."""

    def __init__(self, transport: asyncio.Transport, head: bytes) -> None:
        self.transport = transport
        self.data_received(head)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Both loops that a node may run on."""
    with asyncio.Runner(loop_factory=request.param) as made:
        yield made


@asynccontextmanager
async def running(*services: Front | ControlPlane) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(service.run()) for service in services]
    try:
        for service in services:
            await service.started.wait()
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def unix_server(path: Path, serve: Callable[..., object]) -> AsyncIterator[SpliceAcceptor]:
    """Something behind the splice, and the splice."""
    server = await asyncio.start_unix_server(serve, path)
    try:
        yield SpliceAcceptor(path)
    finally:
        server.close()


async def connect(front: Front) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(front.bound.host, front.bound.port)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Until the end; a reset is an end too."""
    with suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), 5)
    return b""


def control_plane(path: Path) -> ControlPlane:
    async def ident(_: Empty) -> node_ctl_svc_pb2.IdentResponse:
        return node_ctl_svc_pb2.IdentResponse(cluster_name="test")

    async def health() -> Page:
        return Page(200, "application/json", b"{}")

    method = GrpcMethod(NODE, "GetIdent", Empty, node_ctl_svc_pb2.IdentResponse, ident)
    return ControlPlane([method], {"/health": health}, path)


def test_frames_go_to_the_data_plane(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Goal: no byte is lost or doubled in the switch. Method: the magic whole and in parts."""

    async def scenario() -> None:
        front = Front(LOCAL, Echo, SpliceAcceptor(tmp_path / "none").accept)
        async with running(front):
            for parts in ([FRAME_MAGIC + b"hello"], [b"R", b"S", b"TNhel", b"lo"]):
                reader, writer = await connect(front)
                for part in parts:
                    writer.write(part)
                    await asyncio.sleep(0)
                assert await asyncio.wait_for(reader.readexactly(9), 5) == b"RSTNHELLO"
                writer.write(b" again")
                assert await asyncio.wait_for(reader.readexactly(6), 5) == b" AGAIN"
                writer.close()
                await writer.wait_closed()
            assert front.unidentified_count == 0

    runner.run(scenario())


def test_http_goes_to_the_control_plane(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Goal: HTTP/1.1 and gRPC on the node's port. Method: http.client and grpcio at once."""

    def get_health(port: int) -> tuple[int, bytes]:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        client.request("GET", "/health")
        response = client.getresponse()
        answer = (response.status, response.read())
        client.close()
        return answer

    async def scenario() -> None:
        path = tmp_path / "fabric.sock"
        front = Front(LOCAL, Echo, SpliceAcceptor(path).accept)
        async with running(control_plane(path), front):
            answers = await asyncio.gather(
                *(asyncio.to_thread(get_health, front.bound.port) for _ in range(3))
            )
            assert answers == [(200, b"{}")] * 3

    runner.run(scenario())


async def test_grpc_goes_to_the_control_plane(tmp_path: Path) -> None:
    """Goal: as above. Method: grpcio's client on the node's port."""
    path = tmp_path / "fabric.sock"
    splice = SpliceAcceptor(path)
    front = Front(LOCAL, Echo, splice.accept)
    async with running(control_plane(path), front):
        async with grpc.aio.insecure_channel(str(front.bound)) as channel:
            answer = await channel.unary_unary(f"/{NODE}/GetIdent")(b"", timeout=10)
            assert splice.open_count == 1
        assert node_ctl_svc_pb2.IdentResponse.FromString(answer).cluster_name == "test"


def test_those_who_come_at_once_are_let_in_at_once(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Goal: a loaded node, whose turns take long, lets a crowd in. Method: count turns."""

    async def scenario() -> None:
        front = Front(LOCAL, Echo, SpliceAcceptor(tmp_path / "none").accept)
        async with running(front):
            address = (front.bound.host, front.bound.port)
            crowd = [socket.create_connection(address, timeout=5) for _ in range(100)]
            turns = 0
            while front.unidentified_count < len(crowd):
                await asyncio.sleep(0)
                turns += 1
                assert turns < 20
            for connection in crowd:
                connection.close()

    runner.run(scenario())


def test_out_of_descriptors(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Goal: who cannot be let in waits, and the loop rests. Method: a limit of open files."""

    async def scenario() -> None:
        monkeypatch.setattr(listener, "PAUSE_S", 0.01)
        front = Front(LOCAL, Echo, Echo)
        async with running(front):
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            late = socket.socket()
            resource.setrlimit(resource.RLIMIT_NOFILE, (late.fileno() + 1, hard))
            try:
                with structlog.testing.capture_logs() as logs:
                    late.connect((front.bound.host, front.bound.port))
                    await until(lambda: len(logs) > 0)
                assert "ulimit -n" in logs[0]["event"]
                assert front.unidentified_count == 0
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await until(lambda: front.unidentified_count == 1)
            late.close()

    runner.run(scenario())


def test_silent_connections_are_closed(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Goal: a half-open connection costs nothing for long. Method: send nothing, or 3 bytes."""

    async def scenario() -> None:
        options = FrontOptions(identify_timeout_ms=20)
        front = Front(LOCAL, Echo, SpliceAcceptor(tmp_path / "none").accept, options)
        async with running(front):
            for part in (b"", b"RST"):
                reader, writer = await connect(front)
                writer.write(part)
                assert await read_all(reader) == b""
                writer.close()
            assert front.unidentified_count == 0

    runner.run(scenario())


def test_unidentified_connections_are_limited(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Goal: a flood is bounded. Method: two places, three silent peers; one leaves, one comes."""

    async def scenario() -> None:
        options = FrontOptions(unidentified_max=2)
        front = Front(LOCAL, Echo, SpliceAcceptor(tmp_path / "none").accept, options)
        async with running(front):
            first, second = await connect(front), await connect(front)
            refused, refused_writer = await connect(front)
            assert await read_all(refused) == b""
            assert front.unidentified_count == 2
            first[1].write(FRAME_MAGIC)
            assert await asyncio.wait_for(first[0].readexactly(4), 5) == FRAME_MAGIC
            reader, writer = await connect(front)
            writer.write(FRAME_MAGIC)
            assert await asyncio.wait_for(reader.readexactly(4), 5) == FRAME_MAGIC
            for open_writer in (first[1], second[1], refused_writer, writer):
                open_writer.close()

    runner.run(scenario())


def test_a_splice_passes_half_closes_on(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Goal: an end of input is not an end of the answer. Method: answer only after the end."""

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d" % len(await reader.read()))
        writer.close()

    async def scenario() -> None:
        async with unix_server(tmp_path / "s", count) as splice:
            front = Front(LOCAL, Echo, splice.accept)
            async with running(front):
                reader, writer = await connect(front)
                writer.write(bytes(1_000_000))
                writer.write_eof()
                assert await read_all(reader) == b"1000000"
                writer.close()
                await writer.wait_closed()
                assert splice.open_count == 0

    runner.run(scenario())


def test_a_splice_pushes_back(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Goal: a slow reader does not fill our memory. Method: the server sends 64 MiB to a client
    that does not read: it gets stuck; then the client reads, and all of it arrives."""
    total = 64 * 1024 * 1024
    sent = 0
    stuck = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < total:
            writer.write(bytes(1024 * 1024))
            sent += 1024 * 1024
            try:
                await asyncio.wait_for(asyncio.shield(writer.drain()), 0.1)
            except TimeoutError:
                stuck.set()
                await writer.drain()
        writer.close()

    async def scenario() -> None:
        async with unix_server(tmp_path / "s", flood) as splice:
            front = Front(LOCAL, Echo, splice.accept)
            async with running(front):
                reader, writer = await connect(front)
                writer.write(b"go on")
                await asyncio.wait_for(stuck.wait(), 10)
                assert sent < total
                received = 0
                while data := await asyncio.wait_for(reader.read(1024 * 1024), 10):
                    received += len(data)
                assert received == total
                writer.close()

    runner.run(scenario())


def test_a_lost_end_takes_the_other_along(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Goal: no half of a splice survives. Method: abort either end; the other one notices."""
    ended = asyncio.Queue[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readexactly(5) == b"abort":
            writer.transport.abort()
        else:
            ended.put_nowait(await read_all(reader))
            writer.close()

    async def scenario() -> None:
        async with unix_server(tmp_path / "s", serve) as splice:
            front = Front(LOCAL, Echo, splice.accept)
            async with running(front):
                reader, writer = await connect(front)
                writer.write(b"abort")
                assert await read_all(reader) == b""
                writer.close()
                reader, writer = await connect(front)
                writer.write(b"stays")
                await writer.drain()
                writer.transport.abort()
                assert await asyncio.wait_for(ended.get(), 5) == b""

    runner.run(scenario())


def test_without_a_control_plane_connections_end(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Goal: a front that starts early refuses cleanly. Method: no socket behind the splice."""

    async def scenario() -> None:
        splice = SpliceAcceptor(tmp_path / "none")
        front = Front(LOCAL, Echo, splice.accept)
        async with running(front):
            with structlog.testing.capture_logs() as logs:
                reader, writer = await connect(front)
                writer.write(b"GET /health HTTP/1.1\r\n\r\n")
                assert await read_all(reader) == b""
                writer.close()
            assert [log["event"] for log in logs] == ["control plane is not reachable"]
            assert splice.open_count == 0

    runner.run(scenario())


async def test_splices_are_limited(tmp_path: Path) -> None:
    """Goal: descriptors are bounded. Method: one place, two connections."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        await reader.read()
        writer.close()

    async with unix_server(tmp_path / "s", serve) as unlimited:
        splice = SpliceAcceptor(unlimited._socket_path, splices_max=1)
        front = Front(LOCAL, Echo, splice.accept)
        async with running(front):
            reader, writer = await connect(front)
            writer.write(b"first")
            assert await asyncio.wait_for(reader.readexactly(5), 5) == b"first"
            with structlog.testing.capture_logs():
                refused, refused_writer = await connect(front)
                refused_writer.write(b"other")
                assert await read_all(refused) == b""
            writer.close()
            refused_writer.close()


async def test_an_acceptor_that_fails_costs_one_connection(tmp_path: Path) -> None:
    """Goal: the front survives a bug behind it. Method: an acceptor that raises."""

    def refuse(_transport: asyncio.Transport, _head: bytes) -> asyncio.BaseProtocol:
        raise RuntimeError("a mistake")

    front = Front(LOCAL, Echo, refuse)
    async with running(front):
        with structlog.testing.capture_logs() as logs:
            reader, writer = await connect(front)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await read_all(reader) == b""
            writer.close()
        assert [log["log_level"] for log in logs] == ["error"]
        reader, writer = await connect(front)
        writer.write(FRAME_MAGIC)
        assert await asyncio.wait_for(reader.readexactly(4), 5) == FRAME_MAGIC
        writer.close()


def test_a_used_port_is_explained(runner: asyncio.Runner, tmp_path: Path) -> None:
    """Goal: the operator knows which address and what to do. Method: bind twice."""

    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            front = Front(
                ListenAddress("127.0.0.1", port), Echo, SpliceAcceptor(tmp_path / "none").accept
            )
            with pytest.raises(AddressUnusable) as caught:
                await front.run()
        text = str(caught.value)
        assert f"127.0.0.1:{port}" in text
        assert "set another bind-address or bind-port" in text
        assert "\n" not in text
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EADDRINUSE

    runner.run(scenario())


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (ListenAddress("0.0.0.0", 5122), "0.0.0.0:5122"),
        (ListenAddress("::1", 5122), "[::1]:5122"),
    ],
)
def test_addresses_as_text(address: ListenAddress, text: str) -> None:
    """Goal: addresses read as operators write them. Method: table."""
    assert str(address) == text
