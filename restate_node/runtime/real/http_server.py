"""An ASGI application on a TCP port, served by uvicorn inside our loop as one task.

uvicorn alone would install signal handlers, configure logging and decide when the process ends.
Here it does none of that: the socket is bound first, so that a port in use is one line for the
operator; cancelling `run` stops accepting, gives requests in flight `stop_grace_s`, and cuts the
rest. Its import is put off until a server runs, because most commands never start one.

Sizes of bodies are the application's to bound; the number of requests at once is bounded here.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from restate_node.runtime.real.front_address import ListenAddress
from restate_node.runtime.real.listener import listen

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApplication: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

STOP_MARGIN_S = 1.0


@dataclass(frozen=True, slots=True)
class HttpServerOptions:
    """Limits of one server."""

    requests_max: int = 1024
    """At once; beyond it the answer is 503."""
    backlog_max: int = 1024
    keep_alive_s: int = 75
    stop_grace_s: int = 1
    """For requests in flight when the server stops."""


class HttpServer:
    """Serves one application until cancelled."""

    def __init__(
        self,
        application: AsgiApplication,
        address: ListenAddress,
        options: HttpServerOptions | None = None,
    ) -> None:
        self._application = application
        self._address = address
        self._options = options or HttpServerOptions()
        self._bound: ListenAddress | None = None
        self.started = asyncio.Event()
        """Set once the socket accepts connections."""

    @property
    def bound(self) -> ListenAddress:
        """Where it listens; the asked-for address until then."""
        return self._bound or self._address

    async def run(self) -> None:
        """Serve until cancelled; raises AddressUnusable if the address cannot be bound."""
        sockets = await listen(self._address, self._options.backlog_max)
        self._bound = ListenAddress(*sockets[0].getsockname()[:2])
        server = uvicorn_server(self._application, self._options, self.started.set)
        serving = asyncio.ensure_future(server.serve(sockets=sockets))
        try:
            await asyncio.shield(serving)
        finally:
            server.should_exit = True
            await asyncio.wait([serving], timeout=self._options.stop_grace_s + STOP_MARGIN_S)
            serving.cancel()
            for listening in sockets:
                listening.close()


def _know_all_statuses() -> None:
    """uvicorn looks its status lines up, and breaks off the answer above 599, which handlers may
    choose as their code.
    """
    from uvicorn.protocols.http import httptools_impl

    lines: dict[int, bytes] = httptools_impl.STATUS_LINE
    for status in range(600, 1000):
        lines.setdefault(status, f"HTTP/1.1 {status} \r\n".encode())


def uvicorn_server(
    application: AsgiApplication, options: HttpServerOptions, on_started: Callable[[], None]
) -> Any:
    """A uvicorn that leaves the process alone."""
    import uvicorn

    _know_all_statuses()

    class Embedded(uvicorn.Server):
        """Leaves signals to the node."""

        @contextlib.contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_started()

    config: Any = uvicorn.Config(
        application,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=options.backlog_max,
        limit_concurrency=options.requests_max,
        timeout_keep_alive=options.keep_alive_s,
        timeout_graceful_shutdown=options.stop_grace_s,
    )
    return Embedded(config)
