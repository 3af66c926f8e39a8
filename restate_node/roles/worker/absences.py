"""Questions about invocations that a leader does not know: answered when it is sure.

    question ─▶ not in the tables ─▶ a record that changes nothing ─▶ in the log ─▶ applied ─▶ look
                                                                                              again
A node that was cut off may take itself for the leader while others have elected another one, and
have promised to run what it never hears of. It cannot apply a record that it wrote now without
having applied all before it, the announcement of its successor included; that ends its term, and
who asked is sent on. What is in the tables needs no such care: an invocation that exists has
existed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from restate_node.bifrost.errors import AppendFailed
from restate_node.fabric.router import Reply
from restate_node.roles.worker.partition_store import PartitionStore
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.invocation_messages import AttachInvocation
from restate_node.types.offsets import Lsn

QUESTIONS_MAX: Final = 10_000
LOOK_PAUSE_S: Final = 0.005

Question = tuple[AttachInvocation, Reply]
Answer = Callable[[AttachInvocation, Reply], None]


class Absences:
    """One term's questions; `answer` looks again and replies."""

    def __init__(self, store: PartitionStore, answer: Answer) -> None:
        self._store = store
        self._answer = answer
        self._open: dict[int, Question] = {}
        self._in_log: deque[tuple[Lsn, int]] = deque()
        self._look = asyncio.Event()
        self._asked = 0

    @property
    def is_full(self) -> bool:
        return len(self._open) >= QUESTIONS_MAX

    def ask(self, request: AttachInvocation, reply: Reply) -> Callable[[Lsn | AppendFailed], None]:
        """Keep the question; call what is returned with what became of the record."""
        self._asked += 1
        number = self._asked
        self._open[number] = (request, reply)

        def committed(result: Lsn | AppendFailed) -> None:
            if not isinstance(result, AppendFailed):
                self._in_log.append((result, number))
                self._look.set()
            elif (question := self._open.pop(number, None)) is not None:
                question[1](RpcFailure(RpcCode.CONNECTION_LOST, str(result)))

        return committed

    async def run(self) -> None:
        """Until cancelled. Cancellation-safe: `close` answers what is left."""
        while True:
            await self._look.wait()
            self._look.clear()
            while self._in_log:
                lsn, number = self._in_log[0]
                while self._store.applied < lsn:  # noqa: ASYNC110, a store tells nobody
                    await asyncio.sleep(LOOK_PAUSE_S)
                self._in_log.popleft()
                question = self._open.pop(number, None)
                if question is not None:
                    self._answer(*question)

    def close(self, reason: str) -> None:
        """The term is over: others know."""
        questions, self._open = self._open, {}
        for _, reply in questions.values():
            reply(RpcFailure(RpcCode.CONNECTION_LOST, reason))
