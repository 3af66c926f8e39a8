"""`restatectl replicated-loglet`: log servers, and single loglets on them."""

from __future__ import annotations

from typing import Annotated

import typer

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.errors import CtlError, UsageError
from restate_node.ctl.loglet_rows import (
    Digests,
    Found,
    Infos,
    checked_info,
    digest_table,
    find_loglet,
    info_documents,
    info_table,
    loglet_document,
    loglet_lines,
    offset_range,
    run_documents,
    runs_of,
)
from restate_node.ctl.methods import GET_DIGEST, GET_LOGLET_INFO
from restate_node.ctl.node_lists import parse_nodes
from restate_node.ctl.node_states import FORCE_HELP, set_storage_states, states_report
from restate_node.ctl.render import Cell, CellLike, Json, Report, Style, Table
from restate_node.types.ids import PlainNodeId, parse_loglet_id, plain_text
from restate_node.types.logs import Logs, ReplicatedSegment
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState
from restate_node.wire.pb.log_server_common_pb2 import Digest, LogletInfo
from restate_node.wire.pb.log_server_pb2 import GetDigestRequest, GetLogletInfoRequest

COLUMNS = ("NODE", "GEN", "STORAGE-STATE", "HISTORICAL LOGLETS", "ACTIVE LOGLETS")

_LOGLET_HELP = "Such as 0_1 (log 0, segment 1), or the raw number."

app = noun(
    "Low level: log servers, and single loglets on them.",
    {"servers": "list-servers", "nodes": "list-servers", "ls": "list-servers"},
)


@command(app, "list-servers")
async def list_servers(session: Session) -> Report:
    """Log servers, their storage state, and how many loglets name them.

    HISTORICAL LOGLETS counts all segments of all logs, ACTIVE LOGLETS those that take appends.

    \b
    Example:
      restatectl replicated-loglet servers

    \b
    JSON:
      {"nodes_config_version", "logs_version", "servers": [{"node", "generation",
       "storage_state", "historical_loglets", "active_loglets"}]}
    """
    configuration = await session.cluster.nodes_configuration()
    return servers_report(configuration, await session.cluster.logs())


@command(app, "set-storage-state")
async def set_storage_state(
    session: Session,
    node: Annotated[
        list[str],
        typer.Option("--node", "--nodes", metavar="NODES", help="Log servers: 1, N1 or N1,N2."),
    ],
    storage_state: Annotated[
        StorageState, typer.Option("--storage-state", help="The state to set.")
    ],
    force: Annotated[bool, typer.Option("--force", help=FORCE_HELP)] = False,
) -> Report:
    """Set the storage state of log servers; the same as `nodes set-storage-state`.

    \b
    Example:
      restatectl replicated-loglet set-storage-state --node 1 --storage-state read-only

    \b
    JSON:
      {"nodes": [{"node", "before", "after"}], "warnings": […]}
    """
    changed = await set_storage_states(session, parse_nodes(node), storage_state, force=force)
    lines = [f"Node {c.node} storage-state updated from {c.before} to {c.after}" for c in changed]
    return states_report(changed, lines)


@command(app, "info")
async def loglet_info(
    session: Session,
    loglet: Annotated[str, typer.Argument(metavar="LOGLET_ID", help=_LOGLET_HELP)],
) -> Report:
    """One loglet: its parameters, and the tails that its log servers have.

    \b
    Example:
      restatectl replicated-loglet info 0_1

    \b
    JSON:
      {"loglet_id", "raw", "log", "segment", "sequencer", "replication", "nodeset",
       "servers": [{"node", "local_tail", "global_tail", "trim_point", "sealed", "error"}]}
    """
    found, infos = await _found(session, loglet)
    document: Json = {**loglet_document(found), "servers": info_documents(infos)}
    return Report(document, (*loglet_lines(found), "", info_table(infos)), _silence(infos))


@command(app, "digest")
async def loglet_digest(
    session: Session,
    loglet: Annotated[str, typer.Argument(metavar="LOGLET_ID", help=_LOGLET_HELP)],
    first: Annotated[
        int | None, typer.Option("--from", min=1, help="First offset, included.")
    ] = None,
    last: Annotated[int | None, typer.Option("--to", min=1, help="Last offset, included.")] = None,
    under_replicated_only: Annotated[
        bool, typer.Option("--under-replicated-only", "-u", help="Show only offsets with issues.")
    ] = False,
) -> Report:
    """Which record of a loglet is on which log server.

    X exists, A archived, T trimmed, blank not there, ? the node does not answer. Offsets with the
    same picture share a line.

    \b
    Examples:
      restatectl replicated-loglet digest 0_1
      restatectl replicated-loglet digest 0_1 --from 100 -u

    \b
    JSON:
      as `info`, and {"runs": [{"from_offset", "to_offset", "nodes": {"N1": "exists"}, "issue"}]}
    """
    found, infos = await _found(session, loglet)
    offsets = offset_range(infos, first, last)
    runs = runs_of(await _digests(session, found, infos, offsets), offsets)
    copies = found.params.replication.copies
    document: Json = {
        **loglet_document(found),
        "servers": info_documents(infos),
        "runs": run_documents(runs, list(infos), copies),
    }
    table = digest_table(runs, infos, copies, only_issues=under_replicated_only)
    lines = loglet_lines(found, _observed_tail(infos))
    return Report(document, (table, "", *lines), _silence(infos))


def servers_report(configuration: NodesConfiguration, logs: Logs) -> Report:
    """Two lines of versions and a row per log server."""
    rows: list[tuple[CellLike, ...]] = []
    documents: list[Json] = []
    for node in configuration.log_servers():
        historical, active = loglet_counts(node.id, logs)
        generation = str(node.current_generation)
        state = Cell(node.storage_state.value, _state_style(node.storage_state))
        rows.append((plain_text(node.id), generation, state, historical, active))
        documents.append(
            {
                "node": plain_text(node.id),
                "generation": generation,
                "storage_state": node.storage_state.value,
                "historical_loglets": historical,
                "active_loglets": active,
            }
        )
    document: Json = {
        "nodes_config_version": configuration.version,
        "logs_version": logs.version,
        "servers": documents,
    }
    titles = (f"Node configuration v{configuration.version}", f"Log chain v{logs.version}")
    return Report(document, (*titles, Table(COLUMNS, tuple(rows))))


def loglet_counts(node: PlainNodeId, logs: Logs) -> tuple[int, int]:
    """Segments whose nodeset names the node, and those of them that are the tail of a log."""
    chains = logs.chains.values()
    historical = sum(node in s.params.nodeset for chain in chains for s in chain.replicated)
    tails = [chain.tail for chain in chains]
    active = sum(isinstance(t, ReplicatedSegment) and node in t.params.nodeset for t in tails)
    return historical, active


def effective_nodes(found: Found, configuration: NodesConfiguration) -> list[Node]:
    """Members of the nodeset that may hold records of it."""
    members = [configuration.node(node) for node in found.params.nodeset]
    return [
        node
        for node in members
        if node is not None
        and node.has_role(Role.LOG_SERVER)
        and node.storage_state is not StorageState.DISABLED
    ]


async def _found(session: Session, text: str) -> tuple[Found, Infos]:
    try:
        loglet = parse_loglet_id(text)
    except ValueError as error:
        raise UsageError(f"invalid loglet id: {error}") from None
    cluster = session.cluster
    found = find_loglet(loglet, await cluster.logs())
    nodes = effective_nodes(found, await cluster.nodes_configuration())
    request = GetLogletInfoRequest(loglet_id=loglet)

    async def ask(node: Node) -> LogletInfo:
        response = await cluster.call(cluster.link_to(node), GET_LOGLET_INFO, request)
        return checked_info(response.info)

    answers = await cluster.each(nodes, ask)
    return found, {node.id: answer for node, answer in zip(nodes, answers, strict=True)}


async def _digests(session: Session, found: Found, infos: Infos, offsets: range) -> Digests:
    """Of the nodes that answered before; the errors of the others."""
    if not offsets:
        return infos_errors(infos)
    cluster = session.cluster
    configuration = await cluster.nodes_configuration()
    asked = [
        node
        for node in effective_nodes(found, configuration)
        if not isinstance(infos[node.id], CtlError)
    ]
    request = GetDigestRequest(
        loglet_id=found.params.loglet_id, from_offset=offsets.start, to_offset=offsets.stop - 1
    )

    async def ask(node: Node) -> Digest:
        response = await cluster.call(cluster.link_to(node), GET_DIGEST, request)
        return response.digest

    answers = await cluster.each(asked, ask)
    return infos_errors(infos) | {n.id: a for n, a in zip(asked, answers, strict=True)}


def infos_errors(infos: Infos) -> dict[PlainNodeId, Digest | CtlError]:
    """The nodes that did not answer."""
    return {node: info for node, info in infos.items() if isinstance(info, CtlError)}


def _observed_tail(infos: Infos) -> int | None:
    known = [i.header.known_global_tail for i in infos.values() if not isinstance(i, CtlError)]
    return max(known, default=None)


def _silence(infos: Infos) -> tuple[str, ...]:
    """A problem if no log server answers; some may be down."""
    if not infos or any(not isinstance(info, CtlError) for info in infos.values()):
        return ()
    return ("no log server of the nodeset answers: see `restatectl nodes list --extra`",)


def _state_style(state: StorageState) -> Style:
    match state:
        case StorageState.READ_WRITE:
            return Style.PLAIN
        case StorageState.DATA_LOSS:
            return Style.BAD
        case _:
            return Style.WARNING
