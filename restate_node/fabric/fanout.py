"""Ask several nodes the same question and take the answers as they come.

Quorum procedures read the stream until their tally has decided, and leave: answers that come later
are dropped. Every node yields exactly one answer, a failure included, so the stream always ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeAlias

import msgspec

from restate_node.fabric.fabric import Fabric, ReplyType
from restate_node.fabric.outgoing import OnReply
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.ids import PlainNodeId

_Answers: TypeAlias = "asyncio.Queue[tuple[PlainNodeId, msgspec.Struct | RpcFailure]]"


async def ask_each(
    fabric: Fabric,
    nodes: Iterable[PlainNodeId],
    request: msgspec.Struct,
    reply_type: type[ReplyType],
    *,
    timeout_s: float,
) -> AsyncIterator[tuple[PlainNodeId, ReplyType | RpcFailure]]:
    """Answers in the order of their arrival. Cancellation-safe: nothing is left running."""
    answers: _Answers = asyncio.Queue()
    asked = list(nodes)
    for node in asked:
        fabric.submit(node, request, _collector(answers, node), timeout_s=timeout_s)
    for _ in asked:
        node, reply = await answers.get()
        if isinstance(reply, reply_type | RpcFailure):
            yield node, reply
        else:
            yield node, RpcFailure(RpcCode.MALFORMED, f"answered with {type(reply).__name__}")


def _collector(answers: _Answers, node: PlainNodeId) -> OnReply:
    return lambda reply: answers.put_nowait((node, reply))
