"""The nodes configuration as bytes.

Ids that key a map are written as a list of pairs, `[[1, {"Node": {…}}], [9, "Tombstone"]]`, and a
generational id as `[id, generation]`: other readers refuse anything else. `name_lookup` is
derived from the nodes but must be written. Enumerations are closed: an unknown role or state
makes the whole object unreadable, here as everywhere.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.nodes import (
    TOMBSTONE,
    MetadataServerState,
    Node,
    NodeLocation,
    NodesConfiguration,
    Role,
    StorageState,
    Tombstone,
    WorkerState,
)
from restate_node.wire.storage_codec import U32, U63, decode_object, encode_shape, u64


class _LogServer(msgspec.Struct):
    storage_state: StorageState = StorageState.PROVISIONING


class _MetadataServer(msgspec.Struct):
    metadata_server_state: MetadataServerState = MetadataServerState.PROVISIONING


class _Worker(msgspec.Struct):
    worker_state: WorkerState = WorkerState.PROVISIONING


class _Node(msgspec.Struct):
    name: str
    current_generation: tuple[U32, U32]
    address: str
    roles: list[str]
    log_server_config: _LogServer | None = None
    location: str = ""
    metadata_server_config: _MetadataServer | None = None
    worker_config: _Worker | None = None
    binary_version: str | UnsetType | None = UNSET


class _Entry(msgspec.Struct):
    node: _Node = msgspec.field(name="Node")


class _NodesConfiguration(msgspec.Struct):
    version: U32
    cluster_name: str
    nodes: list[tuple[U32, _Entry | Literal["Tombstone"]]]
    name_lookup: dict[str, U32]
    cluster_fingerprint: int | None = None
    modified_at: U63 | UnsetType | None = UNSET
    features: list[str] = msgspec.field(default_factory=list[str])


def decode_nodes_configuration(data: bytes) -> NodesConfiguration:
    """From either encoding; CodecError if it is not one."""
    return decode_object(data, _NodesConfiguration, _build)


def encode_nodes_configuration(configuration: NodesConfiguration) -> bytes:
    """The JSON frame."""
    return encode_shape(
        _NodesConfiguration(
            version=configuration.version,
            cluster_name=configuration.cluster_name,
            cluster_fingerprint=configuration.cluster_fingerprint,
            nodes=[(node_id, _entry(node)) for node_id, node in configuration.nodes.items()],
            name_lookup=dict(configuration.name_lookup),
            modified_at=_unset_if_none(configuration.modified_at),
            features=list(configuration.features),
        )
    )


def _build(shape: _NodesConfiguration) -> NodesConfiguration:
    fingerprint = shape.cluster_fingerprint
    return NodesConfiguration(
        version=Version(shape.version),
        cluster_name=shape.cluster_name,
        nodes={PlainNodeId(node_id): _node(entry) for node_id, entry in shape.nodes},
        cluster_fingerprint=None if fingerprint is None else u64(fingerprint),
        modified_at=shape.modified_at or None,
        features=tuple(shape.features),
    )


def _node(entry: _Entry | Literal["Tombstone"]) -> Node | Tombstone:
    if not isinstance(entry, _Entry):
        return TOMBSTONE
    shape = entry.node
    node_id, generation = shape.current_generation
    metadata_server = shape.metadata_server_config or _MetadataServer()
    return Node(
        name=shape.name,
        current_generation=GenerationalNodeId(PlainNodeId(node_id), generation),
        address=shape.address,
        roles=frozenset(Role.parse(role) for role in shape.roles),
        storage_state=(shape.log_server_config or _LogServer()).storage_state,
        location=NodeLocation.parse(shape.location),
        metadata_server_state=metadata_server.metadata_server_state,
        worker_state=(shape.worker_config or _Worker()).worker_state,
        binary_version=shape.binary_version or None,
    )


def _entry(node: Node | Tombstone) -> _Entry | Literal["Tombstone"]:
    if isinstance(node, Tombstone):
        return "Tombstone"
    generation = node.current_generation
    return _Entry(
        _Node(
            name=node.name,
            current_generation=(generation.id, generation.generation),
            address=node.address,
            roles=[role.value for role in Role if role in node.roles],
            log_server_config=_LogServer(node.storage_state),
            location=str(node.location),
            metadata_server_config=_MetadataServer(node.metadata_server_state),
            worker_config=_Worker(node.worker_state),
            binary_version=UNSET if node.binary_version is None else node.binary_version,
        )
    )


def _unset_if_none(value: int | None) -> int | UnsetType:
    return UNSET if value is None else value
