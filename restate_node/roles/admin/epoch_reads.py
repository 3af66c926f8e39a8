"""The epoch metadata of all partitions, read for somebody who looks and does not decide."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, Protocol

from restate_node.types.ids import PartitionId
from restate_node.types.metadata_kv import VersionedValue
from restate_node.types.partitions import EpochMetadata
from restate_node.wire.metadata_keys import epoch_metadata_key
from restate_node.wire.partitions import decode_epoch_metadata

CONCURRENT_READS_MAX: Final = 16


class ReadableStore(Protocol):
    """The reading half of the metadata store."""

    async def get(self, key: str) -> VersionedValue | None: ...


async def read_epochs(
    store: ReadableStore, partitions: Iterable[PartitionId]
) -> dict[PartitionId, EpochMetadata]:
    """Of those that have been placed, by id. Raises MetadataError, CodecError."""
    slots = asyncio.Semaphore(CONCURRENT_READS_MAX)

    async def one(partition: PartitionId) -> EpochMetadata | None:
        async with slots:
            value = await store.get(epoch_metadata_key(partition))
        return None if value is None else decode_epoch_metadata(value.data)

    ordered = sorted(partitions)
    found = await asyncio.gather(*(one(partition) for partition in ordered))
    return {p: e for p, e in zip(ordered, found, strict=True) if e is not None}
