"""`restatectl status`: the cluster on one screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import typer
from google.protobuf.empty_pb2 import Empty

from restate_node.ctl.command import Session, command, single
from restate_node.ctl.commands.nodes import (
    list_nodes,
    roles_text,
    status_text,
    title,
    unprovisioned_report,
)
from restate_node.ctl.errors import CtlError, NotProvisioned
from restate_node.ctl.methods import GET_CLUSTER_STATE, METADATA_SERVER_STATUS
from restate_node.ctl.render import Block, Cell, CellLike, Json, Report, Style, Table
from restate_node.ctl.times import compact
from restate_node.types.ids import PlainNodeId, plain_text
from restate_node.types.logs import Logs, ReplicatedSegment
from restate_node.types.nodes import Node, NodesConfiguration, Role
from restate_node.wire.pb.cluster_ctrl_pb2 import ClusterStateRequest
from restate_node.wire.pb.cluster_pb2 import AliveNode, ClusterState, NodeState, RunMode
from restate_node.wire.pb.common_pb2 import MetadataServerStatus

COLUMNS = (
    *("NODE-ID", "NAME", "UPTIME", "METADATA", "LEADER", "FOLLOWER", "NODESET-MEMBER"),
    *("SEQUENCER", "ROLES"),
)

app = single()

MetadataStates = Mapping[PlainNodeId, str]


@command(app, "status")
async def status(
    session: Session,
    extra: Annotated[
        bool,
        typer.Option(
            "--extra", help="The long form: nodes, logs, partitions and metadata servers in full."
        ),
    ] = False,
) -> Report:
    """One row per node: what it leads, follows, stores and orders.

    LEADER and FOLLOWER count partitions; +n are on their way. NODESET-MEMBER counts the logs that
    the node stores copies of, SEQUENCER the logs whose records it orders.

    \b
    Example:
      restatectl status

    \b
    JSON:
      {"nodes_config_version", "logs_version", "nodes": [{"id", "name", "alive", "uptime_s",
       "metadata", "leader", "follower", "nodeset_member", "sequencer", "roles"}]};
      with --extra {"nodes", "logs", "partitions", "metadata_servers"}, each as its own command
    """
    try:
        configuration = await session.cluster.nodes_configuration()
    except NotProvisioned as error:
        return unprovisioned_report(session.cluster.direct_answers(), error)
    if extra:
        return await _long_form(session)
    logs = await session.cluster.logs()
    response = await session.cluster.try_each(GET_CLUSTER_STATE, ClusterStateRequest(), Role.ADMIN)
    state = response.cluster_state
    return status_report(
        configuration, logs, state, await _metadata_states(session, configuration, state)
    )


@dataclass(frozen=True, slots=True)
class Counts:
    """What one node does. `becoming` and `resigning` are partitions between two modes."""

    leader: int = 0
    becoming: int = 0
    follower: int = 0
    resigning: int = 0
    broken: int = 0
    nodeset_member: int = 0
    sequencer: int = 0


def status_report(
    configuration: NodesConfiguration, logs: Logs, state: ClusterState, metadata: MetadataStates
) -> Report:
    """The overview; nodes that the cluster controller has not seen yet are left out."""
    rows: list[tuple[CellLike, ...]] = []
    documents: list[Json] = []
    for node in configuration.members():
        if node.id not in state.nodes:
            continue
        known = state.nodes[node.id]
        counts = count(node, known, logs)
        rows.append(_row(node, known, counts, metadata.get(node.id, "")))
        documents.append(_document(node, known, counts, metadata.get(node.id)))
    document: Json = {
        "nodes_config_version": configuration.version,
        "logs_version": logs.version,
        "nodes": documents,
    }
    return Report(document, (title(configuration), Table(COLUMNS, tuple(rows))))


def count(node: Node, state: NodeState, logs: Logs) -> Counts:
    """The partitions that run there, and the newest segments that name it."""
    generational = (
        (state.alive.generational_node_id.id, state.alive.generational_node_id.generation)
        if state.HasField("alive")
        else None
    )
    tails = [c.tail.params for c in logs.chains.values() if isinstance(c.tail, ReplicatedSegment)]
    modes = [
        (p.effective_mode, p.planned_mode)
        for p in (state.alive.partitions.values() if generational else ())
    ]
    return Counts(
        leader=modes.count((RunMode.LEADER, RunMode.LEADER)),
        becoming=modes.count((RunMode.FOLLOWER, RunMode.LEADER)),
        follower=modes.count((RunMode.FOLLOWER, RunMode.FOLLOWER)),
        resigning=modes.count((RunMode.LEADER, RunMode.FOLLOWER)),
        broken=sum(1 for p in state.alive.partitions.values() if p.broken_reason),
        nodeset_member=sum(1 for params in tails if node.id in params.nodeset),
        sequencer=sum(
            1
            for params in tails
            if (params.sequencer.id, params.sequencer.generation) == generational
        ),
    )


def _row(node: Node, state: NodeState, counts: Counts, metadata: str) -> tuple[CellLike, ...]:
    roles = roles_text(role.value for role in node.roles)
    if not state.HasField("alive"):
        dead = Cell(plain_text(node.id), Style.BAD)
        return (dead, node.name, Cell("offline", Style.BAD), *("",) * 5, roles)
    leader = str(counts.leader) + (f"+{counts.becoming}" if counts.becoming else "")
    follower = str(counts.follower) + (f"+{counts.resigning}" if counts.resigning else "")
    return (
        _generational(state.alive),
        node.name,
        compact(state.alive.uptime_s) if state.alive.uptime_s else "n/a",
        Cell(metadata, Style.BAD if metadata == "ERR!" else Style.PLAIN),
        leader,
        follower + (f" ({counts.broken} broken)" if counts.broken else ""),
        counts.nodeset_member,
        counts.sequencer,
        roles,
    )


def _document(node: Node, state: NodeState, counts: Counts, metadata: str | None) -> Json:
    alive = state.HasField("alive")
    return {
        "id": _generational(state.alive) if alive else plain_text(node.id),
        "name": node.name,
        "alive": alive,
        "uptime_s": state.alive.uptime_s if alive else None,
        "metadata": metadata,
        "leader": counts.leader,
        "follower": counts.follower,
        "nodeset_member": counts.nodeset_member,
        "sequencer": counts.sequencer,
        "roles": sorted(role.value for role in node.roles),
    }


def _generational(alive: AliveNode) -> str:
    return f"N{alive.generational_node_id.id}:{alive.generational_node_id.generation}"


async def _metadata_states(
    session: Session, configuration: NodesConfiguration, state: ClusterState
) -> MetadataStates:
    cluster = session.cluster
    servers = [
        node
        for node in configuration.with_role(Role.METADATA_SERVER)
        if node.id in state.nodes and state.nodes[node.id].HasField("alive")
    ]
    answers = await cluster.each(
        servers,
        lambda node: cluster.call(cluster.link_to(node), METADATA_SERVER_STATUS, Empty()),
    )
    return {
        node.id: "ERR!"
        if isinstance(answer, CtlError)
        else status_text(MetadataServerStatus.Name(answer.status))
        for node, answer in zip(servers, answers, strict=True)
    }


async def _long_form(session: Session) -> Report:
    from restate_node.ctl.commands.logs import list_logs
    from restate_node.ctl.commands.metadata_server import list_servers
    from restate_node.ctl.commands.partitions import list_partitions

    parts = {
        "nodes": await list_nodes(session, extra=True),
        "logs": await list_logs(session),
        "partitions": await list_partitions(session),
        "metadata_servers": await list_servers(session),
    }
    blocks: list[Block] = []
    for part in parts.values():
        blocks += [*([""] if blocks else []), *part.blocks]
    problems = tuple(problem for part in parts.values() for problem in part.problems)
    return Report({name: part.document for name, part in parts.items()}, tuple(blocks), problems)
