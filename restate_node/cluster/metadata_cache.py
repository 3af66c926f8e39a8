"""This node's copy of the cluster's metadata: four objects, always consistent in themselves, never
going back.

    metadata store ─┐
    peers' frames ──┴─▶ install ─▶ Watch per object ─▶ workers, log readers, membership, fabric

The cache is also the fabric's directory: it knows who this node is, where others live, and which
versions to announce. An object of another cluster is refused here, whoever brings it. The encoding
of each version is kept, because every node asks for it and flexbuffers or JSON of twenty thousand
logs is not made twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from restate_node.protocol.handshake import Identity
from restate_node.runtime.watch import Watch
from restate_node.types.fabric import Peer
from restate_node.types.ids import INVALID_VERSION, GenerationalNodeId, PlainNodeId, Version
from restate_node.types.logs import Logs
from restate_node.types.metadata import MetadataKind, MetadataVersions
from restate_node.types.nodes import NodesConfiguration
from restate_node.types.partitions import PartitionTable
from restate_node.types.schema import Schema
from restate_node.wire import metadata_keys
from restate_node.wire.logs import decode_logs, encode_logs
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration
from restate_node.wire.partitions import decode_partition_table, encode_partition_table
from restate_node.wire.schema import decode_schema, encode_schema
from restate_node.wire.storage_codec import CodecError, decode_version


class ForeignCluster(Exception):
    """Metadata of another cluster arrived; it was not taken over."""


MetadataValue = NodesConfiguration | Logs | PartitionTable | Schema

KEY_OF: Final[dict[MetadataKind, str]] = {
    MetadataKind.NODES_CONFIGURATION: metadata_keys.NODES_CONFIGURATION_KEY,
    MetadataKind.SCHEMA: metadata_keys.SCHEMA_KEY,
    MetadataKind.PARTITION_TABLE: metadata_keys.PARTITION_TABLE_KEY,
    MetadataKind.LOGS: metadata_keys.LOGS_KEY,
}
"""Where each object stands in the metadata store."""

_DECODE: Final[dict[MetadataKind, Callable[[bytes], MetadataValue]]] = {
    MetadataKind.NODES_CONFIGURATION: decode_nodes_configuration,
    MetadataKind.SCHEMA: decode_schema,
    MetadataKind.PARTITION_TABLE: decode_partition_table,
    MetadataKind.LOGS: decode_logs,
}


class Newer(NamedTuple):
    """A peer has at least this version."""

    version: Version
    peer: Peer


class MetadataCache:
    """The four objects, and who this node is. Implements `fabric.directory.Directory`."""

    def __init__(self, cluster_name: str) -> None:
        self.cluster_name = cluster_name
        self.nodes: Watch[NodesConfiguration] = Watch(
            NodesConfiguration(INVALID_VERSION, cluster_name)
        )
        self.logs: Watch[Logs] = Watch(Logs(INVALID_VERSION))
        self.partition_table: Watch[PartitionTable] = Watch(PartitionTable(INVALID_VERSION))
        self.schema: Watch[Schema] = Watch(Schema(INVALID_VERSION))
        self.newer: Watch[dict[MetadataKind, Newer]] = Watch({})
        """What peers have announced and this node does not have yet."""
        self._me: GenerationalNodeId | None = None
        self._fingerprint = 0
        self._identity = Identity(cluster_name, 0, None)
        self._versions = MetadataVersions()
        self._blobs: dict[MetadataKind, tuple[Version, bytes]] = {}

    # ------------------------------------------------------------ who I am

    @property
    def me(self) -> GenerationalNodeId | None:
        """None before this process has joined."""
        return self._me

    @property
    def fingerprint(self) -> int:
        """0 while the cluster's is not known."""
        return self._fingerprint

    def joined_as(self, me: GenerationalNodeId) -> None:
        """This process is that life of its node from now on."""
        self._me = me
        self._identity = Identity(self.cluster_name, self._fingerprint, me)

    def bind_fingerprint(self, fingerprint: int) -> None:
        """Belong to this cluster for ever; raises ForeignCluster when already bound to another."""
        if self._fingerprint and fingerprint != self._fingerprint:
            raise ForeignCluster(
                f"cluster fingerprint mismatch: '{self.cluster_name}' is a different cluster of "
                "the same name; check metadata-client.addresses and the data directory"
            )
        self._fingerprint = fingerprint
        self._identity = Identity(self.cluster_name, fingerprint, self._me)

    # ------------------------------------------------------------ objects

    def version_of(self, kind: MetadataKind) -> Version:
        return self._versions.of(kind)

    def install(self, kind: MetadataKind, value: MetadataValue, blob: bytes | None = None) -> bool:
        """Take over a newer object; False when it is not newer. Raises ForeignCluster."""
        if isinstance(value, NodesConfiguration):
            self.check_cluster(value)
        if value.version <= self.version_of(kind):
            return False
        if blob is not None:
            self._blobs[kind] = (value.version, blob)
        self._publish(value)
        return True

    def install_blob(self, kind: MetadataKind, blob: bytes) -> bool:
        """The same from its encoding; raises CodecError, ForeignCluster."""
        try:
            value = _DECODE[kind](blob)
        except CodecError as error:
            if kind is not MetadataKind.SCHEMA:
                raise
            value = self._unreadable(blob, error)
        return self.install(kind, value, blob)

    def blob(self, kind: MetadataKind) -> bytes:
        """The object's encoding, made at most once per version."""
        version = self.version_of(kind)
        cached = self._blobs.get(kind)
        if cached is None or cached[0] != version:
            cached = self._blobs[kind] = (version, self._encode(kind))
        return cached[1]

    # ------------------------------------------------------------ directory of the fabric

    def identity(self) -> Identity:
        return self._identity

    def address_of(self, node: PlainNodeId) -> str | None:
        member = self.nodes.value.node(node)
        return member.address if member is not None else None

    def generation_of(self, node: PlainNodeId) -> int:
        member = self.nodes.value.node(node)
        return member.current_generation.generation if member is not None else 0

    def versions(self) -> MetadataVersions:
        return self._versions

    def observed(self, peer: Peer, versions: MetadataVersions) -> None:
        found = False
        for kind in MetadataKind:
            known = self.newer.value.get(kind)
            best = max(self.version_of(kind), known.version if known is not None else 0)
            if versions.of(kind) > best:
                self.newer.value[kind] = Newer(versions.of(kind), peer)
                found = True
        if found:
            self.newer.touch()

    # ------------------------------------------------------------ inside

    def check_cluster(self, configuration: NodesConfiguration) -> None:
        """Raises ForeignCluster for another cluster's; binds to the fingerprint of a first one."""
        if configuration.version == INVALID_VERSION:
            return
        if configuration.cluster_name != self.cluster_name:
            raise ForeignCluster(
                f"cluster name mismatch: this node belongs to '{self.cluster_name}', "
                f"the metadata to '{configuration.cluster_name}'; correct cluster-name"
            )
        if configuration.cluster_fingerprint:
            self.bind_fingerprint(configuration.cluster_fingerprint)

    def _publish(self, value: MetadataValue) -> None:
        """Versions first: whoever is woken by the watch must announce the new one."""
        match value:
            case NodesConfiguration():
                self._versions = self._versions._replace(nodes_configuration=value.version)
                self.nodes.set(value)
            case Logs():
                self._versions = self._versions._replace(logs=value.version)
                self.logs.set(value)
            case PartitionTable():
                self._versions = self._versions._replace(partition_table=value.version)
                self.partition_table.set(value)
            case Schema():
                self._versions = self._versions._replace(schema=value.version)
                self.schema.set(value)

    def _unreadable(self, blob: bytes, error: CodecError) -> Schema:
        """Another server may register what is not supported here. The node goes on with what it
        knew, at the new version: it passes the blob on and does not fetch it for ever.
        """
        return replace(self.schema.value, version=decode_version(blob), problem=str(error))

    def _encode(self, kind: MetadataKind) -> bytes:
        match kind:
            case MetadataKind.NODES_CONFIGURATION:
                return encode_nodes_configuration(self.nodes.value)
            case MetadataKind.LOGS:
                return encode_logs(self.logs.value)
            case MetadataKind.PARTITION_TABLE:
                return encode_partition_table(self.partition_table.value)
            case MetadataKind.SCHEMA:
                return encode_schema(self.schema.value)
