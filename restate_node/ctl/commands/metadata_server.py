"""`restatectl metadata-server`: the servers of the metadata store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.protobuf.empty_pb2 import Empty

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.commands.nodes import status_text
from restate_node.ctl.errors import CallFailed, CtlError
from restate_node.ctl.methods import METADATA_SERVER_STATUS
from restate_node.ctl.render import Block, Cell, CellLike, Json, Report, Style, Table
from restate_node.types.ids import PlainNodeId, plain_text
from restate_node.types.nodes import Node, Role
from restate_node.wire.pb.common_pb2 import MetadataServerStatus
from restate_node.wire.pb.metadata_server_svc_pb2 import StatusResponse

TITLE = "Metadata service"
UNREACHABLE_TITLE = "🔌 Unreachable nodes"
COLUMNS = (
    *("NODE", "STATUS", "VERSION", "LEADER", "MEMBERS", "APPLIED", "COMMITTED", "TERM"),
    *("LOG-LENGTH", "SNAP-INDEX", "SNAP-SIZE"),
)
ABSENT = "-"

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


def size_text(size_bytes: int) -> str:
    """`707 B`, `2.1 KiB`."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


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
