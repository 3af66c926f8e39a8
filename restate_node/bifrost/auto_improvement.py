"""Moves the logs that this node writes to better segments: by `protocol.log_placement`, every few
seconds.

Runs where the leaders of partitions are, because only there a log can be sequenced without a hop.
Everything that may make a difference (nodes, storage states, the default replication) wakes it at
once; a slow round catches the rest. One round touches at most a third of the logs, so that a change
of the cluster does not stop all appends together. What was done is kept in `events`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from random import Random
from typing import Final

import structlog

from restate_node.bifrost.errors import CannotReconfigure, LogUnavailable, UnknownLog
from restate_node.bifrost.log import Bifrost, SegmentRequest
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.protocol.log_placement import Reconfigure, judge_log
from restate_node.protocol.log_reasons import log_alternatives, log_inputs
from restate_node.types.decision_events import DECISION_EVENTS_MAX, DecisionEvent
from restate_node.types.ids import LogId, plain_text
from restate_node.types.logs import Chain

logger = structlog.get_logger(__name__)

ROUND_S: Final = 5.0
SETTLE_S: Final = 0.3
SHARE_OF_LOGS: Final = 3


class AutoImprovement:
    """Looks after the logs that are written here. `run` is a task of the node."""

    def __init__(self, bifrost: Bifrost, metadata: MetadataCache, rng: Random) -> None:
        self._bifrost = bifrost
        self._metadata = metadata
        self._rng = rng
        self._logs: set[LogId] = set()
        self._wake = asyncio.Event()
        self.events: deque[tuple[LogId, DecisionEvent]] = deque(maxlen=DECISION_EVENTS_MAX)

    def events_of(self, log: LogId) -> list[DecisionEvent]:
        """What was decided here about a log, oldest first."""
        return [event for about, event in self.events if about == log]

    def look_after(self, log: LogId) -> None:
        """This node writes the log from now on."""
        self._logs.add(log)
        self._wake.set()

    def leave(self, log: LogId) -> None:
        """Somebody else writes it."""
        self._logs.discard(log)

    async def run(self) -> None:
        """Until cancelled. Cancellation in the middle of a reconfiguration is safe: it is resumed
        by whoever appends next."""
        while True:
            nodes, logs = self._metadata.nodes.revision, self._metadata.logs.value.configuration
            self._wake.clear()
            more = await self._round()
            if more:
                await asyncio.sleep(SETTLE_S * self._rng.uniform(0.5, 1.5))
                continue
            await self._wait(nodes, logs)

    async def _wait(self, nodes_revision: int, configuration: object) -> None:
        """Until something changed that matters, or the round is over."""
        pause = ROUND_S * self._rng.uniform(0.5, 1.5)
        try:
            async with asyncio.timeout(pause):
                while True:
                    revision = self._metadata.logs.revision
                    if self._wake.is_set() or self._metadata.nodes.revision != nodes_revision:
                        break
                    if self._metadata.logs.value.configuration != configuration:
                        break
                    await self._something(revision, nodes_revision)
        except TimeoutError:
            return
        await asyncio.sleep(SETTLE_S * self._rng.uniform(0.5, 1.5))

    async def _something(self, logs_revision: int, nodes_revision: int) -> None:
        waits = [
            asyncio.ensure_future(self._metadata.logs.changed(logs_revision)),
            asyncio.ensure_future(self._metadata.nodes.changed(nodes_revision)),
            asyncio.ensure_future(self._wake.wait()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _round(self) -> bool:
        """Improve up to a third of the logs; True when there is more to do."""
        wanted = [(log, decision) for log in sorted(self._logs) if (decision := self._judge(log))]
        self._rng.shuffle(wanted)
        share = max(1, len(self._logs) // SHARE_OF_LOGS)
        failed = False
        for log, decision in wanted[:share]:
            failed = not await self._improve(log, decision) or failed
        return len(wanted) > share and not failed

    def _judge(self, log: LogId) -> Reconfigure | None:
        chain = self._metadata.logs.value.chain(log)
        me = self._metadata.me
        if chain is None or me is None:
            return None
        logs, nodes = self._metadata.logs.value, self._metadata.nodes.value
        decision = judge_log(log, chain, logs.configuration, nodes, me)
        return decision if isinstance(decision, Reconfigure) else None

    async def _improve(self, log: LogId, decision: Reconfigure) -> bool:
        chain = self._metadata.logs.value.chain(log)
        if chain is None:
            return True
        request = SegmentRequest(decision.replication, decision.nodeset, self._metadata.me)
        event = self._event(log, chain, decision)
        try:
            await self._bifrost.reconfigure(log, chain.tail.index, request)
        except (LogUnavailable, CannotReconfigure, UnknownLog) as error:
            logger.info("log cannot be improved now", log=log, reason=str(error))
            return False
        logger.info("log improved", log=log, reason=decision.reason)
        self.events.append((log, event))
        return True

    def _event(self, log: LogId, chain: Chain, decision: Reconfigure) -> DecisionEvent:
        """What is known before the change, for those who ask later."""
        logs, nodes = self._metadata.logs.value, self._metadata.nodes.value
        members = ", ".join(plain_text(node) for node in decision.nodeset)
        return DecisionEvent(
            at_ms=self._bifrost.unix_ms(),
            decision=f"new segment with {decision.replication} on [{members}]",
            reason=decision.reason,
            inputs=log_inputs(chain, logs.configuration, nodes),
            alternatives=log_alternatives(decision.nodeset, nodes),
        )
