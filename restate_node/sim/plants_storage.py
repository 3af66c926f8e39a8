"""Bugs on purpose in what keeps, trims and restores state; see `plants`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from restate_node.protocol.partition import tables
from restate_node.protocol.quorum import FMajority, NodesetChecker
from restate_node.protocol.read_cursor import Gap
from restate_node.roles.log_server import log_store
from restate_node.roles.worker import log_trimmer, snapshot_transfer
from restate_node.roles.worker.replay import READ_BYTES_MAX, Replay
from restate_node.roles.worker.snapshot_repository import SnapshotRepository
from restate_node.runtime.ports import Unconditional
from restate_node.sim.plant import Plant
from restate_node.sim.substitution import Substitution
from restate_node.types.ids import PartitionId, PlainNodeId
from restate_node.types.offsets import Lsn
from restate_node.types.options import DurabilityMode
from restate_node.types.snapshots import SnapshotFile

DurablePoint = Callable[[DurabilityMode, Lsn | None, Sequence[Lsn | None]], Lsn | None]


def _highest_of_all(inner: DurablePoint) -> DurablePoint:
    """Whatever anybody has is taken for what the mode demands."""

    def durable_point(
        mode: DurabilityMode, archived: Lsn | None, replicas: Sequence[Lsn | None]
    ) -> Lsn | None:
        known = [lsn for lsn in (archived, *replicas) if lsn]
        return max(known) if known and mode is not DurabilityMode.NONE else None

    del inner
    return durable_point


Difference = Callable[[SnapshotFile, Any], str | None]


def _never_different(inner: Difference) -> Difference:
    del inner
    return lambda file, digest: None


ReadLatest = Callable[[SnapshotRepository, PartitionId], Awaitable[Any]]


def _without_condition(inner: ReadLatest) -> ReadLatest:
    async def read_latest(repository: SnapshotRepository, partition: PartitionId) -> Any:
        return replace(await inner(repository, partition), condition=Unconditional())

    return read_latest


Run = Callable[[Any], Awaitable[None]]


def _gaps_are_skipped(inner: Run) -> Run:
    """The applied LSN moves over the gap, and nothing else does."""

    async def run(replay: Any) -> None:
        while True:
            for delivery in await replay._reader.next(READ_BYTES_MAX):
                if isinstance(delivery, Gap):
                    transaction = replay._store.begin()
                    row = tables.write_applied(replay._partition.id, delivery.last)
                    transaction.put([row])
                    replay._store.commit(transaction)
                else:
                    await replay._apply_run(delivery)

    del inner
    return run


FindMajority = Callable[[NodesetChecker, Iterable[PlainNodeId]], FMajority]


def _lost_ones_count(inner: FindMajority) -> FindMajority:
    """A member that has lost its data is taken for one that has answered, and has nothing."""

    def f_majority(checker: NodesetChecker, nodes: Iterable[PlainNodeId]) -> FMajority:
        lost: frozenset[PlainNodeId] = checker._lost  # pyright: ignore[reportPrivateUsage]
        answered = checker.members.intersection(nodes) | lost
        needed = max(1, len(checker.members) - checker.replication.copies + 1)
        return FMajority.SUCCESS if len(answered) >= needed else inner(checker, nodes)

    return f_majority


Checksum = Callable[[bytes, bytes, bytes], int]


def _no_checksum(inner: Checksum) -> Checksum:
    del inner
    return lambda key, head, body: 0


STORAGE_PLANTS: Final = (
    Plant(
        "trim-past-durable-point",
        "a log is trimmed up to what the furthest replica has, whatever the mode demands (L6)",
        (Substitution(log_trimmer, "durable_point", _highest_of_all),),
    ),
    Plant(
        "import-short-file",
        "a downloaded file becomes part of the state whatever its length and SHA-256 are (V2)",
        (Substitution(snapshot_transfer, "_difference", _never_different),),
    ),
    Plant(
        "latest-without-condition",
        "latest.json is written without a condition: who was frozen while it published puts an "
        "older snapshot in place of a newer one (S1, L6)",
        (Substitution(SnapshotRepository, "_read_latest", _without_condition),),
    ),
    Plant(
        "skip-trim-gap",
        "a replica that starts behind the trim point goes on behind the gap (P1, P8)",
        (Substitution(Replay, "run", _gaps_are_skipped),),
    ),
    Plant(
        "data-loss-node-authoritative",
        "a member of a nodeset in state data-loss counts for an f-majority as if it had said that "
        "it has nothing: the tail is found below what was acknowledged (L1, L2, L3)",
        (Substitution(NodesetChecker, "f_majority", _lost_ones_count),),
    ),
    Plant(
        "rot-unnoticed",
        "stored records are read back without a look at their checksums (L7)",
        (Substitution(log_store, "_checksum", _no_checksum),),
    ),
)
