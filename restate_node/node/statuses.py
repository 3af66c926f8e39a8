"""How a node and its roles are, told from what its components say of themselves."""

from __future__ import annotations

from typing import Final

from restate_node.node.node import Node
from restate_node.node.node_ctl import (
    LogServerStatus,
    MetadataServerStatus,
    NodeStatus,
    RoleStatus,
    Statuses,
)
from restate_node.roles.log_server.service import LogServerState
from restate_node.types.metadata_messages import MetadataServerPhase
from restate_node.types.nodes import Role

_LOG_SERVER: Final = {
    LogServerState.STARTING_UP: LogServerStatus.STARTING_UP,
    LogServerState.READY: LogServerStatus.READY,
    LogServerState.FAIL_SAFE: LogServerStatus.FAILSAFE,
    LogServerState.STOPPING: LogServerStatus.STOPPING,
}
_METADATA_SERVER: Final = {
    MetadataServerPhase.STARTING_UP: MetadataServerStatus.STARTING_UP,
    MetadataServerPhase.AWAITING_PROVISIONING: MetadataServerStatus.AWAITING_PROVISIONING,
    MetadataServerPhase.STANDBY: MetadataServerStatus.STANDBY,
    MetadataServerPhase.MEMBER: MetadataServerStatus.MEMBER,
}


def statuses_of(node: Node) -> Statuses:
    """Asks the node anew at each call."""

    def whole() -> NodeStatus:
        if node.tasks.is_stopping:
            return NodeStatus.SHUTTING_DOWN
        return NodeStatus.ALIVE if node.ready.value else NodeStatus.STARTING_UP

    def role(kind: Role) -> RoleStatus:
        if not node.has_role(kind):
            return RoleStatus.UNKNOWN
        return RoleStatus.READY if node.ready.value else RoleStatus.STARTING_UP

    def log_server() -> LogServerStatus:
        if not node.has_role(Role.LOG_SERVER):
            return LogServerStatus.UNKNOWN
        if node.log_server is None:
            return LogServerStatus.STARTING_UP
        return _LOG_SERVER[node.log_server.state]

    def metadata_server() -> MetadataServerStatus:
        if node.metadata_server is None:
            return MetadataServerStatus.UNKNOWN
        return _METADATA_SERVER[node.metadata_server.status().phase]

    return Statuses(
        node=whole,
        admin=lambda: role(Role.ADMIN),
        worker=lambda: role(Role.WORKER),
        log_server=log_server,
        metadata_server=metadata_server,
    )
