"""Starts the log server role: compares disk and cluster, provisions or refuses
(`protocol.storage_start`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from restate_node.cluster.metadata_cache import KEY_OF, MetadataCache
from restate_node.cluster.metadata_client import MetadataClient
from restate_node.protocol.storage_start import (
    LostData,
    Provision,
    RefuseStart,
    Serve,
    decide_start,
)
from restate_node.roles.log_server.log_store import LogStore
from restate_node.runtime.ports import Clock
from restate_node.types.ids import GenerationalNodeId
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import Node, NodesConfiguration, StorageState
from restate_node.types.storage_marker import StorageMarker, decode_marker, encode_marker
from restate_node.types.timestamps import hlc
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration

logger = structlog.get_logger(__name__)


class CannotStart(Exception):
    """The log server must not serve; the text is the operator's."""


async def prepare(
    store: LogStore, cache: MetadataCache, client: MetadataClient, clock: Clock
) -> None:
    """Returns when the role may serve; raises CannotStart, StoreError, MetadataUnavailable."""
    me = cache.me
    assert me is not None, "a log server starts after its node has joined"
    member = _member(cache.nodes.value, me)
    raw = store.marker()
    marker = _marker(raw)
    decision = decide_start(me.id, member.name, member.storage_state, marker)
    match decision:
        case Serve():
            return
        case Provision(write_marker):
            if write_marker:
                await store.write_marker(encode_marker(StorageMarker(me.id, _rfc3339(clock))))
            await _set_state(cache, client, clock, me, StorageState.READ_WRITE)
        case LostData(error):
            logger.warning(
                f"Detected data loss for log-server of my node N{me.id}. The log-server marker is "
                f"missing, storage-state was {member.storage_state.value}, will transition into "
                "`data-loss`"
            )
            await _set_state(cache, client, clock, me, StorageState.DATA_LOSS)
            raise CannotStart(error)
        case RefuseStart(error):
            raise CannotStart(error)


async def _set_state(
    cache: MetadataCache,
    client: MetadataClient,
    clock: Clock,
    me: GenerationalNodeId,
    state: StorageState,
) -> None:
    await update_me(cache, client, clock, lambda node: replace(node, storage_state=state))


async def update_me(
    cache: MetadataCache,
    client: MetadataClient,
    clock: Clock,
    change: Callable[[Node], Node],
) -> None:
    """Change this node's entry in the nodes configuration, unless a newer life of it has joined."""
    me = cache.me
    assert me is not None

    def edit(blob: bytes | None) -> bytes | None:
        assert blob is not None, "the nodes configuration of a member exists"
        configuration = decode_nodes_configuration(blob)
        member = _member(configuration, me)
        changed = change(member)
        if changed == member:
            return None
        return encode_nodes_configuration(configuration.updated(changed, hlc(clock.unix_ms())))

    kind = MetadataKind.NODES_CONFIGURATION
    blob = await client.update(KEY_OF[kind], edit)
    if blob is not None:
        cache.install_blob(kind, blob)


def _member(configuration: NodesConfiguration, me: GenerationalNodeId) -> Node:
    member = configuration.find(me)
    if member is None:
        raise CannotStart(f"{me} is no member of the cluster any more: restart the node")
    return member


def _marker(raw: bytes | None) -> StorageMarker | None:
    if raw is None:
        return None
    try:
        return decode_marker(raw)
    except ValueError as error:
        raise CannotStart(
            f"{error}: restore the node's log-store, or wipe it to start anew"
        ) from None


def _rfc3339(clock: Clock) -> str:
    moment = datetime.fromtimestamp(clock.unix_ms() / 1000, UTC)
    return moment.isoformat().replace("+00:00", "Z")
