"""The ASGI application of the control plane: which request is answered by whom.

    content-type application/grpc*   known method    ─▶ connectrpc
                                     unknown method  ─▶ gRPC status UNIMPLEMENTED
    any other                        known page      ─▶ the page (GET and HEAD)
                                     unknown path    ─▶ 404 as text

A role that is not running has no rows in the table, so its methods are UNIMPLEMENTED, and
`restatectl` moves on to the next node instead of failing to parse an HTML page.

An answer never ends before the request's body has arrived in full: hypercorn queues a few parts of
a body and stops reading the connection while that queue is full, so a call that nobody reads any
more would block the calls beside it for ever. The wait is limited in time and bytes; a client that
exceeds them loses its connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import structlog

from restate_node.runtime.real.control_plane_endpoints import AnyMethod, GrpcEndpoints
from restate_node.runtime.real.control_plane_methods import Page, PageHandler
from restate_node.runtime.real.unix_http_connection import AsgiMessage, Receive, Send
from restate_node.types.grpc_status import StatusCode

logger = structlog.get_logger(__name__)

GRPC_CONTENT_TYPE = b"application/grpc"
TEXT = "text/plain; charset=utf-8"
PAGE_TIMEOUT_S = 10.0


class Application:
    """Routes requests. Shared by all connections, holds no state of any."""

    def __init__(
        self,
        methods: Sequence[AnyMethod],
        pages: Mapping[str, PageHandler],
        *,
        message_bytes_max: int,
        body_timeout_ms: int,
    ) -> None:
        self._methods = {method.path: method for method in methods}
        if len(self._methods) != len(methods):
            raise ValueError("two rows of the method table have the same path: remove one")
        self._pages = dict(pages)
        self._endpoints: Any = GrpcEndpoints(self._methods, message_bytes_max)
        self._message_bytes_max = message_bytes_max
        self._body_timeout_s = body_timeout_ms / 1000

    async def serve(
        self, scope: AsgiMessage, receive: Receive, send: Send, abort: Callable[[], None]
    ) -> None:
        """Answer one request. `abort` cuts the connection it came on."""
        exchange = Exchange(
            receive,
            send,
            abort,
            body_bytes_max=2 * self._message_bytes_max,
            body_deadline=asyncio.get_running_loop().time() + self._body_timeout_s,
        )
        try:
            await self._route(scope, exchange)
        except Exception as error:
            logger.error("control plane request failed", path=scope["path"], error=repr(error))
            abort()

    async def _route(self, scope: AsgiMessage, exchange: Exchange) -> None:
        path = scope["path"]
        if not is_grpc(scope):
            await answer_page(exchange, await self._page(path, scope["method"]))
        elif path in self._methods:
            await self._endpoints(scope, exchange.receive, exchange.send)
        else:
            await answer_status(exchange, StatusCode.UNIMPLEMENTED, f"unknown method {path}")

    async def _page(self, path: str, http_method: str) -> Page:
        handler = self._pages.get(path)
        if handler is None:
            return Page(404, TEXT, b"not found\n")
        if http_method not in ("GET", "HEAD"):
            return Page(405, TEXT, b"use GET\n")
        try:
            async with asyncio.timeout(PAGE_TIMEOUT_S):
                return await handler()
        except Exception as error:
            logger.error("control plane page failed", path=path, error=repr(error))
            return Page(500, TEXT, b"internal error: see the log of this node\n")


class Exchange:
    """One request and its answer, with the rule that the body comes first."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        abort: Callable[[], None],
        *,
        body_bytes_max: int,
        body_deadline: float,
    ) -> None:
        self._receive = receive
        self._send = send
        self._abort = abort
        self._body_bytes_max = body_bytes_max
        self._body_deadline = body_deadline
        self._body_arrived = False
        self._trailers_follow = False

    async def receive(self) -> AsgiMessage:
        """The next part of the body; a body that is late counts as a client that hung up."""
        if self._body_arrived:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._body_deadline):
                message = await self._receive()
        except TimeoutError:
            self._abort()
            message = {"type": "http.disconnect"}
        self._body_arrived = not message.get("more_body", False)
        return message

    async def send(self, message: AsgiMessage) -> None:
        """Send a part of the answer; before the last one, wait for the rest of the body."""
        if message["type"] == "http.response.start":
            self._trailers_follow = message.get("trailers", False)
        if self._is_last(message):
            await self._drain()
        await self._send(message)

    def _is_last(self, message: AsgiMessage) -> bool:
        match message["type"]:
            case "http.response.trailers":
                return True
            case "http.response.body":
                return not self._trailers_follow and not message.get("more_body", False)
            case _:
                return False

    async def _drain(self) -> None:
        drained = 0
        while not self._body_arrived:
            message = await self.receive()
            drained += len(message.get("body", b""))
            if drained > self._body_bytes_max:
                self._abort()
                return


def is_grpc(scope: AsgiMessage) -> bool:
    """Whether the caller speaks gRPC, and so expects errors as gRPC statuses."""
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return any(
        name == b"content-type" and value.startswith(GRPC_CONTENT_TYPE) for name, value in headers
    )


async def answer_page(exchange: Exchange, page: Page) -> None:
    """Answer with a plain HTTP page."""
    headers = [
        (b"content-type", page.content_type.encode()),
        (b"content-length", b"%d" % len(page.body)),
    ]
    await exchange.send({"type": "http.response.start", "status": page.status, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": page.body, "more_body": False})


async def answer_status(exchange: Exchange, code: StatusCode, message: str) -> None:
    """Answer a gRPC call with a status and nothing else."""
    headers = [(b"content-type", GRPC_CONTENT_TYPE)]
    trailers = [(b"grpc-status", b"%d" % code), (b"grpc-message", quote(message).encode())]
    await exchange.send(
        {"type": "http.response.start", "status": 200, "headers": headers, "trailers": True}
    )
    await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})
    await exchange.send(
        {"type": "http.response.trailers", "headers": trailers, "more_trailers": False}
    )
