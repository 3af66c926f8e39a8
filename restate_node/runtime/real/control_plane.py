"""The control plane of a node: all gRPC services, `/health` and `/metrics`, on one unix socket.

restatectl unix:… ─────────────────────────────▶ fabric.sock ─▶ hypercorn ─▶ Application
restatectl http://node:5122 ─▶ Front ─ splice ──────▲            (HTTP/2 cleartext, HTTP/1.1)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from restate_node.runtime.real.control_plane_application import Application
from restate_node.runtime.real.control_plane_endpoints import AnyMethod
from restate_node.runtime.real.control_plane_methods import PageHandler
from restate_node.runtime.real.unix_http_server import UnixHttpOptions, UnixHttpServer


@dataclass(frozen=True, slots=True)
class ControlPlaneOptions:
    """Limits of the control plane."""

    connections_max: int = 512
    concurrent_calls_max: int = 100
    """Per connection."""
    message_bytes_max: int = 32 * 1024 * 1024
    """Of a request, before and after decompression."""
    body_timeout_ms: int = 30_000
    """For a request's body to arrive."""
    idle_timeout_ms: int = 120_000
    """Before a connection without a call is closed; clients connect again by themselves."""
    stop_grace_ms: int = 700
    """For calls in flight when the server stops."""

    def validate(self) -> None:
        if self.message_bytes_max < 1:
            raise ValueError("message_bytes_max must be at least 1")
        self.of_server().validate()

    def of_server(self) -> UnixHttpOptions:
        """What concerns connections."""
        return UnixHttpOptions(
            connections_max=self.connections_max,
            concurrent_calls_max=self.concurrent_calls_max,
            idle_timeout_ms=self.idle_timeout_ms,
            stop_grace_ms=self.stop_grace_ms,
        )


class ControlPlane:
    """Serves a method table and pages on a unix socket until it is cancelled."""

    def __init__(
        self,
        methods: Sequence[AnyMethod],
        pages: Mapping[str, PageHandler],
        socket_path: Path,
        options: ControlPlaneOptions | None = None,
    ) -> None:
        options = options or ControlPlaneOptions()
        options.validate()
        application = Application(
            methods,
            pages,
            message_bytes_max=options.message_bytes_max,
            body_timeout_ms=options.body_timeout_ms,
        )
        self._server = UnixHttpServer(
            "control plane", application, socket_path, options.of_server()
        )

    @property
    def started(self) -> asyncio.Event:
        """Set once the socket accepts connections."""
        return self._server.started

    @property
    def connection_count(self) -> int:
        return self._server.connection_count

    async def run(self) -> None:
        """Serve until cancelled; raises AddressUnusable if the socket cannot be bound."""
        await self._server.run()
