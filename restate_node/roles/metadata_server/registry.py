"""The nodes configuration and the Raft group, made to say the same.

Raft decides who is a member. The nodes configuration tells it to everybody else, by the
`metadata_server_state` of each node, and so the leader writes there what Raft has decided:

    member of the group      -> member
    no member, says member   -> standby
    no member, provisioning  -> left alone: that node will ask to join

It writes through the store itself, with a precondition, so it never undoes what others change.
These are decisions only; `service` drives them.
"""

from __future__ import annotations

from dataclasses import replace

from restate_node.types.ids import PlainNodeId, Version, plain_text
from restate_node.types.metadata_kv import ClusterIdentity
from restate_node.types.metadata_messages import (
    JoinMetadataCluster,
    MembershipReply,
    MembershipVerdict,
)
from restate_node.types.nodes import MetadataServerState, Node, NodesConfiguration, Role
from restate_node.types.raft import Members


def registered_state(node: Node, members: Members) -> MetadataServerState:
    """What the nodes configuration should say of that node."""
    if node.id in members:
        return MetadataServerState.MEMBER
    if node.metadata_server_state is MetadataServerState.MEMBER:
        return MetadataServerState.STANDBY
    return node.metadata_server_state


def reconciled(
    configuration: NodesConfiguration, members: Members, now_hlc: int
) -> NodesConfiguration | None:
    """The next version, in agreement with the group; None if it agrees already."""
    changed = {
        node.id: replace(node, metadata_server_state=state)
        for node in configuration.members()
        if (state := registered_state(node, members)) is not node.metadata_server_state
    }
    if not changed:
        return None
    return replace(
        configuration,
        version=Version(configuration.version + 1),
        nodes={**configuration.nodes, **changed},
        modified_at=now_hlc,
    )


def wants_to_join(node: Node, auto_join: bool) -> bool:
    """Whether that node, which is no member, should ask to become one by itself."""
    match node.metadata_server_state:
        case MetadataServerState.MEMBER:
            return True
        case MetadataServerState.PROVISIONING:
            return auto_join
        case MetadataServerState.STANDBY:
            return False


def objection_to_join(
    request: JoinMetadataCluster,
    identity: ClusterIdentity | None,
    configuration: NodesConfiguration,
    members: Members,
) -> MembershipReply | None:
    """Why that node may not become a member now; None if it may."""
    name = plain_text(request.node)
    group = request.recovered_at_millis
    if group is not None and group != members.recovered_at_millis:
        return MembershipReply(MembershipVerdict.FORBIDDEN, left_behind_text(name))
    asked = ClusterIdentity(request.cluster_name, request.fingerprint)
    if asked != identity:
        text = f"{name} belongs to another cluster: check its addresses and its data directory"
        return MembershipReply(MembershipVerdict.FORBIDDEN, text)
    known = members.created_at_millis.get(request.node)
    if known == request.created_at_millis:
        text = "cannot add node because it is still a member of the metadata cluster"
        return MembershipReply(MembershipVerdict.ALREADY_MEMBER, text)
    if known is not None:
        text = (
            f"node '{name}' has registered before with a different storage id: it has lost its "
            "disk; remove it from the metadata cluster, then add it again"
        )
        return MembershipReply(MembershipVerdict.FORBIDDEN, text)
    node = configuration.node(request.node)
    if node is None:
        text = f"node '{name}' is not in the nodes configuration: let it join the cluster first"
        return MembershipReply(MembershipVerdict.FORBIDDEN, text)
    return _objection_to_state(node, request.automatic)


def left_behind_text(name: str) -> str:
    """What to do with a storage of a group that was given up."""
    return (
        f"{name} holds metadata of a group that was continued without it by `restatectl "
        "metadata-server recover`: it is not used any more. To make it a member again, stop the "
        "node, move its directory replicated-metadata-server away, start it, and add it with "
        "`restatectl metadata-server add-node`"
    )


def _objection_to_state(node: Node, automatic: bool) -> MembershipReply | None:
    name = plain_text(node.id)
    if not node.has_role(Role.METADATA_SERVER):
        text = f"node '{name}' does not have the metadata-server role: add it and restart the node"
        return MembershipReply(MembershipVerdict.FORBIDDEN, text)
    if automatic and node.metadata_server_state is not MetadataServerState.PROVISIONING:
        text = f"node '{name}' was removed: add it with restatectl metadata-server add-node"
        return MembershipReply(MembershipVerdict.REFUSED, text)
    return None


def objection_to_removal(
    node: PlainNodeId, created_at_millis: int | None, members: Members
) -> MembershipReply | None:
    """Why that node cannot be removed; None if it can."""
    known = members.created_at_millis.get(node)
    if known is None or created_at_millis not in (None, known):
        text = f"node '{plain_text(node)}' is not a member"
        return MembershipReply(MembershipVerdict.NOT_A_MEMBER, text)
    if len(members) == 1:
        return MembershipReply(MembershipVerdict.REFUSED, "cannot remove the only member")
    return None
