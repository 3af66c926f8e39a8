"""Requests to whoever leads a partition: found, asked, and asked again until somebody answers.

    partition key ─▶ partition ─▶ leader, if it is alive ─▶ request ─▶ answer
                         ▲             │ none yet, not ready, connection lost, another leads now
                         └── a moment ─┘                              until the patience is over

Only for requests that may arrive twice without having two effects. Whoever cannot promise that
looks at `RpcFailure.maybe_executed` itself.

Some answers take as long as a handler runs. They are asked for in rounds: the leader that sees a
round end knows that somebody still waits, and a request does not stay with a node that has lost the
partition, because a new leader ends the round at once. Patience counts only the time in which no
leader is found or none answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import msgspec

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.runtime.watch import Watch
from restate_node.types.fabric import RpcCode, RpcFailure
from restate_node.types.gossip import Leadership
from restate_node.types.ids import GenerationalNodeId, PartitionId

Reply = TypeVar("Reply", bound=msgspec.Struct)

FAILED_ATTEMPTS_MAX: Final = 3
"""A handler that fails on its own account fails again; the same holds for what it refuses."""
_PERSISTENT: Final = (RpcCode.FAILED, RpcCode.MALFORMED, RpcCode.FORBIDDEN)


class LeaderView(Protocol):
    """Who is alive and who leads; `cluster.membership.Membership` is one."""

    @property
    def alive(self) -> Watch[frozenset[GenerationalNodeId]]: ...

    @property
    def leaders(self) -> Watch[Mapping[PartitionId, Leadership]]: ...


@dataclass(frozen=True, slots=True)
class CallPatience:
    """How long to try."""

    unanswered_s: float = 30.0
    """Without any answer of a leader for so long, the request is given up."""
    round_s: float = 30.0
    """One request; when it is over, the next one follows."""
    pause_s: float = 0.02
    pause_s_max: float = 0.5


class Unanswered(Exception):
    """Nobody answered in time. The request may have been executed, and is safe to repeat."""


class PartitionCalls:
    """Sends requests from this node; any number at once."""

    def __init__(
        self,
        metadata: MetadataCache,
        leaders: LeaderView,
        fabric: Fabric,
        patience: CallPatience | None = None,
    ) -> None:
        self._metadata = metadata
        self._leaders = leaders
        self._fabric = fabric
        self._patience = patience or CallPatience()
        self._rounds: dict[_Round, None] = {}
        self.pausing_count = 0
        """Calls that no leader has now: they will ask one in a moment."""

    def start(self, tasks: TaskCenter) -> None:
        """End rounds whose leader is gone, from now on."""
        tasks.spawn(TaskKind.MEMBERSHIP, "calls follow leaders", self._follow_leaders())
        tasks.spawn(TaskKind.MEMBERSHIP, "calls follow lives", self._follow_lives())

    @property
    def waiting_count(self) -> int:
        return len(self._rounds)

    async def call(
        self,
        partition_key: int,
        request: Callable[[PartitionId], msgspec.Struct],
        reply_type: type[Reply],
        *,
        waits: bool = False,
    ) -> Reply:
        """The leader's answer; `waits`: it may take as long as it likes. Raises Unanswered.

        Cancellation leaves open whether the request was executed.
        """
        tries = _Tries(self._patience, asyncio.get_running_loop().time())
        while True:
            partition = self._metadata.partition_table.value.partition_of(partition_key)
            leader = None if partition is None else self._leader_of(partition.id)
            if partition is None or leader is None:
                tries.failed(_nobody(partition and partition.id))
            else:
                place = _Round(partition.id, leader)
                reply = await self._round(place, request(partition.id), waits)
                if isinstance(reply, reply_type):
                    return reply
                failure = _failure_of(reply)
                if waits and failure.code is RpcCode.TIMEOUT and self._leads(place):
                    tries.heard()
                    continue
                tries.failed(f"{leader} answered: {failure}", failure.code)
            self.pausing_count += 1
            try:
                await asyncio.sleep(tries.pause_s())
            finally:
                self.pausing_count -= 1

    async def _round(
        self, place: _Round, request: msgspec.Struct, waits: bool
    ) -> msgspec.Struct | RpcFailure:
        """One request to one leader. Cancellation-safe: a late answer finds nobody."""
        patience = self._patience
        timeout_s = patience.round_s if waits else patience.unanswered_s / 3
        self._rounds[place] = None
        try:
            self._fabric.submit(place.leader, request, place.answer, timeout_s=timeout_s)
            return await place.answered
        finally:
            del self._rounds[place]

    async def _follow_leaders(self) -> None:
        leaders = self._leaders.leaders
        while True:
            revision = leaders.revision
            self._end_orphans()
            await leaders.changed(revision)

    async def _follow_lives(self) -> None:
        alive = self._leaders.alive
        while True:
            revision = alive.revision
            self._end_orphans()
            await alive.changed(revision)

    def _end_orphans(self) -> None:
        for place in self._rounds:
            if not self._leads(place):
                text = f"{place.leader} does not lead partition {place.partition} any more"
                place.answer(RpcFailure(RpcCode.CONNECTION_LOST, text))

    def _leads(self, place: _Round) -> bool:
        return self._leader_of(place.partition) == place.leader

    def _leader_of(self, partition: PartitionId) -> GenerationalNodeId | None:
        leadership = self._leaders.leaders.value.get(partition)
        if leadership is None or leadership.node not in self._leaders.alive.value:
            return None
        return leadership.node


class _Round:
    """A request that is with a leader."""

    __slots__ = ("answered", "leader", "partition")

    def __init__(self, partition: PartitionId, leader: GenerationalNodeId) -> None:
        self.partition = partition
        self.leader = leader
        self.answered: asyncio.Future[msgspec.Struct | RpcFailure] = (
            asyncio.get_running_loop().create_future()
        )

    def answer(self, reply: msgspec.Struct | RpcFailure) -> None:
        if not self.answered.done():
            self.answered.set_result(reply)


class _Tries:
    """How often it went wrong, and since when nobody has answered."""

    def __init__(self, patience: CallPatience, now: float) -> None:
        self._patience = patience
        self._heard_at = now
        self._failures = 0
        self._persistent = 0

    def heard(self) -> None:
        """A leader has the request and works on it."""
        self._heard_at = asyncio.get_running_loop().time()
        self._failures = self._persistent = 0

    def failed(self, reason: str, code: RpcCode | None = None) -> None:
        """Raises Unanswered when that was enough."""
        self._failures += 1
        self._persistent += code in _PERSISTENT
        silent_s = asyncio.get_running_loop().time() - self._heard_at
        if self._persistent >= FAILED_ATTEMPTS_MAX or silent_s >= self._patience.unanswered_s:
            raise Unanswered(reason)

    def pause_s(self) -> float:
        """Grows with every failure."""
        doublings = min(self._failures - 1, 16)
        return min(self._patience.pause_s * 2**doublings, self._patience.pause_s_max)


def _failure_of(reply: msgspec.Struct | RpcFailure) -> RpcFailure:
    if isinstance(reply, RpcFailure):
        return reply
    return RpcFailure(RpcCode.MALFORMED, f"answered with {type(reply).__name__}")


def _nobody(partition: PartitionId | None) -> str:
    if partition is None:
        return "the cluster is not provisioned yet"
    return f"partition {partition} has no leader"
