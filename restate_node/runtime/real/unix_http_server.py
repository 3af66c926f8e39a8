"""An application behind a unix socket, in HTTP/1.1 and cleartext HTTP/2.

hypercorn is used per connection: its `serve` installs signal handlers, waits without limit for
connections to finish, and knows nothing of our tasks. Here the accept loop, the set of
connections and the stop are ours, and hypercorn turns bytes into ASGI calls.

Whoever comes by TCP is spliced to this socket (`front_splice`); the control plane and the HTTP/2
side of the ingress are served here.

Invariants: at most `connections_max` connections; an exception costs at most the connection it
occurred on; after a cancellation `run` returns within `stop_grace_ms` + 200 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path

import structlog
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config

from restate_node.runtime.real.front_address import AddressUnusable
from restate_node.runtime.real.unix_http_connection import Connection, Serves

logger = structlog.get_logger(__name__)

ABORT_WAIT_S = 0.2
PROBE_TIMEOUT_S = 0.5
SOCKET_PATH_BYTES_MAX = 107
"""What the kernel's sockaddr_un holds besides its final zero."""


@dataclass(frozen=True, slots=True)
class UnixHttpOptions:
    """Limits of the server."""

    connections_max: int
    concurrent_calls_max: int
    """Per connection."""
    idle_timeout_ms: int
    """Before a connection without a call is closed; clients connect again by themselves."""
    stop_grace_ms: int
    """For calls in flight when the server stops."""

    def validate(self) -> None:
        for name in ("connections_max", "concurrent_calls_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")
        if not 0 <= self.stop_grace_ms <= 800:
            raise ValueError("stop_grace_ms must be within 0..800: a stop takes less than 1 s")


class UnixHttpServer:
    """Serves one application until it is cancelled."""

    def __init__(
        self, name: str, application: Serves, socket_path: Path, options: UnixHttpOptions
    ) -> None:
        options.validate()
        self._name = name
        self._options = options
        self._socket_path = socket_path
        self._application = application
        self._config = _server_config(options)
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self.started = asyncio.Event()
        """Set once the socket accepts connections."""

    @property
    def connection_count(self) -> int:
        return len(self._connections)

    async def run(self) -> None:
        """Serve until cancelled; raises AddressUnusable if the socket cannot be bound."""
        context = WorkerContext(None)
        server = await self._listen(context)
        self.started.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            server.close()
            await self._stop(context)
            remove_socket(self._socket_path)

    async def _listen(self, context: WorkerContext) -> asyncio.Server:
        await make_way(self._socket_path)

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._accept(context, reader, writer)

        try:
            return await asyncio.start_unix_server(accept, self._socket_path)
        except OSError as error:
            raise AddressUnusable(
                f"cannot listen on {self._socket_path}: {error.strerror or error}; "
                "set base-dir to a directory that this user may write to"
            ) from error

    def _accept(
        self, context: WorkerContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if len(self._connections) >= self._options.connections_max:
            connections_max = self._options.connections_max
            logger.warning(f"{self._name} is full", connections_max=connections_max)
            writer.transport.abort()
            return
        idle_timeout_s = self._options.idle_timeout_ms / 1000
        connection = Connection(self._application, reader, writer, idle_timeout_s)
        task = asyncio.ensure_future(connection.run(self._config, context))
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    async def _stop(self, context: WorkerContext) -> None:
        """Idle connections end at once, calls in flight within the grace; the rest is cut."""
        await context.terminated.set()
        for connection in self._connections.values():
            connection.stop()
        try:
            if self._connections:
                grace_s = self._options.stop_grace_ms / 1000
                await asyncio.wait(list(self._connections), timeout=grace_s)
        finally:
            left = list(self._connections.items())
            for task, connection in left:
                connection.abort()
                task.cancel()
        if left:
            await asyncio.wait([task for task, _ in left], timeout=ABORT_WAIT_S)


def _server_config(options: UnixHttpOptions) -> Config:
    """hypercorn's settings: no logs of its own, no limit on the requests of a connection."""
    config = Config()
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.include_date_header = False
    config.keep_alive_max_requests = 2**62
    config.h2_max_concurrent_streams = options.concurrent_calls_max
    return config


async def make_way(path: Path) -> None:
    """Removes the socket of a process that died; raises AddressUnusable if one is listening."""
    if len(str(path).encode()) > SOCKET_PATH_BYTES_MAX:
        raise AddressUnusable(
            f"the path of the socket {path} is longer than {SOCKET_PATH_BYTES_MAX} bytes; "
            "set base-dir to a shorter path"
        )
    if await is_listening(path):
        raise AddressUnusable(
            f"another process serves {path}; stop it, or set another base-dir or node-name"
        )
    remove_socket(path)


def remove_socket(path: Path) -> None:
    """Removes a socket file, if there is one; any other file stays and makes the bind fail."""
    if path.is_socket():
        path.unlink(missing_ok=True)


async def is_listening(path: Path) -> bool:
    """Whether somebody accepts connections on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await asyncio.get_running_loop().sock_connect(probe, str(path))
                return True
    return False
