"""What a recovery from one member makes of the stored objects, and what an operator is told first.

    stored here ──────┐
    copies of nodes ──┴─ the newer ─▶ version + VERSION_STRIDE ─▶ a Put behind the new members

The lost members may have written versions that this one never got, and nodes may have seen them. A
version must not stand for two contents, and caches never go back; so every object moves to a
version far beyond anything that can have been lost, and a leader epoch too: a partition leader of
the lost history must not meet another one with its number. The four objects that every node caches
are taken from whoever has them newest, for most of what the store lost may be there: the segments
of the logs above all.

Decisions only; `service` drives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, assert_never

from restate_node.cluster.metadata_cache import KEY_OF, ForeignCluster, MetadataCache
from restate_node.protocol.metadata_kv import MetadataKv, decode_command, encode_command
from restate_node.protocol.raft import recovery
from restate_node.protocol.raft.ready import RestoredState
from restate_node.roles.metadata_server.registry import reconciled
from restate_node.types.ids import LeaderEpoch, PartitionId, PlainNodeId, Version, plain_text
from restate_node.types.metadata import MetadataKind
from restate_node.types.metadata_kv import Put, RequestId, Unconditional, VersionedValue
from restate_node.types.raft import EntryKind, Members
from restate_node.wire.logs import decode_logs, encode_logs
from restate_node.wire.metadata_keys import partition_of_key
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration
from restate_node.wire.partitions import (
    decode_epoch_metadata,
    decode_partition_table,
    encode_epoch_metadata,
    encode_partition_table,
)
from restate_node.wire.storage_codec import CodecError, decode_any, decode_version, encode_shape

VERSION_STRIDE: Final = 1 << 20
"""More writes than one member can have missed; a version has room for four thousand recoveries."""

_KIND_OF: Final = {key: kind for kind, key in KEY_OF.items()}


class RecoveryRefused(Exception):
    """The group is not continued from this node, whatever the operator accepts."""


@dataclass(frozen=True, slots=True)
class RecoveredKey:
    """One key before and after. `after` is None if it stays: an operator's own, or unreadable."""

    key: str
    stored: Version | None
    cached: Version | None
    after: Version | None


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """What would be, or was, done."""

    me: PlainNodeId
    restored: RestoredState
    former: Members
    last_index: int
    keys: tuple[RecoveredKey, ...]
    recovery: recovery.Recovery

    @property
    def former_names(self) -> str:
        return ", ".join(plain_text(node) for node in sorted(self.former.created_at_millis))


def replayed(restored: RestoredState) -> MetadataKv:
    """The store after all entries that are here, decided or not."""
    kv = MetadataKv()
    kv.restore(restored.snapshot.data)
    for entry in restored.entries:
        if entry.index > restored.snapshot.meta.index and entry.kind is EntryKind.NORMAL:
            kv.apply(entry.index, decode_command(entry.data))
    return kv


def newest_copies(
    cache: MetadataCache, copies: Mapping[MetadataKind, bytes]
) -> dict[MetadataKind, bytes]:
    """This node's own copies, or the given ones where they are newer; raises RecoveryRefused."""
    newest = {kind: cache.blob(kind) for kind in MetadataKind if cache.version_of(kind)}
    for kind, blob in copies.items():
        try:
            if decode_version(blob) <= cache.version_of(kind):
                continue
            if kind is MetadataKind.NODES_CONFIGURATION:
                cache.check_cluster(decode_nodes_configuration(blob))
        except (CodecError, ForeignCluster) as error:
            raise RecoveryRefused(f"the copy of {KEY_OF[kind]} is not usable: {error}") from None
        newest[kind] = blob
    return newest


def plan_recovery(
    me: PlainNodeId,
    storage_id: int,
    restored: RestoredState,
    copies: Mapping[MetadataKind, bytes],
    now_millis: int,
    now_hlc: int,
) -> RecoveryPlan:
    """The batch that makes `me` the only member; `copies` are the newest that any node has."""
    members = recovery.members_after(restored, me, storage_id, now_millis)
    kv = replayed(restored)
    cached = {KEY_OF[kind]: blob for kind, blob in copies.items()}
    rows: list[RecoveredKey] = []
    commands: list[bytes] = []
    for key in sorted({*kv.keys(), *cached}):
        value = _renumbered(key, kv.get(key), cached.get(key), members, now_hlc)
        rows.append(
            RecoveredKey(
                key,
                kv.version(key),
                _version(cached.get(key)),
                None if value is None else value.version,
            )
        )
        if value is not None:
            request = RequestId(members.recovered_at_millis, len(commands) + 1)
            commands.append(encode_command(Put(request, key, value, Unconditional())))
    batch = recovery.recover(restored, members, me, commands)
    last_index = batch.entries[0].index - 1
    former = recovery.stored_members(restored)
    return RecoveryPlan(me, restored, former, last_index, tuple(rows), batch)


def _version(blob: bytes | None) -> Version | None:
    return None if blob is None else decode_version(blob)


def _renumbered(
    key: str,
    stored: VersionedValue | None,
    cached: bytes | None,
    members: Members,
    now_hlc: int,
) -> VersionedValue | None:
    """The newer of both under a new version; None if the key is not one that nodes agree on."""
    blobs = [blob for blob in (cached, None if stored is None else stored.data) if blob]
    try:
        newest = max(blobs, key=decode_version)
        # The store's own version counts too: an operator may have put another one.
        highest = max(decode_version(newest), 0 if stored is None else stored.version)
        version = Version(highest + VERSION_STRIDE)
        kind, partition = _KIND_OF.get(key), partition_of_key(key)
        if kind is not None:
            return VersionedValue(version, _object(kind, newest, version, members, now_hlc))
        if partition is not None:
            return VersionedValue(version, _epoch(newest, partition, version))
    except (CodecError, ValueError):
        return None  # Served as it is, as before; the operator sees that it was left alone.
    return None


def _object(
    kind: MetadataKind, blob: bytes, version: Version, members: Members, now_hlc: int
) -> bytes:
    match kind:
        case MetadataKind.NODES_CONFIGURATION:
            nodes = decode_nodes_configuration(blob)
            nodes = reconciled(nodes, members, now_hlc) or nodes
            return encode_nodes_configuration(replace(nodes, version=version))
        case MetadataKind.LOGS:
            return encode_logs(replace(decode_logs(blob), version=version))
        case MetadataKind.PARTITION_TABLE:
            return encode_partition_table(replace(decode_partition_table(blob), version=version))
        case MetadataKind.SCHEMA:
            return encode_shape({**decode_any(blob), "version": version})
        case _:
            assert_never(kind)


def _epoch(blob: bytes, partition: PartitionId, version: Version) -> bytes:
    metadata = decode_epoch_metadata(blob)
    epoch = LeaderEpoch(metadata.epoch + VERSION_STRIDE)
    return encode_epoch_metadata(replace(metadata, version=version, epoch=epoch), partition)
