"""The metadata cache: objects only move forward, and none of another cluster gets in."""

from __future__ import annotations

import pytest

from restate_node.cluster.metadata_cache import ForeignCluster, MetadataCache
from restate_node.types.fabric import Peer
from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.logs import Logs
from restate_node.types.metadata import MetadataKind, MetadataVersions
from restate_node.types.nodes import Node, NodesConfiguration
from restate_node.types.partitions import PartitionTable
from restate_node.types.schema import Deployment, HttpVersion, ProtocolMode, Schema
from restate_node.wire.logs import encode_logs
from restate_node.wire.schema import encode_schema
from restate_node.wire.storage_codec import CodecError, encode_shape

N2 = GenerationalNodeId(PlainNodeId(2), 3)
PEER = Peer(N2, "http://node-2:5122/")
DEPLOYMENT = Deployment(
    id="dp_11",
    uri="http://host/",
    mode=ProtocolMode.BIDIRECTIONAL,
    http_version=HttpVersion.HTTP_2,
)


def nodes(version: int, *, name: str = "c", fingerprint: int = 7) -> NodesConfiguration:
    member = Node("node-2", N2, PEER.address, frozenset())
    return NodesConfiguration(
        Version(version), name, {N2.id: member}, cluster_fingerprint=fingerprint
    )


@pytest.fixture
def cache() -> MetadataCache:
    return MetadataCache("c")


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (MetadataKind.NODES_CONFIGURATION, nodes),
        (MetadataKind.LOGS, lambda version: Logs(Version(version))),
        (MetadataKind.PARTITION_TABLE, lambda version: PartitionTable(Version(version))),
        (MetadataKind.SCHEMA, lambda version: Schema(Version(version))),
    ],
)
def test_objects_only_move_forward(cache: MetadataCache, kind: MetadataKind, make: object) -> None:
    """Goal: an older or equal version changes nothing and wakes nobody; a newer one does, and its
    encoding installs into another cache."""
    assert cache.install(kind, make(2))  # type: ignore[operator]
    assert cache.version_of(kind) == cache.versions().of(kind) == 2
    for version in (1, 2):
        assert not cache.install(kind, make(version))  # type: ignore[operator]
    assert cache.version_of(kind) == 2
    other = MetadataCache("c")
    assert other.install_blob(kind, cache.blob(kind))
    assert other.version_of(kind) == 2


def test_encodings_are_kept_per_version(cache: MetadataCache) -> None:
    """Goal: the blob that came is the blob that goes out, until the object changes."""
    blob = encode_logs(Logs(Version(1)))
    cache.install_blob(MetadataKind.LOGS, blob)
    assert cache.blob(MetadataKind.LOGS) is blob
    cache.install(MetadataKind.LOGS, Logs(Version(2)))
    made = cache.blob(MetadataKind.LOGS)
    assert made != blob
    assert cache.blob(MetadataKind.LOGS) is made


def test_another_cluster_is_refused(cache: MetadataCache) -> None:
    """Goal: neither another name nor, once bound, another fingerprint gets in."""
    with pytest.raises(ForeignCluster, match="cluster name"):
        cache.install(MetadataKind.NODES_CONFIGURATION, nodes(1, name="d"))
    cache.install(MetadataKind.NODES_CONFIGURATION, nodes(1))
    assert cache.fingerprint == 7
    with pytest.raises(ForeignCluster, match="fingerprint"):
        cache.install(MetadataKind.NODES_CONFIGURATION, nodes(2, fingerprint=8))
    assert cache.version_of(MetadataKind.NODES_CONFIGURATION) == 1
    with pytest.raises(CodecError):
        cache.install_blob(MetadataKind.LOGS, b"garbage")


def test_the_directory_follows_the_nodes(cache: MetadataCache) -> None:
    """Goal: addresses, generations and the own identity come from what is installed."""
    assert (cache.address_of(N2.id), cache.generation_of(N2.id)) == (None, 0)
    cache.install(MetadataKind.NODES_CONFIGURATION, nodes(1))
    assert (cache.address_of(N2.id), cache.generation_of(N2.id)) == (PEER.address, 3)
    cache.joined_as(N2)
    assert cache.identity().node == cache.me == N2


def test_announcements_count_only_when_they_are_news(cache: MetadataCache) -> None:
    """Goal: `newer` holds the best announcement per object and wakes for news alone."""
    cache.install(MetadataKind.LOGS, Logs(Version(3)))
    revision = cache.newer.revision
    cache.observed(PEER, MetadataVersions(logs=3))
    assert cache.newer.revision == revision
    cache.observed(PEER, MetadataVersions(logs=5))
    cache.observed(PEER, MetadataVersions(logs=4))
    assert cache.newer.revision == revision + 1
    assert cache.newer.value[MetadataKind.LOGS] == (5, PEER)


def test_unreadable_schema_leaves_what_was_known(cache: MetadataCache) -> None:
    """Goal: a schema with what is not supported here costs a message, not the node. Method: one
    that is fine, one that is not, another that is fine; the blobs are passed on as they came.
    """
    fine = encode_schema(Schema(Version(1), {"dp_11": DEPLOYMENT}))
    cache.install_blob(MetadataKind.SCHEMA, fine)
    foreign = encode_shape({"version": 2, "deployments_v2": [{"id": "dp_1x"}]})
    assert cache.install_blob(MetadataKind.SCHEMA, foreign)
    assert cache.version_of(MetadataKind.SCHEMA) == 2
    assert cache.blob(MetadataKind.SCHEMA) == foreign
    assert cache.schema.value.problem and set(cache.schema.value.deployments) == {"dp_11"}
    cache.install_blob(MetadataKind.SCHEMA, encode_schema(Schema(Version(3))))
    assert cache.schema.value == Schema(Version(3))
