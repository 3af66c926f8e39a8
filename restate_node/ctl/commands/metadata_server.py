"""`restatectl metadata-server`: the servers of the metadata store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Annotated

import typer
from google.protobuf.empty_pb2 import Empty

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.commands.nodes import status_text
from restate_node.ctl.connection import Cluster, failures_text
from restate_node.ctl.errors import CallFailed, CtlError
from restate_node.ctl.methods import (
    ADD_METADATA_SERVER,
    METADATA_SERVER_STATUS,
    REMOVE_METADATA_SERVER,
)
from restate_node.ctl.node_lists import known_nodes, parse_nodes
from restate_node.ctl.render import (
    Block,
    Cell,
    CellLike,
    Json,
    Report,
    Style,
    Table,
    size_text,
)
from restate_node.types.ids import PlainNodeId, plain_text
from restate_node.types.nodes import MetadataServerState, Node, NodesConfiguration, Role
from restate_node.wire.pb.common_pb2 import MetadataServerStatus
from restate_node.wire.pb.metadata_server_svc_pb2 import RemoveNodeRequest, StatusResponse

TITLE = "Metadata service"
UNREACHABLE_TITLE = "🔌 Unreachable nodes"
COLUMNS = (
    *("NODE", "STATUS", "VERSION", "LEADER", "MEMBERS", "APPLIED", "COMMITTED", "TERM"),
    *("LOG-LENGTH", "SNAP-INDEX", "SNAP-SIZE"),
)
ABSENT = "-"
ROUNDS_MAX = 10
PAUSE_MS = 200
PAUSE_MS_MAX = 1_500
_OUTCOME_TEXT = {
    "added": "Added node '{}' to the metadata cluster",
    "already-member": "Node '{}' is already a member of the metadata cluster",
    "removed": "Removed node '{}' from the metadata cluster",
}

Answers = Mapping[PlainNodeId, "StatusResponse | CtlError"]

app = noun("The servers of the metadata store.", {"servers": "list-servers", "ls": "list-servers"})


@command(app, "list-servers")
async def list_servers(session: Session) -> Report:
    """Each server's view of the Raft group, then the servers that do not answer.

    \b
    Example:
      restatectl ms servers

    \b
    JSON:
      {"servers": [{"node", "status", "version", "leader", "members", "applied", "committed",
       "term", "log_length", "snapshot": {"index", "size_bytes"}}],
       "unreachable": [{"node", "reason"}]}
    """
    cluster = session.cluster
    servers = (await cluster.nodes_configuration()).with_role(Role.METADATA_SERVER)
    answers = await cluster.each(
        servers, lambda node: cluster.call(cluster.link_to(node), METADATA_SERVER_STATUS, Empty())
    )
    return servers_report(
        servers, {node.id: answer for node, answer in zip(servers, answers, strict=True)}
    )


@command(app, "add-node")
async def add_node(
    session: Session,
    nodes: Annotated[list[str], typer.Argument(metavar="NODES", help="1, N1 or N1,N2.")],
) -> Report:
    """Make metadata servers members of the Raft group.

    \b
    Example:
      restatectl metadata-server add-node N4

    \b
    JSON:
      {"nodes": [{"node", "outcome"}]}; outcome is added or already-member
    """
    cluster = session.cluster
    members = known_nodes(parse_nodes(nodes), await cluster.nodes_configuration())
    _check_role(members)
    outcomes: list[tuple[Node, str]] = []
    for node in members:
        try:
            link = cluster.link_to(node)
            await _patiently(cluster, partial(cluster.call, link, ADD_METADATA_SERVER, Empty()))
            outcomes.append((node, "added"))
        except CallFailed as failure:
            if not _is_member_already(failure):
                raise CtlError(f"cannot add {plain_text(node.id)}: {failure}") from None
            outcomes.append((node, "already-member"))
    return membership_report(outcomes)


@command(app, "remove-node")
async def remove_node(
    session: Session,
    nodes: Annotated[list[str], typer.Argument(metavar="NODES", help="1, N1 or N1,N2.")],
) -> Report:
    """Take members out of the Raft group. The last one stays.

    \b
    Example:
      restatectl metadata-server remove-node N3

    \b
    JSON:
      {"nodes": [{"node", "outcome"}]}; outcome is removed
    """
    cluster = session.cluster
    configuration = await cluster.nodes_configuration()
    leaving = known_nodes(parse_nodes(nodes), configuration)
    _check_role(leaving)
    for node in leaving:
        await _patiently(cluster, partial(_remove, session, configuration, node))
    return membership_report([(node, "removed") for node in leaving])


def membership_report(outcomes: Sequence[tuple[Node, str]]) -> Report:
    """One line per node."""
    lines = tuple(_OUTCOME_TEXT[outcome].format(plain_text(n.id)) for n, outcome in outcomes)
    documents: list[Json] = [
        {"node": plain_text(node.id), "outcome": outcome} for node, outcome in outcomes
    ]
    return Report({"nodes": documents}, lines)


async def _remove(session: Session, configuration: NodesConfiguration, node: Node) -> None:
    """Only the leader can; nobody knows for sure who that is, so every member is asked."""
    cluster = session.cluster
    request = RemoveNodeRequest(plain_node_id=node.id)
    failures: list[CallFailed] = []
    for member in configuration.with_role(Role.METADATA_SERVER):
        if member.metadata_server_state is not MetadataServerState.MEMBER:
            continue
        try:
            await cluster.call(cluster.link_to(member), REMOVE_METADATA_SERVER, request)
            return
        except CallFailed as failure:
            failures.append(failure)
            if failure.final or "is not a member" in failure.reason:
                break
    name = plain_text(node.id)
    if not failures:
        raise CtlError(f"cannot remove {name}: the metadata cluster has no members")
    if any("is not a member" in failure.reason for failure in failures):
        raise CtlError(f"{name} is not a member of the metadata cluster")
    raise NotRemoved(failures_text(f"cannot remove {name}", failures), failures)


class NotRemoved(CtlError):
    """No member did it."""

    def __init__(self, message: str, failures: Sequence[CallFailed]) -> None:
        super().__init__(message)
        self.is_final = any(failure.final for failure in failures)


async def _patiently(cluster: Cluster, call: Callable[[], Awaitable[object]]) -> None:
    """Again and again while another change of the members is under way, or there is no leader."""
    pause_ms = PAUSE_MS
    for attempt in range(ROUNDS_MAX):
        try:
            await call()
            return
        except CtlError as error:
            if attempt == ROUNDS_MAX - 1 or not _is_passing(error):
                raise
        cluster.forgive()
        await asyncio.sleep(pause_ms / 1000)
        pause_ms = min(PAUSE_MS_MAX, pause_ms * 2)


def _is_passing(error: CtlError) -> bool:
    if isinstance(error, NotRemoved):
        return not error.is_final
    if isinstance(error, CallFailed):
        return error.status == "UNAVAILABLE" and "connection" not in error.reason
    return False


def _is_member_already(failure: CallFailed) -> bool:
    return failure.status == "ALREADY_EXISTS" or "still a member" in failure.reason


def _check_role(nodes: Sequence[Node]) -> None:
    for node in nodes:
        if not node.has_role(Role.METADATA_SERVER):
            name = plain_text(node.id)
            raise CtlError(f"{name} has not the role metadata-server: choose a node that has")


def servers_report(servers: Sequence[Node], answers: Answers) -> Report:
    """Rows of those that answer; a problem if none does."""
    rows: list[tuple[CellLike, ...]] = []
    silent: list[tuple[CellLike, ...]] = []
    documents: list[Json] = []
    unreachable: list[Json] = []
    for node in servers:
        match answers[node.id]:
            case CtlError() as error:
                reason = error.reason if isinstance(error, CallFailed) else str(error)
                silent.append((Cell(plain_text(node.id), Style.BAD), reason))
                unreachable.append({"node": plain_text(node.id), "reason": reason})
            case StatusResponse() as status:
                rows.append(_row(node, status))
                documents.append(_document(node, status))
    blocks: list[Block] = [TITLE, Table(COLUMNS, tuple(rows))]
    if silent:
        blocks += ["", UNREACHABLE_TITLE, Table(("NODE", "REASON"), tuple(silent))]
    problems = () if rows else ("no metadata server answers: see `restatectl nodes list --extra`",)
    return Report({"servers": documents, "unreachable": unreachable}, tuple(blocks), problems)


def _row(node: Node, status: StatusResponse) -> tuple[CellLike, ...]:
    configuration = status.HasField("configuration")
    raft = status.HasField("raft")
    snapshot = status.HasField("snapshot")
    members = ",".join(f"N{member}" for member in sorted(status.configuration.members))
    return (
        plain_text(node.id),
        status_text(MetadataServerStatus.Name(status.status)),
        f"v{status.configuration.version.value}" if configuration else ABSENT,
        f"N{status.leader}" if status.HasField("leader") else ABSENT,
        f"[{members}]" if configuration else ABSENT,
        status.raft.applied if raft else ABSENT,
        status.raft.committed if raft else ABSENT,
        status.raft.term if raft else ABSENT,
        _log_length(status) if raft else ABSENT,
        status.snapshot.index if snapshot else ABSENT,
        size_text(status.snapshot.size) if snapshot else ABSENT,
    )


def _log_length(status: StatusResponse) -> int:
    return max(0, status.raft.last_index + 1 - status.raft.first_index)


def _document(node: Node, status: StatusResponse) -> Json:
    configuration = status.HasField("configuration")
    raft = status.HasField("raft")
    snapshot: Json = None
    if status.HasField("snapshot"):
        snapshot = {"index": status.snapshot.index, "size_bytes": status.snapshot.size}
    members: list[Json] = [f"N{member}" for member in sorted(status.configuration.members)]
    return {
        "node": plain_text(node.id),
        "status": status_text(MetadataServerStatus.Name(status.status)),
        "version": status.configuration.version.value if configuration else None,
        "leader": f"N{status.leader}" if status.HasField("leader") else None,
        "members": members if configuration else None,
        "applied": status.raft.applied if raft else None,
        "committed": status.raft.committed if raft else None,
        "term": status.raft.term if raft else None,
        "log_length": _log_length(status) if raft else None,
        "snapshot": snapshot,
    }
