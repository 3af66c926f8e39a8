"""A runtime in a few lines, around Session: it invokes services on the real Python SDK.

    journal ─▶ Session ─▶ ASGI app of the SDK, in this process
       ▲                        │
       └── proposed ◀───────────┘ and what a script answers to each command

Nothing is stored and there is no network: what is under test are the bytes of both sides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from restate_node.protocol.invocation.awaiting import Arrival, is_runnable
from restate_node.protocol.invocation.session import (
    Awaiting,
    Ended,
    Failed,
    Proposed,
    Session,
    SessionEvent,
    Suspended,
)
from restate_node.types.attempts import AttemptFailure, SessionBegin
from restate_node.types.invocations import Failure, Outcome, raw_id
from restate_node.types.journal import AwaitPoint, Entry, MessageType, NotificationId
from restate_node.types.journal_commands import Meaning, Output
from restate_node.wire import journal_codec, service_control

INVOCATION = raw_id(3, 4)
ATTEMPTS_MAX = 5
ANSWER_SECONDS_MAX = 60

Answer = Callable[[Meaning], list[Entry]]


@dataclass
class Runtime:
    """One invocation; `answer` gives the notifications that a command leads to."""

    app: Any
    path: str
    version: int
    is_bidirectional: bool
    answer: Answer
    journal: list[Entry]
    state: Sequence[tuple[str, bytes]] = ()
    is_state_partial: bool = False
    suspended: list[AwaitPoint] = field(default_factory=list)
    late: list[Entry] = field(default_factory=list)
    """Arrive when the handler has suspended; with any, a request ends at the first command."""

    async def run(self) -> Outcome | AttemptFailure:
        """Attempt after attempt, until it ends or fails."""
        for _ in range(ATTEMPTS_MAX):
            match await _Attempt(self).run():
                case Ended():
                    return self.outcome()
                case Failed(failure):
                    return failure
                case Suspended(point):
                    self._wake(point)
        raise AssertionError(f"suspended {ATTEMPTS_MAX} times")

    def outcome(self) -> Outcome:
        """What the last command says."""
        meaning = journal_codec.meaning(self.journal[-1])
        assert isinstance(meaning, Output)
        return meaning.outcome

    def known(self, identity: NotificationId) -> Arrival:
        """What the journal knows."""
        for entry in self.journal:
            if entry.kind >= 0x8000 and journal_codec.notification_id(entry) == identity:
                failed = isinstance(journal_codec.outcome(entry), Failure)
                return Arrival.FAILURE if failed else Arrival.SUCCESS
        return Arrival.PENDING

    def store(self, entries: Sequence[Entry]) -> list[Entry]:
        """Adds what an SDK proposed and what follows; returns the notifications."""
        stored: list[Entry] = []
        for entry in entries:
            following = (
                [entry] if entry.kind >= 0x8000 else self.answer(journal_codec.meaning(entry))
            )
            self.journal += [entry] if entry.kind < 0x8000 else []
            self.journal += following
            stored += following
        return stored

    def _wake(self, point: AwaitPoint) -> None:
        self.suspended.append(point)
        while not is_runnable(point, self.known):
            assert self.late, f"nothing will ever wake {point}"
            self.journal.append(self.late.pop(0))


class _Attempt:
    """One call of the ASGI app."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        begin = SessionBegin(
            INVOCATION,
            runtime.version,
            list(runtime.journal),
            runtime.state,
            runtime.is_state_partial,
            random_seed=7,
            is_bidirectional=runtime.is_bidirectional,
        )
        self._session = Session(begin, service_control)
        self._to_service: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._end: SessionEvent | None = None

    async def run(self) -> SessionEvent:
        chunks = self._session.opening()
        for index, chunk in enumerate(chunks, start=1):
            self._request(chunk, more=self._session.may_send or index < len(chunks))
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await self._runtime.app(self._scope(), self._to_service.get, self._send)
        self._take(self._session.stream_ended())
        assert self._end is not None
        return self._end

    def _scope(self) -> dict[str, object]:
        content_type = f"application/vnd.restate.invocation.v{self._runtime.version}"
        return {
            "type": "http",
            "http_version": "2",
            "path": self._runtime.path,
            "headers": [(b"content-type", content_type.encode())],
        }

    def _request(self, body: bytes, *, more: bool) -> None:
        self._to_service.put_nowait({"type": "http.request", "body": body, "more_body": more})

    async def _send(self, event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            assert event["status"] == 200
            return
        self._take(self._session.receive(event.get("body", b"")))

    def _take(self, events: list[SessionEvent]) -> None:
        for event in events:
            match event:
                case Proposed(entries, acknowledge):
                    self._stored(self._runtime.store(entries), acknowledge)
                case Awaiting():
                    pass
                case _:
                    self._end = event
                    self._finish()

    def _stored(self, notifications: list[Entry], acknowledge: list[int]) -> None:
        data = b"".join(map(self._session.acknowledge, acknowledge))
        data += b"".join(map(self._session.notify, notifications))
        if data:
            self._request(data, more=True)
        if self._runtime.late:
            self._finish()

    def _finish(self) -> None:
        self._session.finish()
        self._request(b"", more=False)


def runs_of(journal: Sequence[Entry]) -> int:
    """How many results of runs there are."""
    return sum(entry.kind == MessageType.RUN_COMPLETION for entry in journal)
