"""Should a log be moved to a new segment, and where to?

The node that leads a partition looks at its log every few seconds and improves it: the log
follows changes of the default replication, its sequencer comes to the leader, and its nodeset
follows the log servers.

A reconfiguration costs a seal, so a different nodeset alone is no reason. It is one if the new
nodeset is at least as large; or if the present one contains a log server that is not read-write.
The second rule lets a cluster of three, from which an operator takes a node, go on with two:
without it the log would keep writing to the very node that is to be emptied. The replication
property holds in every case, or nothing is done.

A log that an operator has sealed stays so until the next append. One that readers have closed, as
nobody could write it (`types.logs.CLOSED_FOR_READERS`), is opened as soon as it can be.

Invariant: the outcome of a reconfiguration is kept by the next look at the same cluster.

Driven by the chain keeper of the leader's node.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from restate_node.protocol.nodesets import CannotPlace, Nodeset, select_nodeset
from restate_node.types.ids import GenerationalNodeId, LogId, PlainNodeId, plain_text
from restate_node.types.logs import (
    Chain,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
    SealMarker,
)
from restate_node.types.nodes import NodesConfiguration
from restate_node.types.replication import ReplicationProperty


@dataclass(frozen=True, slots=True)
class Keep:
    """Leave the log as it is."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """Seal the tail and extend the chain with this."""

    replication: ReplicationProperty
    nodeset: tuple[PlainNodeId, ...]
    reason: str


LogDecision: TypeAlias = Keep | Reconfigure


def judge_log(
    log: LogId,
    chain: Chain,
    configuration: ProviderConfiguration,
    nodes: NodesConfiguration,
    me: GenerationalNodeId,
) -> LogDecision:
    """Judge the tail of a log whose partition is led here, by `me`."""
    if configuration.kind is not ProviderKind.REPLICATED:
        return Keep(f"new segments are {configuration.kind.value}")
    tail = chain.tail
    if isinstance(tail, SealMarker) and tail.is_by_order:
        return Keep("the log is sealed until the next append")
    params = tail.params if isinstance(tail, ReplicatedSegment) else None
    chosen = select_nodeset(
        log,
        configuration.replication,
        nodes,
        size_target=configuration.target_nodeset_size,
        previous=() if params is None else params.nodeset,
        own=me.id,
    )
    if isinstance(chosen, CannotPlace):
        return Keep(chosen.reason)
    reason = _cause(params, chosen, configuration, nodes, me)
    if isinstance(tail, SealMarker):
        reason = "it was closed for its readers, and can be written again"
    if reason is None:
        return Keep("nothing would be better")
    return Reconfigure(configuration.replication, chosen.nodes, reason)


def _cause(
    params: ReplicatedParams | None,
    chosen: Nodeset,
    configuration: ProviderConfiguration,
    nodes: NodesConfiguration,
    me: GenerationalNodeId,
) -> str | None:
    if params is None:
        return "the default provider is replicated, the tail is not"
    if params.replication != configuration.replication:
        return f"replication changes from {params.replication} to {configuration.replication}"
    if params.sequencer != me:
        return f"the sequencer moves from {params.sequencer} to {me}"
    return _nodeset_cause(params.nodeset, chosen, nodes)


def _nodeset_cause(
    present: tuple[PlainNodeId, ...], chosen: Nodeset, nodes: NodesConfiguration
) -> str | None:
    if set(present) == set(chosen.nodes):
        return None
    unfit = [n for n in sorted(present) if not nodes.storage_state(n).in_new_nodesets]
    if unfit:
        return "moves off " + ", ".join(
            f"{plain_text(n)} ({nodes.storage_state(n).value})" for n in unfit
        )
    if len(chosen.nodes) < len(present):
        return None
    return f"the nodeset changes from {_names(present)} to {_names(chosen.nodes)}"


def _names(nodes: tuple[PlainNodeId, ...]) -> str:
    return "[" + ", ".join(plain_text(node) for node in sorted(nodes)) + "]"
