"""Which handler answers which request.

A role registers a handler for each request type that it serves. Two shapes, by cost:

  * `on`     a plain function with a `reply` callback: no task (8 to 11 µs), for the append path.
  * `serve`  a coroutine that returns the reply; a task of its own, bounded per request type.

A request without a handler is answered UNKNOWN_METHOD: the node does not have the role, or not yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
import structlog

from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types.fabric import Peer, RpcCode, RpcFailure

logger = structlog.get_logger(__name__)

Request = TypeVar("Request", bound=msgspec.Struct)
Reply = Callable[["msgspec.Struct | RpcFailure | None"], None]
"""Answers a request, exactly once. None is the answer to a one-way message and goes nowhere."""

Handler = Callable[[Peer, Any, Reply], None]

CONCURRENT_REQUESTS_MAX: Final = 1024
"""Running coroutines per request type; beyond it the answer is OVERLOADED."""


class Router:
    """The handlers of one node."""

    def __init__(self, tasks: TaskCenter) -> None:
        self._tasks = tasks
        self._handlers: dict[type[msgspec.Struct], Handler] = {}
        self._running: dict[type[msgspec.Struct], int] = {}

    def on(self, kind: type[Request], handler: Callable[[Peer, Request, Reply], None]) -> None:
        """Register a plain handler. It MUST NOT block and must answer once, now or later."""
        assert kind not in self._handlers, f"{kind.__name__} has a handler already"
        self._handlers[kind] = handler

    def serve(
        self,
        kind: type[Request],
        handler: Callable[[Peer, Request], Awaitable[msgspec.Struct | None]],
    ) -> None:
        """Register a coroutine; an RpcFailure that it raises is its answer."""

        def start(peer: Peer, request: Request, reply: Reply) -> None:
            if self._running.get(kind, 0) >= CONCURRENT_REQUESTS_MAX:
                reply(RpcFailure(RpcCode.OVERLOADED, f"too many {kind.__name__} at once"))
                return
            self._running[kind] = self._running.get(kind, 0) + 1
            answering = _answer(lambda: handler(peer, request), reply)
            task = self._tasks.spawn(TaskKind.REQUEST, f"serve {kind.__name__}", answering)
            task.add_done_callback(lambda task: self._ended(kind, task, reply))

        self.on(kind, start)

    def forget(self, kind: type[msgspec.Struct]) -> None:
        """Take a handler away again, when its role stops before the node does."""
        self._handlers.pop(kind, None)

    def dispatch(self, peer: Peer, request: msgspec.Struct, reply: Reply) -> None:
        """Hand a decoded request to its handler; a handler that raises is answered for."""
        handler = self._handlers.get(type(request))
        if handler is None:
            name = type(request).__name__
            reply(RpcFailure(RpcCode.UNKNOWN_METHOD, f"{name} is not served by this node"))
            return
        try:
            handler(peer, request, reply)
        except RpcFailure as failure:
            reply(failure)
        except Exception as error:
            logger.exception("handler failed", request=type(request).__name__, peer=str(peer))
            reply(RpcFailure(RpcCode.FAILED, f"{type(error).__name__}: {error}"))

    def _ended(self, kind: type[msgspec.Struct], task: asyncio.Task[None], reply: Reply) -> None:
        self._running[kind] -= 1
        if task.cancelled():
            reply(RpcFailure(RpcCode.CONNECTION_LOST, "the node is stopping"))


async def _answer(work: Callable[[], Awaitable[msgspec.Struct | None]], reply: Reply) -> None:
    """Cancelled when the node stops, perhaps before it began; the caller is told by `_ended`."""
    try:
        answer = await work()
    except RpcFailure as failure:
        reply(failure)
    except Exception as error:
        logger.exception("request failed")
        reply(RpcFailure(RpcCode.FAILED, f"{type(error).__name__}: {error}"))
    else:
        reply(answer)
