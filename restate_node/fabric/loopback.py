"""Calls of a node to itself: the same promises as over a connection, without the bytes.

    submit ─▶ queue ─▶ Router ─▶ queue ─▶ on_reply          one drain per turn of the loop

Messages are immutable, so they are passed as they are. What a connection promises is kept: requests
arrive in the order in which they were sent, nothing is answered from within `submit`, and every
call ends exactly once, by its deadline at the latest. One queue instead of a `call_soon` per
message, because the order of callbacks within a turn is nobody's promise.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

from restate_node.fabric.outgoing import SWEEP_INTERVAL_S, OnReply
from restate_node.fabric.router import Router
from restate_node.types.fabric import Peer, RpcCode, RpcFailure
from restate_node.types.ids import GenerationalNodeId

LOCAL_CALLS_MAX: Final = 65_536
"""Calls under way; beyond it the answer is OVERLOADED."""
ADDRESS: Final = "myself"


class _LocalCall:
    """A call that ends once."""

    __slots__ = ("_loopback", "deadline", "on_reply", "request")

    def __init__(
        self, loopback: Loopback, request: msgspec.Struct, on_reply: OnReply, deadline: float
    ) -> None:
        self._loopback = loopback
        self.request = request
        self.on_reply = on_reply
        self.deadline = deadline

    def reply(self, result: msgspec.Struct | RpcFailure | None) -> None:
        self._loopback.answered(self, result)


class Loopback:
    """Delivers to the router of this very node."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Callable[[], None]] = deque()
        self._scheduled = False
        self._pending: dict[_LocalCall, None] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def submit(
        self, me: GenerationalNodeId, request: msgspec.Struct, on_reply: OnReply, deadline: float
    ) -> None:
        """See `Fabric.submit`."""
        if len(self._pending) >= LOCAL_CALLS_MAX:
            self.fail(on_reply, RpcFailure(RpcCode.OVERLOADED, "too many calls to this node"))
            return
        call = _LocalCall(self, request, on_reply, deadline)
        self._pending[call] = None
        self._enqueue(lambda: self._router.dispatch(Peer(me, ADDRESS), request, call.reply))
        if self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_INTERVAL_S, self._expire)

    def notify(self, me: GenerationalNodeId, message: msgspec.Struct) -> None:
        """Deliver a one-way message in its place among the calls."""
        self._enqueue(lambda: self._router.dispatch(Peer(me, ADDRESS), message, _nowhere))

    def fail(self, on_reply: OnReply, failure: RpcFailure) -> None:
        """Answer a call that is not made at all."""
        self._enqueue(lambda: on_reply(failure))

    def answered(self, call: _LocalCall, result: msgspec.Struct | RpcFailure | None) -> None:
        """A handler answered; a second answer, or one after the deadline, goes nowhere."""
        if result is None or call not in self._pending:
            return
        del self._pending[call]
        self._enqueue(lambda: call.on_reply(result))

    def _enqueue(self, delivery: Callable[[], None]) -> None:
        self._queue.append(delivery)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        """Deliver what was there at the start of the turn; what that causes comes in the next."""
        queue, self._queue = self._queue, deque()
        try:
            while queue:
                queue.popleft()()
        finally:
            queue.extend(self._queue)
            self._queue = queue
            self._scheduled = bool(queue)
            if queue:
                self._loop.call_soon(self._drain)

    def _expire(self) -> None:
        self._sweep = None
        now = self._loop.time()
        for call in [call for call in self._pending if call.deadline <= now]:
            name = type(call.request).__name__
            text = f"this node did not answer {name} in time"
            self.answered(call, RpcFailure(RpcCode.TIMEOUT, text))
        if self._pending and self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_INTERVAL_S, self._expire)


def _nowhere(_: msgspec.Struct | RpcFailure | None) -> None:
    """A one-way message has no answer."""
