"""The one writer of chains on this node: batches edits into versions of the logs object.

    add, extend, seal, trim prefix ─▶ queue ─▶ apply_edits ─▶ compare-and-swap ─▶ cache ─▶ answers

Twenty-four partitions that start together, or lose one node together, edit twenty-four chains; each
version is fetched by every node, so they go into one. A lost race is not an error: the edits are
applied again to what won, and each then learns from its outcome whether it is still wanted.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeAlias

import structlog

from restate_node.bifrost.errors import LogUnavailable
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_client import MetadataClient
from restate_node.cluster.metadata_errors import MetadataError, PreconditionNotMet
from restate_node.protocol.chain import Edit, EditedLogs, EditOutcome, apply_edits
from restate_node.types.ids import INVALID_VERSION
from restate_node.types.logs import Logs
from restate_node.types.metadata import MetadataKind
from restate_node.types.metadata_kv import DoesNotExist, MatchesVersion, VersionedValue
from restate_node.wire.logs import decode_logs, encode_logs
from restate_node.wire.metadata_keys import LOGS_KEY
from restate_node.wire.storage_codec import CodecError

logger = structlog.get_logger(__name__)

QUEUED_EDITS_MAX: Final = 100_000

_Queued: TypeAlias = "tuple[Edit, asyncio.Future[EditOutcome]]"


class ChainKeeper:
    """Edits chains; `run` is one task of the node."""

    def __init__(self, metadata: MetadataCache, client: MetadataClient) -> None:
        self._metadata = metadata
        self._client = client
        self._queue: list[_Queued] = []
        self._stopped = False
        self._wake = asyncio.Event()

    async def edit(self, edit: Edit) -> EditOutcome:
        """Apply an edit; the cache has the result when this returns. Raises LogUnavailable.

        Cancellation-safe: the edit may still be applied; edits name what they expect.
        """
        if len(self._queue) >= QUEUED_EDITS_MAX:
            raise LogUnavailable("too many changes of chains are waiting; retry")
        if self._stopped:
            raise LogUnavailable("chains cannot be changed now: this node is stopping")
        answer: asyncio.Future[EditOutcome] = asyncio.get_running_loop().create_future()
        self._queue.append((edit, answer))
        self._wake.set()
        return await answer

    async def refresh(self) -> None:
        """Read the chains from the store, past the cache. Raises LogUnavailable."""
        self._install(await self._read())

    async def run(self) -> None:
        """Until cancelled; whoever waits then, or comes later, is answered LogUnavailable."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                batch, self._queue = self._queue, []
                batch = [queued for queued in batch if not queued[1].done()]
                if batch:
                    await self._commit(batch)
        finally:
            self._stopped = True
            _deny(self._queue, "this node is stopping")

    async def _commit(self, batch: list[_Queued]) -> None:
        try:
            result = await self._compare_and_swap([edit for edit, _ in batch])
        except (MetadataError, LogUnavailable) as error:
            _deny(batch, str(error))
            return
        except BaseException:
            _deny(batch, "this node is stopping")
            raise
        for (_, answer), outcome in zip(batch, result.outcomes, strict=True):
            if not answer.done():
                answer.set_result(outcome)

    async def _compare_and_swap(self, edits: list[Edit]) -> EditedLogs:
        """The cache is tried first; whatever it does not lead to a new version is read again."""
        logs = self._metadata.logs.value
        result = apply_edits(logs, edits)
        fresh = False
        while True:
            if result.logs.version > logs.version and await self._write(logs, result.logs):
                return result
            if fresh and result.logs.version == logs.version:
                return result
            logs, fresh = await self._read(), True
            self._install(logs)
            result = apply_edits(logs, edits)

    async def _write(self, former: Logs, logs: Logs) -> bool:
        """False when somebody else was faster."""
        precondition = (
            MatchesVersion(former.version) if former.version > INVALID_VERSION else DoesNotExist()
        )
        blob = encode_logs(logs)
        try:
            await self._client.put(LOGS_KEY, VersionedValue(logs.version, blob), precondition)
        except PreconditionNotMet:
            return False
        self._metadata.install(MetadataKind.LOGS, logs, blob)
        return True

    async def _read(self) -> Logs:
        try:
            value = await self._client.get(LOGS_KEY)
        except MetadataError as error:
            raise LogUnavailable(f"the chains cannot be read: {error}") from None
        if value is None:
            raise LogUnavailable("the cluster is not provisioned yet")
        try:
            return decode_logs(value.data)
        except CodecError as error:
            raise LogUnavailable(
                f"the chains in the metadata store are malformed: {error}"
            ) from None

    def _install(self, logs: Logs) -> None:
        self._metadata.install(MetadataKind.LOGS, logs)


def _deny(queued: list[_Queued], reason: str) -> None:
    for _, answer in queued:
        if not answer.done():
            answer.set_exception(LogUnavailable(f"chains cannot be changed now: {reason}"))
