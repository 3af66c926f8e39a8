"""Which changes of a node's state an operator may make without force.

    storage   provisioning ─▶ disabled        read-only ◀─▶ read-write
    worker    provisioning ─▶ any             active ◀─▶ draining          disabled ─▶ active
    removal   a node that holds nothing: no log server in use, no member of the metadata cluster

Any state may be set to itself. Everything else can make records unreadable, or a node write twice
what it has forgotten; whoever knows better says `--force`.

Whether enough nodes remain is another question: `shortage` counts the places that a replication
property needs, and finds the scope that lacks them.
"""

from __future__ import annotations

from collections.abc import Iterable

from restate_node.types.ids import PlainNodeId
from restate_node.types.logs import InMemorySegment, Logs, ProviderKind, SealMarker
from restate_node.types.nodes import (
    MetadataServerState,
    Node,
    Role,
    StorageState,
    WorkerState,
)
from restate_node.types.replication import LocationScope, ReplicationProperty

SAFE_STORAGE_CHANGES = frozenset(
    {
        (StorageState.PROVISIONING, StorageState.DISABLED),
        (StorageState.READ_ONLY, StorageState.READ_WRITE),
        (StorageState.READ_WRITE, StorageState.READ_ONLY),
    }
)
SAFE_WORKER_CHANGES = frozenset(
    {
        (WorkerState.ACTIVE, WorkerState.DRAINING),
        (WorkerState.DRAINING, WorkerState.ACTIVE),
        (WorkerState.DISABLED, WorkerState.ACTIVE),
    }
)


def unsafe_storage_change(node: Node, wanted: StorageState) -> str | None:
    """Why that change needs force; None if it does not."""
    present = node.storage_state
    if not node.has_role(Role.LOG_SERVER):
        return f"{_name(node)} has not the role log-server: choose a node that has"
    if present is wanted or (present, wanted) in SAFE_STORAGE_CHANGES:
        return None
    return (
        f"{_name(node)} is currently in `{present.value}` storage-state. Transitioning into "
        f"`{wanted.value}` is unsafe; --force does it all the same"
    )


def unsafe_worker_change(node: Node, wanted: WorkerState) -> str | None:
    """Why that change needs force; None if it does not."""
    present = node.worker_state
    if not node.has_role(Role.WORKER):
        return f"{_name(node)} has not the role worker: choose a node that has"
    allowed = present in (wanted, WorkerState.PROVISIONING)
    if allowed or (present, wanted) in SAFE_WORKER_CHANGES:
        return None
    return (
        f"{_name(node)} is currently in `{present.value}` worker-state. Transitioning into "
        f"`{wanted.value}` is unsafe; --force does it all the same"
    )


def unsafe_removal(node: Node, logs: Logs) -> str | None:
    """What the node is still needed for, and what to do about it; None if for nothing.

    Partitions are not looked at: see the epoch metadata for those.
    """
    member = node.metadata_server_state is MetadataServerState.MEMBER
    if member and node.has_role(Role.METADATA_SERVER):
        return (
            f"{_name(node)} is a member of the metadata cluster: use `restatectl "
            f"metadata-server remove-node {node.id}` first"
        )
    if not node.has_role(Role.LOG_SERVER) or node.storage_state is StorageState.DISABLED:
        return None
    if node.storage_state is StorageState.READ_WRITE:
        return (
            f"the log server of {_name(node)} is in read-write: use `restatectl nodes "
            f"set-storage-state --node {node.id} --storage-state read-only` first"
        )
    return _needed_segment(node, logs)


def shortage(replication: ReplicationProperty, nodes: Iterable[Node]) -> str | None:
    """What these nodes lack for that replication: `available=1 nodes but replication=2`."""
    known = list(nodes)
    for scope, needed in replication.factors:
        available = len(_places(scope, known))
        if available < needed:
            return f"available={available} {scope.value}s but replication={needed}"
    return None


def new_nodeset_candidates(nodes: Iterable[Node]) -> list[Node]:
    """The log servers that may be chosen for new segments."""
    return [n for n in nodes if n.has_role(Role.LOG_SERVER) and n.storage_state.in_new_nodesets]


def new_replica_candidates(nodes: Iterable[Node]) -> list[Node]:
    """The workers that may be chosen for partitions."""
    return [n for n in nodes if n.has_role(Role.WORKER) and n.worker_state is WorkerState.ACTIVE]


def _needed_segment(node: Node, logs: Logs) -> str | None:
    if logs.configuration.kind is not ProviderKind.REPLICATED:
        kind = logs.configuration.kind.value
        return f"new logs are {kind}: set the log provider to replicated before removing nodes"
    for log, chain in sorted(logs.chains.items()):
        for segment in chain.segments:
            match segment:
                case SealMarker():
                    continue
                case InMemorySegment():
                    return f"segment {segment.index} of log {log} is {segment.kind.value}: trim it"
                case _ if node.id in segment.params.nodeset:
                    return (
                        f"{_name(node)} is in the nodeset of segment {segment.index} of log {log}: "
                        "wait until the log has moved off it and is trimmed beyond it"
                    )
                case _:
                    continue
    return None


def _places(scope: LocationScope, nodes: list[Node]) -> set[PlainNodeId] | set[str]:
    if scope is LocationScope.NODE:
        return {node.id for node in nodes}
    return {node.location.domain(scope) for node in nodes}


def _name(node: Node) -> str:
    return f"N{node.id}"
