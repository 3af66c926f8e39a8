"""The log server of this node while it is repaired: what `bifrost.server_repair` may do to it
besides storing records.

    close_logs ─▶ rows that stand for forgotten seals
    trim       ─▶ trim points that others remember
    return     ─▶ marker, then every message is served, then read-write

The order of the last three is what makes a crash harmless: a store without a marker is lost data
until all its records are there again, and nobody chooses the server before it serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

from restate_node.cluster.metadata_cache import KEY_OF, MetadataCache
from restate_node.cluster.metadata_client import MetadataClient
from restate_node.cluster.metadata_errors import MetadataError
from restate_node.roles.log_server.log_store import LogStore
from restate_node.roles.log_server.service import LogServer, LogServerState
from restate_node.roles.log_server.start import CannotStart, update_me, write_own_marker
from restate_node.runtime.ports import Clock, StoreBusy, StoreError
from restate_node.types.fabric import RpcFailure
from restate_node.types.ids import LogId, SegmentIndex
from restate_node.types.log_messages import Status, TrimLoglet
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import Node, StorageState

BUSY_PAUSE_S: Final = 0.2
BUSY_ATTEMPTS_MAX: Final = 100
"""A database that has just taken all records of a server may have much to compact."""


class NotReturned(Exception):
    """The server could not be changed; one line that says what to do."""


class RepairedLogServer:
    """Implements `bifrost.server_repair.OwnLogServer`; its errors are one-line texts."""

    def __init__(
        self,
        server: LogServer,
        store: LogStore,
        cache: MetadataCache,
        client: MetadataClient,
        clock: Clock,
    ) -> None:
        self._server = server
        self._store = store
        self._cache = cache
        self._client = client
        self._clock = clock

    async def refresh(self) -> str | None:
        """The newest storage state of the node is in the cache then; why not, if not."""
        kind = MetadataKind.NODES_CONFIGURATION
        try:
            value = await self._client.get(KEY_OF[kind])
        except MetadataError as error:
            return f"the nodes configuration cannot be read: {error}"
        if value is not None:
            self._cache.install_blob(kind, value.data)
        return None

    async def close_logs(self, through: Mapping[LogId, SegmentIndex]) -> str | None:
        """Durable when it returns; why it failed, if it did."""
        try:
            await _unless_busy(lambda: self._server.close_logs(through))
        except StoreError as error:
            return str(error)
        return None

    async def trim(self, request: TrimLoglet) -> str | None:
        """Why it failed, if it did."""
        try:
            status = await self._server.trim(request)
        except RpcFailure as failure:
            return failure.message
        return None if status is Status.OK else f"trimming was answered {status.name.lower()}"

    async def return_to_service(self, judged: StorageState) -> str | None:
        """Become read-write, from the state in which the repair found it; why not, if not."""
        me = self._cache.me
        assert me is not None, "a node that repairs has joined"
        if self._server.state is LogServerState.FAIL_SAFE:
            return "its disk failed meanwhile: restart the node"

        def returned(node: Node) -> Node:
            if node.storage_state not in (judged, StorageState.READ_WRITE):
                raise NotReturned(
                    f"its storage-state was set to `{node.storage_state.value}` meanwhile; repeat "
                    "the repair if that is not wanted"
                )
            return replace(node, storage_state=StorageState.READ_WRITE)

        try:
            if self._store.marker() is None:
                await _unless_busy(lambda: write_own_marker(self._store, me, self._clock))
            self._server.serve_wholly()
            await update_me(self._cache, self._client, self._clock, returned)
        except (NotReturned, CannotStart, StoreError, MetadataError) as error:
            return str(error)
        return None


async def _unless_busy(write: Callable[[], Awaitable[None]]) -> None:
    """Raises StoreError; a store that is busy has written nothing, and is asked again."""
    for _ in range(BUSY_ATTEMPTS_MAX):
        try:
            await write()
            return
        except StoreBusy:
            await asyncio.sleep(BUSY_PAUSE_S)
    raise StoreError("its log store stays busy: repeat the repair later")
