"""Trims the logs of the partitions that this node leads, as far as nobody needs them.

    every 5 s    durable LSNs of the replicas, archived LSN ─▶ durable point ─▶ a record in the log
    every 30 s   points in the log that are older than trim-delay-interval ─▶ trim

The detour over the log makes the delay survive changes of the leader, and lets the point only rise.
A replica that does not answer counts as one that has nothing. In a cluster without a repository
nothing is archived and so nothing is trimmed; that is said once.

Drives `protocol.durability`; `run` is one task per worker. It writes nothing while nothing is new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from restate_node.bifrost.errors import LogError
from restate_node.protocol.durability import (
    TrimQueue,
    durable_point,
    is_worth_proposing,
    mode_of,
)
from restate_node.roles.worker.context import Neighbours, WorkerContext
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import PartitionId, PlainNodeId
from restate_node.types.offsets import Lsn
from restate_node.types.options import DurabilityMode
from restate_node.types.partitions import Partition
from restate_node.types.wal import UpdateDurability

logger = structlog.get_logger(__name__)

PROPOSE_INTERVAL_S: Final = 5.0
ROUNDS_PER_TRIM: Final = 6

NEEDS_ARCHIVE: Final = frozenset((
    DurabilityMode.BALANCED,
    DurabilityMode.SNAPSHOT_ONLY,
    DurabilityMode.SNAPSHOT_AND_REPLICA_SET,
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class LedPartition:
    """A partition that this node leads, as it is now."""

    partition: Partition
    archived: Lsn | None
    durable: Lsn
    recorded: Lsn | None
    trims: TrimQueue
    propose: Callable[[UpdateDurability], None]


Led = list[tuple[LedPartition, tuple[PlainNodeId, ...]]]
Durable = Mapping[PlainNodeId, Mapping[PartitionId, Lsn | None]]


class LogTrimmer:
    """Of one worker."""

    def __init__(
        self, context: WorkerContext, neighbours: Neighbours, led: Callable[[], Led]
    ) -> None:
        """`led` says what is led now, each with the nodes of its replicas."""
        self._context = context
        self._neighbours = neighbours
        self._led = led
        self._has_warned = False

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for _ in range(ROUNDS_PER_TRIM):
                await asyncio.sleep(PROPOSE_INTERVAL_S)
                await self._propose()
            for led, _ in self._led():
                await self._trim(led)

    # ------------------------------------------------------------ inside

    def _mode(self, replicas: tuple[PlainNodeId, ...]) -> DurabilityMode:
        configured = self._context.options.durability_mode
        return mode_of(configured, replicas=len(replicas), workers=self._neighbours.workers())

    def _may_have_point(self, led: LedPartition, replicas: tuple[PlainNodeId, ...]) -> bool:
        mode = self._mode(replicas)
        if mode is DurabilityMode.NONE:
            return False
        if mode not in NEEDS_ARCHIVE:
            return True
        if self._context.snapshots is None and not self._has_warned:
            self._has_warned = True
            logger.warning("logs are not trimmed: no snapshot repository is configured")
        return led.archived is not None

    async def _propose(self) -> None:
        led = [(led, nodes) for led, nodes in self._led() if self._may_have_point(led, nodes)]
        durable = await self._ask({node for _, nodes in led for node in nodes})
        now_ms = self._context.clock.unix_ms()
        for one, nodes in led:
            number = one.partition.id
            known = [
                one.durable if node == self._context.me.id else durable[node].get(number)
                for node in nodes
            ]
            point = durable_point(self._mode(nodes), one.archived, known)
            if point is not None and is_worth_proposing(point, one.recorded):
                one.propose(UpdateDurability(point, now_ms))

    async def _ask(self, nodes: set[PlainNodeId]) -> Durable:
        others = sorted(nodes - {self._context.me.id})
        answers = await asyncio.gather(*(self._ask_one(node) for node in others))
        return dict(zip(others, answers, strict=True))

    async def _ask_one(self, node: PlainNodeId) -> Mapping[PartitionId, Lsn | None]:
        try:
            state = await self._neighbours.ask(node)
        except RpcFailure:
            return {}
        return {status.partition: status.durable_lsn for status in state.processors}

    async def _trim(self, led: LedPartition) -> None:
        delay_ms = self._context.options.trim_delay_interval_ms
        point = led.trims.due(self._context.clock.unix_ms(), delay_ms)
        if point is None:
            return
        log = led.partition.log_id
        try:
            await self._context.log.trim(log, point)
        except LogError as error:
            # The next durable point brings another chance.
            logger.warning("log not trimmed", log=log, trim_point=point, reason=str(error))
        else:
            logger.info("log trimmed", log=log, trim_point=point)
