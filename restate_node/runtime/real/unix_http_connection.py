"""One connection to a unix socket: hypercorn's HTTP, with a lifetime that is ours.

hypercorn (0.18) leaves three gaps, each seen in a test, each closed here:

    an HTTP/2 connection that never makes a call has no idle    we count calls and run the idle
      timeout and does not notice a stop                        timer; hypercorn's own is off
    a call that still sends when the peer hangs up waits for    once reading has ended, the calls
      ever, and its connection with it                          left are cancelled
    an error of the HTTP layer leaves as an exception group     logged, this connection is cut

        accepted ─▶ idle ⇄ busy (calls > 0) ─▶ closed
                     └── timeout, stop ────────▲
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias, cast

import structlog
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Event, Updated

logger = structlog.get_logger(__name__)

HANG_UP_GRACE_S = 0.1
"""For calls to notice that their caller is gone before they are cancelled."""


AsgiMessage: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[AsgiMessage]]
Send: TypeAlias = Callable[[AsgiMessage], Awaitable[None]]


class Serves(Protocol):
    """An application that may cut its connection."""

    async def serve(
        self, scope: AsgiMessage, receive: Receive, send: Send, abort: Callable[[], None]
    ) -> None:
        """Answer one request, not before its body has arrived in full: what is left of it would
        block the calls beside it. `abort` cuts the connection it came on.
        """
        ...


class Connection:
    """Serves one accepted connection; `run` in a task of its own."""

    def __init__(
        self,
        application: Serves,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        idle_timeout_s: float,
    ) -> None:
        self._application = application
        self._reader = reader
        self._writer = writer
        self._idle_timeout_s = idle_timeout_s
        self._calls = 0
        self._stopping = False
        self._idle_timer: asyncio.TimerHandle | None = None

    async def run(self, config: Config, context: WorkerContext) -> None:
        """Serve until either side closes. Only cancellation leaves it."""
        loop = asyncio.get_running_loop()
        self._await_call()
        server = _Server(
            cast(Any, self._serve), loop, config, context, {}, self._reader, self._writer
        )
        try:
            await server
        except Exception as error:
            logger.debug("connection broke", error=repr(error))
        finally:
            self._cancel_timer()
            self.abort()

    def stop(self) -> None:
        """Close now if idle, else when the last call is answered."""
        self._stopping = True
        if self._calls == 0:
            self._writer.transport.close()

    def abort(self) -> None:
        """Cut the connection, whatever is in flight."""
        self._writer.transport.abort()

    async def _serve(
        self, scope: AsgiMessage, receive: Receive, send: Send, *_threads: object
    ) -> None:
        self._calls += 1
        self._cancel_timer()
        try:
            await self._application.serve(scope, receive, send, self.abort)
        finally:
            self._calls -= 1
            self._await_call()

    def _await_call(self) -> None:
        if self._calls > 0:
            return
        if self._stopping:
            self._writer.transport.close()
            return
        loop = asyncio.get_running_loop()
        self._idle_timer = loop.call_later(self._idle_timeout_s, self.abort)

    def _cancel_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()


class _Server(TCPServer):
    """hypercorn's connection without its idle timer, and with an end after the last byte."""

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, Updated):
            await super().protocol_send(event)

    async def _idle_timeout(self) -> None:
        """Connection counts calls itself."""

    async def _read_data(self) -> None:
        await super()._read_data()
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(HANG_UP_GRACE_S, task.cancel)
