"""Starts the log server role: compares disk and cluster, provisions or refuses
(`protocol.storage_start`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum

import structlog

from restate_node.cluster.metadata_cache import KEY_OF, MetadataCache
from restate_node.cluster.metadata_client import MetadataClient
from restate_node.protocol.storage_start import (
    AwaitRepair,
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


class StartMode(Enum):
    """How the role serves at first."""

    WHOLE = "whole"
    AWAITING_REPAIR = "awaiting-repair"
    """Its data was lost: only repairs are accepted."""


async def prepare(
    store: LogStore,
    cache: MetadataCache,
    client: MetadataClient,
    clock: Clock,
    *,
    repairable: bool = False,
) -> StartMode:
    """How the role may serve; raises CannotStart, StoreError, MetadataUnavailable."""
    me = cache.me
    assert me is not None, "a log server starts after its node has joined"
    member = _member(cache.nodes.value, me)
    raw = store.marker()
    marker = _marker(raw)
    state = member.storage_state
    decision = decide_start(me.id, member.name, state, marker, repairable=repairable)
    match decision:
        case Serve():
            return StartMode.WHOLE
        case Provision(write_marker):
            if write_marker:
                await write_own_marker(store, me, clock)
            await _set_state(cache, client, clock, me, StorageState.READ_WRITE)
            return StartMode.WHOLE
        case LostData(error):
            logger.warning(
                f"Detected data loss for log-server of my node N{me.id}. The log-server marker is "
                f"missing, storage-state was {state.value}, will transition into `data-loss`"
            )
            await _set_state(cache, client, clock, me, StorageState.DATA_LOSS)
            if error is not None:
                raise CannotStart(error)
        case AwaitRepair():
            pass
        case RefuseStart(error):
            raise CannotStart(error)
    logger.warning(
        f"the log server of N{me.id} lost its data and takes nothing but repairs: run `restatectl "
        f"replicated-loglet repair --node N{me.id}`"
    )
    return StartMode.AWAITING_REPAIR


async def write_own_marker(store: LogStore, me: GenerationalNodeId, clock: Clock) -> None:
    """From now on this store is taken for complete; raises StoreError."""
    await store.write_marker(encode_marker(StorageMarker(me.id, _rfc3339(clock))))


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
