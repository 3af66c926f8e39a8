"""One run of an invocation on its leader: attempts, until one of them gets to an end.

    ┌▶ attempt ─▶ ended or suspended ─▶ reported: done
    │      └────▶ failed ─▶ retry policy ─┬▶ pause ─┐       paused or killed ─▶ reported: done
    └─────────────────────────────────────┴─────────┘

A next attempt begins only when all that the former one reported is stored: it will be replayed to
it. That is known by the number of reports that came back.

Drives `protocol.invocation.retry`.
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Final

import structlog

from restate_node.protocol.invocation.retry import Kill, Pause, RetryAfter, RetryPolicy, next_step
from restate_node.protocol.partition import tables
from restate_node.protocol.partition.effects import Stored
from restate_node.protocol.partition.invocation_table import (
    InvocationRecord,
    Stage,
    read_invocation,
)
from restate_node.protocol.partition.journal_table import read_journal
from restate_node.protocol.partition.lifecycle import owner_of
from restate_node.protocol.partition.tables import TableReader
from restate_node.roles.worker.invoker.attempt import Attempt, Reported
from restate_node.roles.worker.invoker.context import Reporter, Services
from restate_node.roles.worker.invoker.events import paused, transient_error
from restate_node.roles.worker.invoker.place import Place
from restate_node.runtime.ports import Clock
from restate_node.types.attempts import (
    ATTEMPT_FAILED,
    PROTOCOL_VERSION_MAX,
    PROTOCOL_VERSION_MIN,
    AttemptFailure,
    ErrorCode,
    SessionBegin,
)
from restate_node.types.invocations import Failure, RawInvocationId, id_text
from restate_node.types.schema import ResolvedHandler
from restate_node.types.wal import AttemptProgress, Failed, JournalEvent, Paused, RunEnd

logger = structlog.get_logger(__name__)

HTTP_ERRORS: Final = range(400, 570)
"""Codes of the service protocol lie above: they are nothing to a caller."""


class RunIsOver(Exception):
    """The tables say that this run is no longer wanted."""


class Run:
    """`drive` is its task; the properties are for introspection."""

    def __init__(
        self,
        invocation: RawInvocationId,
        number: int,
        store: TableReader,
        services: Services,
        reporter: Reporter,
        clock: Clock,
        rng: Random,
    ) -> None:
        self.invocation = invocation
        self.number = number
        self._store = store
        self._services = services
        self._reporter = reporter
        self._clock = clock
        self._rng = rng
        self._reports = 0
        """Written and not stored yet."""
        self._stored = asyncio.Event()
        self._go_on = asyncio.Event()
        self.attempt: Attempt | None = None
        self.failures = 0
        """Attempts in a row that failed without progress."""
        self.retry_count = 0
        self.last_failure: AttemptFailure | None = None
        self.last_start_ms: int | None = None
        self.next_retry_ms: int | None = None
        self.deployment: str | None = None
        self.server: str | None = None

    async def drive(self) -> None:
        """Until an end is reported. Cancellation-safe: the journal knows how far it got."""
        try:
            while True:
                result = await self._try()
                if isinstance(result, Reported):
                    return
                if self._end_after(result):
                    return
                await self._wait_for_retry()
        except RunIsOver:
            return

    # ------------------------------------------------------------ what the log says

    def report(self, progress: AttemptProgress) -> None:
        """Write a report of this run."""
        self._reporter.report(progress)
        self._reports += 1

    async def room(self) -> None:
        """As a Reporter."""
        await self._reporter.room()

    def stored(self, effect: Stored) -> None:
        """Entries are in the journal."""
        if effect.is_report:
            self._reports -= 1
            self._stored.set()
        if self.attempt is not None:
            self.attempt.stored(effect)

    def go_on(self) -> None:
        """Do not wait for the next attempt any longer."""
        self._go_on.set()

    # ------------------------------------------------------------ attempts

    async def _try(self) -> Reported | AttemptFailure:
        record = self._record()
        place = self._place(record)
        if isinstance(place, AttemptFailure):
            return place
        self.deployment = place.deployment.id
        self.last_start_ms, self.next_retry_ms = self._clock.unix_ms(), None
        attempt = self.attempt = Attempt(
            self.invocation, self.number, place, self._services, self, self._rng
        )
        try:
            result = await attempt.drive(lambda: self._begin(place))
        finally:
            self.attempt = None
            self.server = attempt.server or self.server
        if attempt.has_reported:
            self.failures = 0
        return result

    def _record(self) -> InvocationRecord:
        record = read_invocation(self._store, self.invocation)
        if record is None or record.stage is not Stage.INVOKED or record.run != self.number:
            raise RunIsOver
        return record

    def _place(self, record: InvocationRecord) -> Place | AttemptFailure:
        schema, target = self._services.schema.value, record.target
        pinned = record.pinned
        handler = schema.handler(
            target.service,
            target.handler,
            self._services.defaults,
            None if pinned is None else pinned.deployment,
        )
        deployment = None if handler is None else schema.deployment(handler.deployment)
        if handler is None or deployment is None:
            where = "" if pinned is None else f" in deployment {pinned.deployment}"
            text = f"{target.service}/{target.handler} is not registered{where}: register it"
            return AttemptFailure(500, text, error_code=ErrorCode.NO_DEPLOYMENT)
        version = min(PROTOCOL_VERSION_MAX, deployment.protocol_version_max)
        if pinned is not None and pinned.protocol_version <= deployment.protocol_version_max:
            version = pinned.protocol_version
        if version < max(PROTOCOL_VERSION_MIN, deployment.protocol_version_min):
            text = f"{deployment.uri} and this server have no protocol version in common"
            return AttemptFailure(500, text, error_code=ErrorCode.NO_DEPLOYMENT)
        return Place(deployment, handler, version, pinned is None, target.key)

    def _begin(self, place: Place) -> SessionBegin:
        record = self._record()
        journal = read_journal(self._store, self.invocation, record.entries)
        state, is_partial = self._eager_state(record, place.handler)
        return SessionBegin(
            self.invocation,
            place.protocol_version,
            journal,
            state,
            is_partial,
            record.target.key,
            self.failures,
            max(0, self._clock.unix_ms() - record.modified_at_ms),
            record.random_seed,
            record.idempotency_key,
            place.is_bidirectional,
        )

    def _eager_state(
        self, record: InvocationRecord, handler: ResolvedHandler
    ) -> tuple[list[tuple[str, bytes]], bool]:
        """The state of the object, as far as it may go along, and whether there is more."""
        if not record.target.kind.is_keyed:
            return [], False
        if handler.enable_lazy_state:
            return [], True
        state: list[tuple[str, bytes]] = []
        room_bytes = self._services.options.eager_state_size_limit_bytes
        for entry in tables.state_of(self._store, owner_of(self.invocation, record)):
            room_bytes -= len(entry.name) + len(entry.value)
            if room_bytes < 0:
                return state, True
            state.append((entry.name, entry.value))
        return state, False

    # ------------------------------------------------------------ failures

    def _end_after(self, failure: AttemptFailure) -> bool:
        """Note the failure; True when it was the last."""
        self.failures += 1
        self.retry_count += 1
        events = self._events(failure)
        self.last_failure = failure
        step = next_step(self._policy(), self.failures, failure, self._rng.random())
        logger.info(
            "attempt failed",
            invocation=id_text(self.invocation),
            deployment=self.deployment,
            error_code=failure.error_code.value,
            reason=failure.message[:500],
            attempts=self.failures,
            then=type(step).__name__.lower(),
        )
        match step:
            case RetryAfter(delay_ms):
                self.next_retry_ms = self._clock.unix_ms() + delay_ms
                if events:
                    self._note(events, None)
                return False
            case Pause():
                self._note((*events, paused(failure)), Paused())
            case Kill():
                code = failure.code if failure.code in HTTP_ERRORS else ATTEMPT_FAILED
                self._note(events, Failed(Failure(code, failure.message)))
        return True

    def _events(self, failure: AttemptFailure) -> tuple[JournalEvent, ...]:
        """One event for failures of a kind in a row, not one for each."""
        last = self.last_failure
        is_same = last is not None and (last.code, last.message) == (failure.code, failure.message)
        return () if is_same else (transient_error(failure),)

    def _note(self, events: tuple[JournalEvent, ...], end: RunEnd | None) -> None:
        self.report(AttemptProgress(self.invocation, self.number, (), None, end, events))

    def _policy(self) -> RetryPolicy:
        record = self._record()
        target, pinned = record.target, record.pinned
        where = None if pinned is None else pinned.deployment
        schema, defaults = self._services.schema.value, self._services.defaults
        handler = schema.handler(target.service, target.handler, defaults, where)
        retry = defaults.retry if handler is None else handler.retry
        return RetryPolicy(
            retry.initial_interval_ms,
            retry.exponentiation_factor,
            retry.interval_max_ms,
            retry.attempts_max,
            retry.on_attempts_max,
        )

    async def _wait_for_retry(self) -> None:
        self._go_on.clear()
        assert self.next_retry_ms is not None, "it is known when to try again"
        try:
            async with asyncio.timeout((self.next_retry_ms - self._clock.unix_ms()) / 1000):
                await self._go_on.wait()
        except TimeoutError:
            pass
        while self._reports:
            self._stored.clear()
            await self._stored.wait()
