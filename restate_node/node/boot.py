"""From a started process to a member of a cluster: found the cluster if that is this node's part,
then join.

    auto-provision? ──yes──▶ found (once per cluster, whoever else tries) ──▶ join ──▶ member N1:2
          └──no──▶ wait until somebody has founded it ─────────────────────────▲

Waiting is quiet and endless: a node that was started before its cluster is no error. Being refused
is one: another cluster, another name, an id that is taken.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Final

import structlog

from restate_node.cluster.metadata_cache import KEY_OF, MetadataCache
from restate_node.cluster.metadata_client import (
    MetadataClient,
    MetadataUnavailable,
    NotProvisioned,
    PreconditionNotMet,
)
from restate_node.node.marker import binary_version
from restate_node.protocol.joining import (
    Candidate,
    Joined,
    JoinRefused,
    first_configuration,
    first_logs,
    first_partition_table,
    join,
)
from restate_node.runtime.ports import Clock
from restate_node.types.cluster_configuration import ClusterConfiguration
from restate_node.types.ids import GenerationalNodeId, PlainNodeId
from restate_node.types.logs import ProviderConfiguration
from restate_node.types.metadata import MetadataKind
from restate_node.types.metadata_kv import DoesNotExist, VersionedValue
from restate_node.types.nodes import NodesConfiguration, Role
from restate_node.types.options import NodeOptions
from restate_node.types.timestamps import hlc
from restate_node.wire.logs import encode_logs
from restate_node.wire.nodes import decode_nodes_configuration, encode_nodes_configuration
from restate_node.wire.partitions import encode_partition_table

logger = structlog.get_logger(__name__)

RETRY_FIRST_S: Final = 0.1
RETRY_MAX_S: Final = 1.0
FEATURES: Final = ("controlled-idempotent-sharding",)
FOREIGN_WORDS: Final = ("cluster name mismatch", "cluster fingerprint mismatch")


class BootError(Exception):
    """This node cannot become a member like this; one line that says what to change."""


@dataclass(frozen=True, slots=True)
class BootContext:
    """What booting needs."""

    options: NodeOptions
    cache: MetadataCache
    client: MetadataClient
    clock: Clock
    rng: Random


def default_configuration(options: NodeOptions) -> ClusterConfiguration:
    """What a cluster founded by this node looks like, unless the operator says otherwise."""
    loglet = options.bifrost.replicated_loglet
    return ClusterConfiguration(
        partition_count=options.default_num_partitions,
        partition_replication=options.default_replication,
        provider=ProviderConfiguration(
            options.bifrost.default_provider,
            options.default_replication,
            loglet.default_nodeset_size,
        ),
    )


async def provision(
    context: BootContext,
    wanted: ClusterConfiguration,
    features: tuple[str, ...] = FEATURES,
) -> bool:
    """Found the cluster; False when it exists already. Raises MetadataUnavailable.

    Safe to repeat: what a crash left out is written by the next attempt, or by `complete`.
    """
    configuration = first_configuration(
        candidate(context.options),
        context.options.cluster_name,
        context.rng.getrandbits(63) | 1,
        features,
        hlc(context.clock.unix_ms()),
    )
    newly = await context.client.provision(encode_nodes_configuration(configuration))
    if newly:
        await complete(context, wanted)
    return newly


async def complete(context: BootContext, wanted: ClusterConfiguration) -> None:
    """Write what a founded cluster must have besides its nodes, unless it is there."""
    objects = {
        MetadataKind.LOGS: encode_logs(first_logs(wanted)),
        MetadataKind.PARTITION_TABLE: encode_partition_table(first_partition_table(wanted)),
    }
    for kind, blob in objects.items():
        try:
            value = VersionedValue(first_logs(wanted).version, blob)
            await context.client.put(KEY_OF[kind], value, DoesNotExist())
            context.cache.install_blob(kind, blob)
        except PreconditionNotMet:
            continue


async def provision_automatically(context: BootContext) -> None:
    """Found the cluster with the configured defaults; tries until it exists."""
    pause = RETRY_FIRST_S
    while True:
        try:
            if await provision(context, default_configuration(context.options)):
                logger.info("cluster provisioned", cluster=context.options.cluster_name)
            return
        except MetadataUnavailable as error:
            _raise_if_foreign(error)
            logger.debug("cannot provision yet", reason=str(error))
        await asyncio.sleep(pause * context.rng.uniform(0.7, 1.3))
        pause = min(RETRY_MAX_S, pause * 2)


async def join_cluster(context: BootContext) -> GenerationalNodeId:
    """Become a member; waits for the cluster to exist. Raises BootError, ForeignCluster."""
    pause, complained = RETRY_FIRST_S, ""
    while True:
        try:
            return await _join_once(context)
        except MetadataUnavailable as error:
            _raise_if_foreign(error)
            if (reason := _gist(error)) != complained:
                logger.info("waiting for the cluster", reason=reason)
                complained = reason
        await asyncio.sleep(pause * context.rng.uniform(0.7, 1.3))
        pause = min(RETRY_MAX_S, pause * 1.5)


def candidate(options: NodeOptions) -> Candidate:
    """This process, as it wants to be a member."""
    forced = options.force_node_id
    return Candidate(
        name=options.node_name or "",
        address=str(options.advertised_address),
        roles=frozenset(options.roles),
        location=options.location,
        binary_version=binary_version(),
        force_node_id=PlainNodeId(forced) if forced is not None else None,
        auto_join_metadata=options.metadata_server.auto_join,
    )


async def _join_once(context: BootContext) -> GenerationalNodeId:
    joined: Joined | None = None

    def edit(blob: bytes | None) -> bytes:
        nonlocal joined
        if blob is None:
            raise NotProvisioned("the cluster is not provisioned yet", maybe_executed=False)
        configuration = decode_nodes_configuration(blob)
        context.cache.check_cluster(configuration)
        decision = join(configuration, candidate(context.options), hlc(context.clock.unix_ms()))
        if isinstance(decision, JoinRefused):
            raise BootError(decision.reason)
        joined = decision
        return encode_nodes_configuration(decision.configuration)

    blob = await context.client.update(KEY_OF[MetadataKind.NODES_CONFIGURATION], edit)
    assert joined is not None and blob is not None
    _check_still_mine(decode_nodes_configuration(blob), joined.me)
    context.cache.joined_as(joined.me)
    context.cache.install_blob(MetadataKind.NODES_CONFIGURATION, blob)
    return joined.me


def _check_still_mine(configuration: NodesConfiguration, me: GenerationalNodeId) -> None:
    member = configuration.node(me.id)
    if member is None or member.current_generation != me:
        raise BootError(
            f"another process joined as {me.id} at the same time: "
            "give one of them another node-name and base-dir"
        )


def _raise_if_foreign(error: MetadataUnavailable) -> None:
    """A cluster that refuses this node will refuse it for ever: that is for the operator."""
    if any(words in str(error) for words in FOREIGN_WORDS):
        raise BootError(str(error)) from None


def _gist(error: MetadataUnavailable) -> str:
    return "the cluster is not provisioned yet" if isinstance(error, NotProvisioned) else str(error)


def founds_cluster(options: NodeOptions) -> bool:
    """Whether it is this node's part to found the cluster when there is none."""
    return options.auto_provision and Role.ADMIN in options.roles
