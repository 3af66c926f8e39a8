"""One attempt: the session of an invocation over an exchange with its service.

    open ─▶ journal is read, Start and replay are sent ─▶ ┌ receive ─▶ session ─▶ report
                                                          └ stored ──▶ session ─▶ send
    silent for the inactivity timeout ─▶ finish: the SDK shall suspend
    silent for the abort timeout after that ─▶ abort

The journal is read in the same turn of the loop in which the attempt begins to listen for what is
stored: so each entry is either replayed or notified, and none is both.

Drives `protocol.invocation.session`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random
from typing import TypeAlias, assert_never

from restate_node.protocol.invocation import session as said
from restate_node.protocol.invocation.session import Session, SessionOptions
from restate_node.protocol.partition.effects import Stored
from restate_node.roles.worker.invoker.commands import Refused, check, look_up
from restate_node.roles.worker.invoker.context import Reporter, Services
from restate_node.roles.worker.invoker.place import BODY_SHOWN_MAX, Place
from restate_node.roles.worker.term import RecordTooLarge
from restate_node.runtime.services import (
    Exchange,
    ResponseHead,
    ServiceError,
)
from restate_node.types.attempts import AttemptFailure, ErrorCode, SessionBegin
from restate_node.types.invocations import RawInvocationId
from restate_node.types.journal import AwaitPoint, Entry, MessageType
from restate_node.types.journal_commands import Call
from restate_node.types.wal import (
    AttemptProgress,
    Completed,
    Pinned,
    ProposedEntry,
    RunEnd,
    Suspended,
)


class Reported:
    """The end was reported; the rest is the state machine's."""


AttemptResult: TypeAlias = Reported | AttemptFailure


class Attempt:
    """One attempt of one run."""

    def __init__(
        self,
        invocation: RawInvocationId,
        run: int,
        place: Place,
        services: Services,
        reporter: Reporter,
        rng: Random,
    ) -> None:
        self._invocation = invocation
        self._run = run
        self._place = place
        self._services = services
        self._reporter = reporter
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._session: Session | None = None
        self._exchange: Exchange | None = None
        self._acknowledge: deque[int] = deque()
        self._last_activity = self._loop.time()
        self._asked_to_suspend = False
        self._is_aborted = False
        self._is_over = False
        """The exchange ended in order."""
        self._watch: asyncio.TimerHandle | None = None
        self._pins = place.pins
        self.has_reported = False
        self.server: str | None = None
        """How the SDK calls itself."""
        self.awaiting: AwaitPoint | None = None
        """What the handler waits for, if its SDK tells."""
        self._replayed = 0
        self.told = 0
        """How many entries of the journal are on their way to the SDK, of which `_replayed` from
        the beginning.
        """

    async def drive(self, begin: Callable[[], SessionBegin]) -> AttemptResult:
        """To its end. `begin` reads the journal, when the connection stands.

        Cancellation aborts the exchange; what was reported may be stored all the same.
        """
        try:
            return await self._converse(begin)
        except ServiceError as error:
            return self._why(error)
        except Refused as error:
            return error.failure
        except RecordTooLarge as error:
            return AttemptFailure(500, str(error), error_code=ErrorCode.MESSAGE_TOO_LARGE)
        finally:
            self._session = None
            if self._watch is not None:
                self._watch.cancel()
            if self._exchange is not None and not self._is_over:
                self._exchange.abort()

    def stored(self, effect: Stored) -> None:
        """Entries of the run are in the journal: tell the SDK."""
        session, exchange = self._session, self._exchange
        if session is None or exchange is None:
            return
        self._last_activity = self._loop.time()
        if session.may_send:
            self.told = max(self.told, effect.entries)
        out = [session.notify(entry) for entry in effect.notifications]
        while self._acknowledge and self._acknowledge[0] < effect.commands:
            out.append(session.acknowledge(self._acknowledge.popleft()))
        if data := b"".join(out):
            exchange.send(data)

    # ------------------------------------------------------------ the conversation

    async def _converse(self, begin: Callable[[], SessionBegin]) -> AttemptResult:
        place, transport = self._place, self._services.transport
        exchange = await transport.open(place.address(), place.head(self._invocation))
        self._exchange = exchange
        options = SessionOptions(message_bytes_max=self._services.options.message_size_limit_bytes)
        beginning = begin()
        self.told = self._replayed = len(beginning.journal)
        session = self._session = Session(beginning, self._services.frames, options)
        for chunk in session.opening():
            exchange.send(chunk)
        if not place.is_bidirectional:
            session.finish()
            exchange.finish()
        self._watch = self._loop.call_later(self._timeout_s(), self._look)
        refusal = await self._check(await exchange.response())
        return refusal or await self._listen(session, exchange)

    async def _listen(self, session: Session, exchange: Exchange) -> AttemptResult:
        while True:
            data = await exchange.receive()
            self._last_activity = self._loop.time()
            events = session.receive(data) if data else session.stream_ended()
            if events:
                await self._reporter.room()
                result = self._take(events)
                if result is not None:
                    self._is_over = True
                    exchange.release()
                    return result
            assert data, "a stream that ends is an event"

    def _take(self, events: list[said.SessionEvent]) -> AttemptResult | None:
        """Report all that came together as one."""
        entries: list[ProposedEntry] = []
        end: RunEnd | None = None
        failure: AttemptFailure | None = None
        for event in events:
            match event:
                case said.Proposed(proposed, acknowledge):
                    entries += [self._proposed(entry) for entry in proposed]
                    self._acknowledge.extend(acknowledge)
                    self.awaiting = None
                case said.Awaiting(point):
                    self.awaiting = point
                case said.Ended():
                    end = Completed()
                case said.Suspended(point):
                    end = Suspended(point, self._told_before_it_suspended())
                case said.Failed(reason):
                    failure = reason
                case _:
                    assert_never(event)
        if entries or end is not None:
            self._report(tuple(entries), end)
        return Reported() if end is not None else failure

    def _report(self, entries: tuple[ProposedEntry, ...], end: RunEnd | None) -> None:
        pinned = None
        if self._pins and entries:
            pinned = Pinned(self._place.deployment.id, self._place.protocol_version)
            self._pins = False
        self._reporter.report(AttemptProgress(self._invocation, self._run, entries, pinned, end))
        self.has_reported = True

    def _proposed(self, entry: Entry) -> ProposedEntry:
        callee = None
        check(entry.kind, self._place.handler)
        if entry.kind in (MessageType.CALL_COMMAND, MessageType.ONE_WAY_CALL_COMMAND):
            meaning = self._services.journal.meaning(entry)
            assert isinstance(meaning, Call), "a Call command means a call"
            schema, defaults = self._services.schema.value, self._services.defaults
            callee = look_up(meaning, schema, defaults, self._rng)
        return ProposedEntry(entry.kind, entry.payload, callee)

    def _told_before_it_suspended(self) -> int:
        """All that was sent, if the end of it was sent as well: an SDK reads up to there before it
        gives up. Of one that suspends by itself nobody knows how far it has read.
        """
        has_all = self._asked_to_suspend or not self._place.is_bidirectional
        return self.told if has_all else self._replayed

    # ------------------------------------------------------------ silence

    def _timeout_s(self) -> float:
        handler = self._place.handler
        if self._asked_to_suspend or not self._place.is_bidirectional:
            return handler.abort_timeout_ms / 1000
        return handler.inactivity_timeout_ms / 1000

    def _look(self) -> None:
        """One timer for the whole attempt, set anew only when it goes off: activity is cheap."""
        left_s = self._last_activity + self._timeout_s() - self._loop.time()
        session, exchange = self._session, self._exchange
        if session is None or exchange is None:
            return
        if left_s <= 0:
            if self._asked_to_suspend or not self._place.is_bidirectional:
                self._is_aborted = True
                exchange.abort()
                return
            self._asked_to_suspend = True
            self._last_activity = self._loop.time()
            session.finish()
            exchange.finish()
            left_s = self._timeout_s()
        self._watch = self._loop.call_later(max(left_s, 0.001), self._look)

    def _why(self, error: ServiceError) -> AttemptFailure:
        if not self._is_aborted:
            return AttemptFailure(500, str(error), error_code=ErrorCode.UNREACHABLE)
        waited_ms = self._place.handler.abort_timeout_ms
        text = f"{self._place.deployment.uri} was silent for the abort timeout of {waited_ms} ms"
        return AttemptFailure(500, text, error_code=ErrorCode.ABORTED)

    # ------------------------------------------------------------ HTTP

    async def _check(self, head: ResponseHead) -> AttemptFailure | None:
        """An answer that is no conversation, as a failure with what it says."""
        self.server = head.header("x-restate-server")
        if self._place.is_conversation(head):
            return None
        assert self._exchange is not None, "it has just answered"
        body = b""
        while len(body) < BODY_SHOWN_MAX and (piece := await self._exchange.receive()):
            body += piece
        return self._place.refusal(head, body)
