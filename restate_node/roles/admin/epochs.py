"""The controller's copy of every partition's epoch metadata, and its only way to change it.

    read    metadata store ─▶ copy           at the start, every few seconds, when found to be old
    commit  decision ─▶ transition ─▶ compare-and-swap ─▶ copy

Operators and leaders change the same objects. Whoever is second finds a version that it did not
expect, reads again and decides again; nothing is ever overwritten. Requests run side by side, but
only so many, since a cluster may have thousands of partitions and one metadata leader.

Invariant: the copy of a partition never goes back to an older version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, assert_never

import structlog

from restate_node.cluster.metadata_errors import (
    MetadataRejected,
    MetadataUnavailable,
    PreconditionNotMet,
)
from restate_node.protocol.placement import CompleteReconfiguration, Reconfigure, SetInitialReplicas
from restate_node.runtime.ports import Clock
from restate_node.types.ids import INVALID_VERSION, PartitionId
from restate_node.types.metadata_kv import (
    DoesNotExist,
    MatchesVersion,
    Precondition,
    VersionedValue,
)
from restate_node.types.partitions import EpochMetadata
from restate_node.wire.metadata_keys import epoch_metadata_key
from restate_node.wire.partitions import decode_epoch_metadata, encode_epoch_metadata
from restate_node.wire.storage_codec import CodecError

logger = structlog.get_logger(__name__)

CONCURRENT_REQUESTS_MAX: Final = 16

Placement = SetInitialReplicas | Reconfigure | CompleteReconfiguration
Item = TypeVar("Item")
Result = TypeVar("Result")


class MetadataStore(Protocol):
    """The part of `MetadataClient` that the admin role uses."""

    async def get(self, key: str) -> VersionedValue | None: ...

    async def put(self, key: str, value: VersionedValue, precondition: Precondition) -> None: ...


@dataclass(frozen=True, slots=True)
class Known:
    """One object as last read or written; None and no bytes while there is none."""

    metadata: EpochMetadata | None
    blob: bytes


class EpochKeeper:
    """The copies. Forgotten when this node is not the controller, for others change them then."""

    def __init__(self, store: MetadataStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[PartitionId, Known] = {}
        self.outdated: set[PartitionId] = set()
        """Found to be older than the store; to be read again."""
        self._malformed: set[PartitionId] = set()

    def known(self, partition: PartitionId) -> Known | None:
        """None while it has not been read, or cannot be understood: leave that partition alone."""
        return self._known.get(partition)

    def metadata(self) -> dict[PartitionId, EpochMetadata]:
        """Those that exist."""
        return {p: known.metadata for p, known in self._known.items() if known.metadata is not None}

    def forget(self) -> None:
        """Know nothing."""
        self._known = {}
        self.outdated = set()
        self._malformed = set()

    def unread(self, partitions: Collection[PartitionId]) -> list[PartitionId]:
        """Those that were never read. Malformed ones were: they wait for the next full round."""
        return [p for p in partitions if p not in self._known and p not in self._malformed]

    async def read(self, partitions: Collection[PartitionId]) -> bool:
        """Read again; True if anything is new. Raises MetadataUnavailable.

        Cancellation-safe: each object is taken over whole.
        """
        return any(await _for_each(sorted(partitions), self._read))

    async def commit(
        self, decisions: Sequence[Placement], took_effect: Callable[[Placement], None]
    ) -> bool:
        """Carry out decisions, reporting each that took effect; True if any did.

        Raises MetadataUnavailable. What was written by somebody else in between, or may have been,
        is `outdated` afterwards.
        """

        async def one(decision: Placement) -> bool:
            done = await self._commit(decision)
            if done:
                took_effect(decision)
            return done

        return any(await _for_each(decisions, one))

    async def _read(self, partition: PartitionId) -> bool:
        value = await self._store.get(epoch_metadata_key(partition))
        self.outdated.discard(partition)
        if value is None:
            return self._learn(partition, Known(None, b""))
        try:
            return self._learn(partition, Known(decode_epoch_metadata(value.data), value.data))
        except CodecError as error:
            logger.warning("epoch metadata is malformed", partition=partition, error=str(error))
            self._known.pop(partition, None)
            self._malformed.add(partition)
            return False

    async def _commit(self, decision: Placement) -> bool:
        partition = decision.partition
        before = self._known.get(partition)
        if before is None:
            return False
        after = _transition(before.metadata, decision, self._clock.unix_ms())
        blob = encode_epoch_metadata(after, partition)
        condition = (
            DoesNotExist() if before.metadata is None else MatchesVersion(before.metadata.version)
        )
        value = VersionedValue(after.version, blob)
        try:
            await self._store.put(epoch_metadata_key(partition), value, condition)
        except (PreconditionNotMet, MetadataUnavailable) as error:
            self.outdated.add(partition)
            if isinstance(error, PreconditionNotMet):
                return False
            raise
        except MetadataRejected as error:
            logger.warning("epoch metadata was refused", partition=partition, error=str(error))
            self.outdated.add(partition)
            return False
        self._learn(partition, Known(after, blob))
        return True

    def _learn(self, partition: PartitionId, found: Known) -> bool:
        """Two readers may overtake each other: the newer version stays."""
        known = self._known.get(partition)
        if known is not None and _version(found) <= _version(known):
            return False
        self._malformed.discard(partition)
        self._known[partition] = found
        return True


def _version(known: Known) -> int:
    return known.metadata.version if known.metadata is not None else INVALID_VERSION


def _transition(before: EpochMetadata | None, decision: Placement, now_ms: int) -> EpochMetadata:
    base = before or EpochMetadata(INVALID_VERSION)
    match decision:
        case SetInitialReplicas(wanted=wanted):
            return base.set_initial_current(wanted.replication, wanted.replica_set, now_ms)
        case Reconfigure(wanted=wanted):
            return base.reconfigure(wanted.replication, wanted.replica_set, now_ms)
        case CompleteReconfiguration():
            return base.complete()
        case _:
            assert_never(decision)


async def _for_each(
    items: Sequence[Item], work: Callable[[Item], Awaitable[Result]]
) -> list[Result]:
    """All of them, some at a time; the first error is raised once the others have ended."""
    slots = asyncio.Semaphore(CONCURRENT_REQUESTS_MAX)

    async def one(item: Item) -> Result:
        async with slots:
            return await work(item)

    results = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
