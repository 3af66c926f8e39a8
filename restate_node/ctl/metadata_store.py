"""Read, change, write: objects of the metadata store, edited by this tool.

    Get ──▶ decode ──▶ edit ──▶ encode ──▶ Put, if the version is still the one that was read
     ▲                                      │
     └────────── somebody was faster ◀──────┘        at most EDIT_ATTEMPTS_MAX times

An edit MUST give the same result when it is applied to what it has made already: a node that fell
silent may have written, and the next one is then asked to write it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from restate_node.ctl.connection import CallsFailed, Cluster
from restate_node.ctl.errors import CtlError
from restate_node.ctl.methods import GET_KEY, PUT_KEY
from restate_node.types.ids import PartitionId
from restate_node.types.nodes import NodesConfiguration
from restate_node.types.partitions import EpochMetadata
from restate_node.wire.metadata_keys import NODES_CONFIGURATION_KEY, epoch_metadata_key
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration
from restate_node.wire.partitions import decode_epoch_metadata, encode_epoch_metadata
from restate_node.wire.pb import metadata_pb2
from restate_node.wire.pb.metadata_proxy_svc_pb2 import GetRequest, PutRequest
from restate_node.wire.storage_codec import CodecError, decode_version

EDIT_ATTEMPTS_MAX = 10
PAUSE_MS = 100
PAUSE_MS_MAX = 1_000
PAUSE_GROWTH = 1.4
MAYBE_WRITTEN = "the change may have been applied: check before you repeat it"

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class StoredObject(Generic[Value]):
    """How one object of the store is read and written."""

    key: str
    decode: Callable[[bytes], Value]
    encode: Callable[[Value], bytes]


NODES: StoredObject[NodesConfiguration] = StoredObject(
    NODES_CONFIGURATION_KEY, decode_nodes_configuration, encode_nodes_configuration
)


def epoch_metadata(partition: PartitionId) -> StoredObject[EpochMetadata]:
    """The epoch metadata of a partition."""
    return StoredObject(
        epoch_metadata_key(partition),
        decode_epoch_metadata,
        lambda metadata: encode_epoch_metadata(metadata, partition),
    )


async def read(cluster: Cluster, stored: StoredObject[Value]) -> Value | None:
    """None if there is no such object; CtlError."""
    found = await read_blob(cluster, stored.key)
    return None if found is None else _decoded(stored, found)


async def read_blob(cluster: Cluster, key: str) -> bytes | None:
    """As it is stored; CtlError."""
    response = await cluster.try_each(GET_KEY, GetRequest(key=key))
    return response.value.bytes if response.HasField("value") else None


async def edit(
    cluster: Cluster,
    stored: StoredObject[Value],
    change: Callable[[Value | None], Value | None],
) -> None:
    """Write what `change` makes of the object; None leaves it as it is.

    Safe to repeat. CtlError says if the write may have happened; `change` may
    raise its own.
    """
    pause_ms: float = PAUSE_MS
    for _ in range(EDIT_ATTEMPTS_MAX):
        found = await read_blob(cluster, stored.key)
        changed = change(None if found is None else _decoded(stored, found))
        if changed is None:
            return
        if await put_blob(cluster, stored.key, found, stored.encode(changed)):
            return
        await asyncio.sleep(pause_ms / 1000)
        pause_ms = min(PAUSE_MS_MAX, pause_ms * PAUSE_GROWTH)
    raise CtlError(f"{stored.key} keeps changing: nothing was written, try again")


async def put_blob(cluster: Cluster, key: str, before: bytes | None, after: bytes) -> bool:
    """Replace the object if it is still what was read; False if it is not."""
    request = PutRequest(key=key)
    request.value.version.value = decode_version(after)
    request.value.bytes = after
    if before is None:
        request.precondition.kind = metadata_pb2.DOES_NOT_EXIST
    else:
        request.precondition.kind = metadata_pb2.MATCHES_VERSION
        request.precondition.version.value = decode_version(before)
    try:
        await cluster.try_each(PUT_KEY, request)
    except CallsFailed as error:
        if error.last_is("FAILED_PRECONDITION"):
            return False
        if error.may_have_acted:
            raise CtlError(f"{error}; {MAYBE_WRITTEN}") from None
        raise
    return True


def _decoded(stored: StoredObject[Value], blob: bytes) -> Value:
    try:
        return stored.decode(blob)
    except CodecError as error:
        raise CtlError(f"{stored.key} cannot be read: {error}") from None
