"""Is it safe to set log servers to another storage state, and what becomes of the logs?

    new nodesets    must still be possible with the log servers that stay read-write
    old segments    must keep a copy of every record on log servers that still have their data
    one failure     should not stop the logs; where it would, the operator is warned

The first two are refusals, and only if the change is to blame: a cluster that is bad already may
still be changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from restate_node.protocol.nodesets import CannotPlace, select_nodeset
from restate_node.protocol.quorum import NodesetChecker
from restate_node.roles.admin.plans import Planned, nodes_text, plan_logs
from restate_node.types.ids import LogId, PlainNodeId
from restate_node.types.logs import Logs, ProviderKind, ReplicatedSegment
from restate_node.types.nodes import Node, NodesConfiguration, StorageState, Tombstone
from restate_node.types.storage_rules import new_nodeset_candidates

REFUSED = "Safety-check failed: "
ABSENT_STATES = frozenset({StorageState.DISABLED, StorageState.GONE, StorageState.DATA_LOSS})
"""States of log servers that need not have what was stored there."""


@dataclass(frozen=True, slots=True)
class StoragePlan:
    """What a change of storage states would mean."""

    refusal: str | None
    warnings: tuple[str, ...]
    logs: dict[LogId, Planned]


def plan_storage_states(
    nodes: NodesConfiguration, logs: Logs, changed: Collection[PlainNodeId], state: StorageState
) -> StoragePlan:
    """The verdict on setting all of `changed` to `state`."""
    after = with_storage_state(nodes, changed, state)
    refusal = _no_new_nodesets(nodes, after, logs) or _records_lost(nodes, after, logs)
    warnings = () if refusal else tuple(_warnings(nodes, after, logs))
    return StoragePlan(refusal, warnings, plan_logs(logs, after))


def with_storage_state(
    nodes: NodesConfiguration, changed: Collection[PlainNodeId], state: StorageState
) -> NodesConfiguration:
    """The members as they would be; the version is left alone, for nothing is written."""

    def one(node: Node | Tombstone) -> Node | Tombstone:
        if isinstance(node, Node) and node.id in changed:
            return replace(node, storage_state=state)
        return node

    return replace(nodes, nodes={number: one(node) for number, node in nodes.nodes.items()})


def _no_new_nodesets(
    before: NodesConfiguration, after: NodesConfiguration, logs: Logs
) -> str | None:
    if logs.configuration.kind is not ProviderKind.REPLICATED:
        return None
    reason = _cannot_place(after, logs)
    if reason is None or _cannot_place(before, logs) is not None:
        return None
    return f"{REFUSED}lost the ability to generate nodesets: {reason}"


def _cannot_place(
    nodes: NodesConfiguration, logs: Logs, excluded: Collection[PlainNodeId] = ()
) -> str | None:
    configuration = logs.configuration
    choice = select_nodeset(
        LogId(0),
        configuration.replication,
        nodes,
        size_target=configuration.target_nodeset_size,
        excluded=excluded,
    )
    return choice.reason if isinstance(choice, CannotPlace) else None


def _records_lost(before: NodesConfiguration, after: NodesConfiguration, logs: Logs) -> str | None:
    for log, segment in _segments(logs):
        if _may_be_lost(segment, after) and not _may_be_lost(segment, before):
            members = nodes_text(segment.params.nodeset)
            return (
                f"{REFUSED}records of segment {segment.index} of log {log} on {members} may have "
                "no other copy; wait until the log has moved and is trimmed beyond it"
            )
    return None


def _may_be_lost(segment: ReplicatedSegment, nodes: NodesConfiguration) -> bool:
    """All copies of some record may be on log servers that are not there to be read."""
    params = segment.params
    absent = [node for node in params.nodeset if nodes.storage_state(node) in ABSENT_STATES]
    healthy = with_storage_state(nodes, params.nodeset, StorageState.READ_WRITE)
    return NodesetChecker(params.nodeset, healthy, params.replication).write_quorum(absent)


def _segments(logs: Logs) -> Iterator[tuple[LogId, ReplicatedSegment]]:
    for log, chain in sorted(logs.chains.items()):
        for segment in chain.replicated:
            yield log, segment


def _warnings(before: NodesConfiguration, after: NodesConfiguration, logs: Logs) -> Iterator[str]:
    if logs.configuration.kind is not ProviderKind.REPLICATED:
        return
    fatal = _fatal_failures(after, logs)
    if fatal and not _fatal_failures(before, logs):
        yield (
            f"availability is compromised: appends will stop if one of {nodes_text(fatal)} fails; "
            "add a log server or lower the log replication"
        )


def _fatal_failures(nodes: NodesConfiguration, logs: Logs) -> list[PlainNodeId]:
    """Log servers without which no nodeset would be left."""
    candidates = [node.id for node in new_nodeset_candidates(nodes.members())]
    return [node for node in candidates if _cannot_place(nodes, logs, (node,)) is not None]
