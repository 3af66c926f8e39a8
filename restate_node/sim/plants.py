"""Bugs on purpose: each breaks one rule that the design cannot do without, and each must be found.

A checker that never failed proves little. So these can be planted in the real system, by name, to
see that the simulator finds them within a few dozen seeds, and which invariant tells:

    python -m restate_node.sim --seeds 1-200 --plant ack-before-fsync

The product has no trace of them: each is a substitution, declared here and nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from restate_node.bifrost.replicated import local_sequencer
from restate_node.protocol.dedup import Number
from restate_node.protocol.partition import apply as partition_apply
from restate_node.protocol.quorum import FMajority, NodesetChecker
from restate_node.protocol.raft import leader as raft_leader
from restate_node.protocol.raft.read_index import ReadQueue
from restate_node.protocol.sequencer import (
    Placed,
    Released,
    Sequencer,
    SequencerOptions,
    SequencerPhase,
    StoreGroup,
    Unresolved,
)
from restate_node.roles.log_server import service as log_server_service
from restate_node.roles.log_server.writer import Writer
from restate_node.runtime.ports import KeyValueStore, StoreError, WriteBatch
from restate_node.sim.plant import Plant
from restate_node.sim.plants_control import CONTROL_PLANTS
from restate_node.sim.plants_invocations import INVOCATION_PLANTS
from restate_node.sim.plants_operators import OPERATOR_PLANTS
from restate_node.sim.plants_storage import STORAGE_PLANTS
from restate_node.sim.substitution import Substitution
from restate_node.types.ids import PlainNodeId
from restate_node.types.offsets import OLDEST_OFFSET, LogletOffset
from restate_node.types.raft import Index, Members

LATE_SYNC_SECONDS: Final = 0.3

# ---------------------------------------------------------------- ack-before-fsync


class LateSync:
    """A store whose `sync` returns at once; the disk has it a third of a second later."""

    def __init__(self, store: KeyValueStore) -> None:
        self._store = store
        self._syncing: asyncio.Task[None] | None = None

    def batch(self) -> WriteBatch:
        return self._store.batch()

    def write(self, batch: WriteBatch) -> None:
        self._store.write(batch)

    async def sync(self) -> None:
        if self._syncing is None or self._syncing.done():
            self._syncing = asyncio.ensure_future(self._sync_later())

    async def _sync_later(self) -> None:
        await asyncio.sleep(LATE_SYNC_SECONDS)
        try:
            await self._store.sync()
        except StoreError:
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _writer_that_does_not_wait(inner: type[Writer]) -> Callable[..., Writer]:
    def make(store: KeyValueStore, on_failure: Callable[[StoreError], None]) -> Writer:
        lazy: Any = LateSync(store)
        return inner(lazy, on_failure)

    return make


# ---------------------------------------------------------------- release-out-of-order


class HastySequencer(Sequencer[Any]):
    """Answers what is under way along with the first group that is committed."""

    def __init__(self, options: SequencerOptions, tail: LogletOffset = OLDEST_OFFSET) -> None:
        super().__init__(options, tail)
        self._under_way: list[StoreGroup[Any]] = []
        self._answered: list[Placed[Any]] = []
        self._tail = tail

    def next_group(self) -> StoreGroup[Any] | None:
        group = super().next_group()
        if group is not None:
            self._under_way.append(group)
        return group

    def committed(self, group: StoreGroup[Any]) -> Released[Any]:
        super().committed(group)
        if self.phase is SequencerPhase.SEALED:
            return Released((), self._tail)
        groups, self._under_way = self._under_way, []
        appends = [placed for answered in groups for placed in answered.appends]
        self._answered.extend(appends)
        self._tail = max([self._tail, *(answered.tail for answered in groups)])
        return Released(tuple(appends), self._tail)

    def seal(self) -> Unresolved[Any]:
        unresolved = super().seal()
        answered = [placed.token for placed in self._answered]
        return Unresolved(
            tuple(token for token in unresolved.sent if token not in answered), unresolved.unsent
        )


def _hasty_sequencer(inner: type[Sequencer[Any]]) -> type[Sequencer[Any]]:
    del inner
    return HastySequencer


# ---------------------------------------------------------------- the others

IsNew = Callable[[Number | None, Number], bool]


def _dedup_without_epochs(inner: IsNew) -> IsNew:
    """Records of leaders are taken for new, whatever epoch they are of."""
    return lambda highest, number: number[0] > 0 or inner(highest, number)


def _no_dedup(inner: IsNew) -> IsNew:
    """Records of clients are taken for new, however often they come."""
    return lambda highest, number: number[0] == 0 or inner(highest, number)


FindMajority = Callable[[NodesetChecker, Any], FMajority]


def _anybody_is_a_majority(inner: FindMajority) -> FindMajority:
    def f_majority(checker: NodesetChecker, nodes: frozenset[PlainNodeId]) -> FMajority:
        answered = checker.members.intersection(nodes)
        return FMajority.SUCCESS if answered else inner(checker, nodes)

    return f_majority


WriteQuorum = Callable[[NodesetChecker, Iterable[PlainNodeId]], bool]


def _one_copy_is_enough(inner: WriteQuorum) -> WriteQuorum:
    del inner
    return lambda checker, nodes: bool(checker.members.intersection(nodes))


Reached = Callable[[PlainNodeId], int]


def _the_furthest_decides(inner: object) -> Callable[[Members, Reached], int]:
    del inner
    return lambda members, reached: max(map(reached, members.created_at_millis), default=0)


Ask = Callable[[ReadQueue, Index], None]


def _confirmed_by_itself(inner: Ask) -> Ask:
    """Every round is number 0, which everybody has answered before."""

    def ask(queue: ReadQueue, commit: Index) -> None:
        queue.number = -1
        inner(queue, commit)

    return ask


PLANTS: Final[dict[str, Plant]] = {
    plant.name: plant
    for plant in (
        Plant(
            "ack-before-fsync",
            "a log server acknowledges records before the disk has them; power loss of two of "
            "them takes acknowledged records away (L2, L4)",
            (Substitution(log_server_service, "Writer", _writer_that_does_not_wait),),
        ),
        Plant(
            "skip-epoch-check",
            "a leader's announcement counts although a later epoch has begun (P2)",
            (Substitution(partition_apply, "is_new", _dedup_without_epochs),),
        ),
        Plant(
            "release-out-of-order",
            "with one group committed, the sequencer releases all that are under way, before "
            "their turn: what was acknowledged may never be stored (L2, L4)",
            (Substitution(local_sequencer, "Sequencer", _hasty_sequencer),),
        ),
        Plant(
            "seal-without-f-majority",
            "one log server's word is taken for that of an f-majority: the sequencer's appends go "
            "on above the tail that was found (L2, L3, L4)",
            (Substitution(NodesetChecker, "f_majority", _anybody_is_a_majority),),
        ),
        Plant(
            "apply-without-dedup",
            "a command that is in the log twice takes effect twice (P3)",
            (Substitution(partition_apply, "is_new", _no_dedup),),
        ),
        Plant(
            "release-below-quorum",
            "one copy is taken for a write quorum: the record is acknowledged, and whoever seals "
            "without that log server never sees it (L1, L2, L3)",
            (Substitution(NodesetChecker, "write_quorum", _one_copy_is_enough),),
        ),
        Plant(
            "raft-commits-alone",
            "a metadata leader commits what it has on its own disk (M3, M4, M5)",
            (Substitution(raft_leader, "majority_value", _the_furthest_decides),),
        ),
        Plant(
            "read-without-round",
            "a metadata leader answers reads without asking whether it still leads (M5)",
            (Substitution(ReadQueue, "ask", _confirmed_by_itself),),
        ),
        *STORAGE_PLANTS,
        *CONTROL_PLANTS,
        *INVOCATION_PLANTS,
        *OPERATOR_PLANTS,
    )
}
"""By name."""
