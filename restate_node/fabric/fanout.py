"""Ask several nodes the same question and take the answers as they come.

Quorum procedures read the stream until their tally has decided, and leave: answers that come later
are dropped. Every node yields exactly one answer, a failure included, so the stream always ends.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic

import msgspec

from restate_node.fabric.fabric import Fabric, ReplyType
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.ids import PlainNodeId


def ask_each(
    fabric: Fabric,
    nodes: Iterable[PlainNodeId],
    request: msgspec.Struct,
    reply_type: type[ReplyType],
    *,
    timeout_s: float,
) -> Answers[ReplyType]:
    """Answers in the order of their arrival. May be left at any time: nothing is left running."""
    answers: Answers[ReplyType] = Answers(reply_type)
    for node in nodes:
        answers.expect(fabric, node, request, timeout_s)
    return answers


class Answers(Generic[ReplyType]):
    """An asynchronous iterator; a generator would need a task of its own to be left early."""

    def __init__(self, reply_type: type[ReplyType]) -> None:
        self._reply_type = reply_type
        self._arrived: deque[tuple[PlainNodeId, ReplyType | RpcFailure]] = deque()
        self._outstanding = 0
        self._waiter: asyncio.Future[None] | None = None

    def expect(
        self, fabric: Fabric, node: PlainNodeId, request: msgspec.Struct, timeout_s: float
    ) -> None:
        """Ask one more node."""
        self._outstanding += 1
        fabric.submit(node, request, lambda reply: self._add(node, reply), timeout_s=timeout_s)

    def __aiter__(self) -> Answers[ReplyType]:
        return self

    async def __anext__(self) -> tuple[PlainNodeId, ReplyType | RpcFailure]:
        """Cancellation-safe: an answer is taken only when it is returned."""
        while not self._arrived:
            if self._outstanding == 0:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._arrived.popleft()

    def _add(self, node: PlainNodeId, reply: msgspec.Struct | RpcFailure) -> None:
        self._outstanding -= 1
        if isinstance(reply, self._reply_type | RpcFailure):
            self._arrived.append((node, reply))
        else:
            text = f"answered with {type(reply).__name__}"
            self._arrived.append((node, RpcFailure(RpcCode.MALFORMED, text)))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
