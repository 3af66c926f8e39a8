"""An ASGI application as a service of the cluster, without a socket between them.

    node ── exchange ── ServiceCall ─▶ http.request … http.disconnect ─▶ app(scope, receive, send)
                                    ◀─ http.response.start, .body …   ◀──┘

Both directions are open at once, as over HTTP/2. The application runs in a life of its own, which
may be ended in mid-handler as kill -9 would (on a loop of the simulator) or by cancelling what runs
(on an ordinary one). What it keeps in variables of its module survives that, unlike in a process of
its own: a test that relies on losing it must clear it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from restate_node.sim.hosts import Incarnation
from restate_node.sim.services import CallerGone, ServiceCall
from restate_node.testing.machines import Processes
from restate_node.testing.sdk_clock import FrameShift, begin_attempt

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApplication: TypeAlias = Callable[[Any, Any, Any], Awaitable[Any]]
"""Of any SDK: scope, receive, send."""

INVOCATION: Final = "application/vnd.restate.invocation"


class ServiceCrashed(Exception):
    """The service died while it worked on a request."""


class AsgiService:
    """Calls one application; `sim.services.Service` is its call."""

    def __init__(
        self,
        application: AsgiApplication,
        processes: Processes,
        life: Incarnation,
        virtual_ms: Callable[[], int] | None,
    ) -> None:
        self.application = application
        self.life = life
        self.delay_s = 0.0
        """Before each request, as a slow network or a cold start would."""
        self.traffic = 0
        """Messages in both directions: changes as long as something happens."""
        self._processes = processes
        self._virtual_ms = virtual_ms
        self._running: dict[asyncio.Future[None], None] = {}

    async def __call__(self, call: ServiceCall) -> None:
        """Until the application has answered. Raises ServiceCrashed, and what it raised."""
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._running[over] = None
        request = AsgiRequest(call, self)
        try:
            task = self._processes.spawn(self.life, self._run(request, over), "service")
            try:
                await over
            finally:
                if self.life.alive:
                    task.cancel()
        finally:
            del self._running[over]

    def crash(self) -> None:
        """What runs is told; ending the life itself is the caller's."""
        for over in self._running:
            if not over.done():
                over.set_exception(ServiceCrashed("the service crashed"))

    async def _run(self, request: AsgiRequest, over: asyncio.Future[None]) -> None:
        """As part of the service's life."""
        if self._virtual_ms is not None:
            request.shift = FrameShift(begin_attempt(), self._virtual_ms)
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await self.application(request.scope(), request.receive, request.send)
            _settle(over, None if request.has_ended else RuntimeError("no complete response"))
        except Exception as error:
            _settle(over, error)


class AsgiRequest:
    """One request, as the application sees it."""

    def __init__(self, call: ServiceCall, service: AsgiService) -> None:
        self.shift: FrameShift | None = None
        self.has_ended = False
        self._call = call
        self._service = service
        self._is_read = False

    def scope(self) -> Message:
        path, _, query = self._call.head.path.partition("?")
        headers = [(name.encode(), value.encode()) for name, value in self._call.head.headers]
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "2",
            "method": self._call.head.method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers,
            "client": None,
            "server": None,
            "extensions": {},
        }

    async def receive(self) -> Message:
        """Cancellation-safe: no byte is lost."""
        if self._is_read:
            # A disconnect is only told when the caller is gone, which the application notices by
            # being cancelled. Nothing else ends this wait.
            await asyncio.get_running_loop().create_future()
        try:
            data = await self._call.receive()
        except CallerGone:
            return {"type": "http.disconnect"}
        self._service.traffic += 1
        self._is_read = not data
        return {"type": "http.request", "body": data, "more_body": bool(data)}

    async def send(self, message: Message) -> None:
        self._service.traffic += 1
        match message["type"]:
            case "http.response.start":
                self._start(message)
            case "http.response.body":
                await self._body(message)
            case _:
                pass

    def _start(self, message: Message) -> None:
        headers = tuple(
            (bytes(name).decode("latin-1").lower(), bytes(value).decode("latin-1"))
            for name, value in message.get("headers", ())
        )
        if not dict(headers).get("content-type", "").startswith(INVOCATION):
            self.shift = None
        self._call.start(message["status"], headers)

    async def _body(self, message: Message) -> None:
        data = bytes(message.get("body", b""))
        if self.shift is not None:
            data = self.shift.shift(data)
        if data:
            self._call.send(data)
        self.has_ended = not message.get("more_body", False)
        await self._call.drained()


def _settle(over: asyncio.Future[None], error: Exception | None) -> None:
    if over.done():
        return
    if error is None:
        over.set_result(None)
    else:
        over.set_exception(error)
