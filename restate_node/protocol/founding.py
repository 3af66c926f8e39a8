"""Are those who found a cluster all here, so that its partitions can be placed?

The nodes of a new cluster start together and join one after the other. Whoever places partitions
on the first that comes must move them when the second and the third are there: replicas, leaders,
and every log, which is sealed for a larger nodeset a moment after it was made. So the first
placement waits, for a bounded time, as long as it is known that somebody is missing:

    fewer nodes alive than there are addresses of metadata servers      they are on their way
    a living log server that is still provisioning                      no nodeset may have it yet
    a living worker that is still provisioning                          it may have no replica yet

Only the first placement waits. A cluster that has placed anything, ever, is not being founded.

Driven by the controller of the admin role, which also ends the waiting.
"""

from __future__ import annotations

from restate_node.protocol.cluster_view import ClusterView
from restate_node.types.ids import plain_text
from restate_node.types.nodes import Node, Role, StorageState, WorkerState


def why_wait(view: ClusterView, nodes_expected: int) -> str | None:
    """Why no partition should be placed yet; None when nobody is missing."""
    if any(epoch.placed or epoch.next for epoch in view.epochs.values()):
        return None
    if len(view.alive) < nodes_expected:
        return f"{len(view.alive)} of {nodes_expected} nodes are here"
    for node in view.nodes.members():
        if node.current_generation in view.alive and (role := _provisioning(node)) is not None:
            return f"the {role.value} of {plain_text(node.id)} is provisioning"
    return None


def _provisioning(node: Node) -> Role | None:
    if node.has_role(Role.LOG_SERVER) and node.storage_state is StorageState.PROVISIONING:
        return Role.LOG_SERVER
    if node.has_role(Role.WORKER) and node.worker_state is WorkerState.PROVISIONING:
        return Role.WORKER
    return None
