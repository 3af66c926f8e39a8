"""How a node becomes a member, and what a new cluster starts with.

A name is a member: whoever starts with a known name is that member's next life (generation + 1),
whoever starts with a new one gets the next free id. Ids are never given out twice: a removed node
leaves a tombstone.

    found    an empty metadata store  ─▶ nodes configuration with the founder, logs, partition table
    join     nodes configuration      ─▶ the same with this process as a new life of its node
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from restate_node.types.cluster_configuration import ClusterConfiguration
from restate_node.types.ids import GenerationalNodeId, PlainNodeId, Version
from restate_node.types.logs import Logs
from restate_node.types.nodes import (
    MetadataServerState,
    Node,
    NodeLocation,
    NodesConfiguration,
    Role,
)
from restate_node.types.partitions import PartitionTable

FIRST_VERSION = Version(1)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a process brings along when it wants to be a member."""

    name: str
    address: str
    roles: frozenset[Role]
    location: NodeLocation
    binary_version: str
    force_node_id: PlainNodeId | None = None
    auto_join_metadata: bool = True


@dataclass(frozen=True, slots=True)
class Joined:
    """The configuration to write, and who this process is then."""

    configuration: NodesConfiguration
    me: GenerationalNodeId


@dataclass(frozen=True, slots=True)
class JoinRefused:
    """This process can never join like this; the reason says what to change."""

    reason: str


JoinDecision: TypeAlias = Joined | JoinRefused


def first_configuration(
    candidate: Candidate,
    cluster_name: str,
    fingerprint: int,
    features: tuple[str, ...],
    now_hlc: int,
) -> NodesConfiguration:
    """The configuration that founds a cluster: the founder alone, in its first life."""
    me = GenerationalNodeId(candidate.force_node_id or PlainNodeId(1), 1)
    node = replace(_new_node(candidate, me), metadata_server_state=MetadataServerState.MEMBER)
    return NodesConfiguration(
        version=FIRST_VERSION,
        cluster_name=cluster_name,
        nodes={me.id: node},
        cluster_fingerprint=fingerprint,
        modified_at=now_hlc,
        features=features,
    )


def first_logs(wanted: ClusterConfiguration) -> Logs:
    """No logs yet, only how they will be: each is made by the first leader of its partition."""
    return Logs(FIRST_VERSION, configuration=wanted.provider)


def first_partition_table(wanted: ClusterConfiguration) -> PartitionTable:
    """Equal shares of the key space."""
    return PartitionTable.equal_ranges(wanted.partition_count, wanted.partition_replication)


def join(configuration: NodesConfiguration, candidate: Candidate, now_hlc: int) -> JoinDecision:
    """This process as a member of that cluster."""
    known = configuration.by_name(candidate.name)
    if known is None:
        return _join_as_new(configuration, candidate, now_hlc)
    forced = candidate.force_node_id
    if forced is not None and forced != known.id:
        return JoinRefused(
            f"'{candidate.name}' is N{known.id} in this cluster, not N{forced}: "
            "correct force-node-id or node-name"
        )
    me = GenerationalNodeId(known.id, known.current_generation.generation + 1)
    location = candidate.location if str(candidate.location) else known.location
    node = replace(
        known,
        current_generation=me,
        address=candidate.address,
        roles=candidate.roles,
        location=location,
        binary_version=candidate.binary_version,
    )
    return Joined(configuration.updated(node, now_hlc), me)


def _join_as_new(
    configuration: NodesConfiguration, candidate: Candidate, now_hlc: int
) -> JoinDecision:
    forced = candidate.force_node_id
    if forced is not None and configuration.is_tombstone(forced):
        return JoinRefused(f"N{forced} was removed from this cluster: choose another force-node-id")
    if forced is not None and (taken := configuration.node(forced)) is not None:
        return JoinRefused(
            f"N{forced} is '{taken.name}' in this cluster: correct force-node-id or node-name"
        )
    me = GenerationalNodeId(forced or configuration.next_node_id(), 1)
    return Joined(configuration.updated(_new_node(candidate, me), now_hlc), me)


def _new_node(candidate: Candidate, me: GenerationalNodeId) -> Node:
    state = (
        MetadataServerState.PROVISIONING
        if candidate.auto_join_metadata
        else MetadataServerState.STANDBY
    )
    return Node(
        name=candidate.name,
        current_generation=me,
        address=candidate.address,
        roles=candidate.roles,
        location=candidate.location,
        metadata_server_state=state,
        binary_version=candidate.binary_version,
    )
