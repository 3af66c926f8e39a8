"""Keeps the metadata cache fresh: by what peers announce in their frames, and by asking the store
now and then.

A frame with a higher version wakes this task, which fetches the object from that very peer (it has
it in memory) and from the metadata store when the peer does not answer. The periodic round through
the store catches what no frame told, for example on an idle node.

It also notices the two facts that end a process: its node was removed, or a newer life of its node
has joined.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from restate_node.cluster.metadata_cache import KEY_OF, ForeignCluster, MetadataCache, Newer
from restate_node.fabric.fabric import Fabric
from restate_node.fabric.router import Reply
from restate_node.types.fabric import Peer, RpcFailure
from restate_node.types.metadata import GetMetadata, MetadataKind, MetadataObject
from restate_node.wire.storage_codec import CodecError

logger = structlog.get_logger(__name__)

FETCH_TIMEOUT_S: Final = 3.0
PAUSE_AFTER_FAILURE_S: Final = 0.2

ReadBlob = Callable[[str], Awaitable[bytes | None]]
"""Reads one key of the metadata store; raises an Exception when it cannot be reached."""


class Superseded(Exception):
    """This process must end: its node was removed or lives on in another process."""


class MetadataSync:
    """Drives one MetadataCache."""

    def __init__(
        self, cache: MetadataCache, fabric: Fabric, read_blob: ReadBlob, interval_s: float
    ) -> None:
        self._cache = cache
        self._fabric = fabric
        self._read_blob = read_blob
        self._interval_s = interval_s
        fabric.router.on(GetMetadata, self._serve)

    async def run(self) -> None:
        """Until cancelled; raises Superseded. Cancellation-safe: objects are installed whole."""
        loop = asyncio.get_running_loop()
        next_round = loop.time() + self._interval_s
        while True:
            revision = self._cache.newer.revision
            wanted = self._wanted()
            progress = [await self._fetch(kind, newer) for kind, newer in wanted.items()]
            if loop.time() >= next_round:
                await self.refresh()
                next_round = loop.time() + self._interval_s
            self._check_superseded()
            if wanted and not any(progress):
                await asyncio.sleep(PAUSE_AFTER_FAILURE_S)
            elif not self._wanted():
                await self._wait(revision, next_round - loop.time())

    async def refresh(self) -> None:
        """Read all objects from the store; failures are reported and left to the next round."""
        for kind in MetadataKind:
            await self._fetch_from_store(kind)

    async def _wait(self, revision: int, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._cache.newer.changed(revision)
        except TimeoutError:
            return

    def _wanted(self) -> dict[MetadataKind, Newer]:
        newer = self._cache.newer.value
        for kind in [kind for kind in newer if newer[kind].version <= self._cache.version_of(kind)]:
            del newer[kind]
        return dict(newer)

    async def _fetch(self, kind: MetadataKind, newer: Newer) -> bool:
        """True when the announced version is here, or is not wanted any more."""
        await self._fetch_from_peer(kind, newer)
        if self._cache.version_of(kind) >= newer.version:
            return True
        if not await self._fetch_from_store(kind):
            return False
        if (
            self._cache.version_of(kind) < newer.version
            and self._cache.newer.value.get(kind) == newer
        ):
            # Whoever announced it does not have it, and neither has the store: it never was.
            logger.warning(
                "announced metadata does not exist", kind=kind.name, peer=str(newer.peer)
            )
            del self._cache.newer.value[kind]
        return True

    async def _fetch_from_peer(self, kind: MetadataKind, newer: Newer) -> bool:
        node = newer.peer.node
        if node is None or self._cache.address_of(node.id) is None:
            return False
        request = GetMetadata(kind, newer.version)
        try:
            answer = await self._fabric.call(
                node.id, request, MetadataObject, timeout_s=FETCH_TIMEOUT_S
            )
            return bool(answer.blob) and self._cache.install_blob(kind, answer.blob)
        except (RpcFailure, CodecError, ForeignCluster) as error:
            logger.debug("metadata not fetched", kind=kind.name, peer=str(node), error=str(error))
            return False

    async def _fetch_from_store(self, kind: MetadataKind) -> bool:
        try:
            blob = await self._read_blob(KEY_OF[kind])
        except Exception as error:
            logger.debug("metadata store not reached", kind=kind.name, error=str(error))
            return False
        try:
            if blob is not None:
                self._cache.install_blob(kind, blob)
            return True
        except (CodecError, ForeignCluster) as error:
            logger.warning("metadata refused", kind=kind.name, error=str(error))
            return False

    def _check_superseded(self) -> None:
        me = self._cache.me
        nodes = self._cache.nodes.value
        if me is None:
            return
        if nodes.is_tombstone(me.id):
            raise Superseded(f"{me} was removed from the cluster; wipe its data to join again")
        if (known := self._cache.generation_of(me.id)) > me.generation:
            raise Superseded(
                f"another process runs as N{me.id} (generation {known}, this is {me.generation}); "
                "give one of them another node-name and data directory"
            )

    def _serve(self, peer: Peer, request: GetMetadata, reply: Reply) -> None:
        version = self._cache.version_of(request.kind)
        blob = self._cache.blob(request.kind) if version >= request.min_version else b""
        reply(MetadataObject(request.kind, version, blob))
