"""`restatectl nodes`: the members of the cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import typer
from google.protobuf.empty_pb2 import Empty

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.connection import Answer
from restate_node.ctl.errors import CtlError, NotProvisioned
from restate_node.ctl.methods import GET_IDENT
from restate_node.ctl.node_lists import parse_nodes
from restate_node.ctl.node_states import (
    FORCE_HELP,
    remove_nodes,
    set_storage_states,
    set_worker_states,
    state_line,
    states_report,
)
from restate_node.ctl.render import Cell, CellLike, Json, Report, Style, Table
from restate_node.ctl.times import rough
from restate_node.types.ids import PlainNodeId, plain_text
from restate_node.types.nodes import Node, NodesConfiguration, Role, StorageState, WorkerState
from restate_node.wire.pb.common_pb2 import (
    AdminStatus,
    LogServerStatus,
    MetadataServerStatus,
    NodeStatus,
    WorkerStatus,
)
from restate_node.wire.pb.node_ctl_svc_pb2 import IdentResponse

IDENT_TIMEOUT_MS = 1_000
"""How long `--extra` waits for each node's own words."""

COLUMNS = ("NODE", "GEN", "NAME", "ADDRESS", "ROLES")
EXTRA_COLUMNS = (
    *("LOCATION", "STORAGE-STATE", "WORKER-STATE", "UPTIME", "STATUS", "ADMIN", "WORKER"),
    *("LOG-SERVER", "META", "NODES", "LOGS", "SCHEMA", "P-TABLE"),
)
DIRECT_TITLE = (
    "The cluster metadata service was unavailable but the following node(s) from the address "
    "list responded directly"
)

Idents = Mapping[PlainNodeId, IdentResponse]

app = noun("The members of the cluster.")


@command(app, "list")
async def list_nodes(
    session: Session,
    extra: Annotated[
        bool, typer.Option("--extra", help="Also ask every node for its state and versions.")
    ] = False,
) -> Report:
    """Members: id, generation, name, address, roles.

    A node that is down is listed too; `--extra` shows its status as Unknown.

    \b
    Example:
      restatectl nodes list --extra

    \b
    JSON:
      {"version", "cluster_name", "nodes": [{"id", "generation", "name", "address", "roles",
       "location", "storage_state", "worker_state", "metadata_server_state"}]};
      with --extra each node also has "ident": null if it did not answer, else {"status",
       "uptime_s", "admin", "worker", "log_server", "metadata_server", "versions"}
    """
    try:
        configuration = await session.cluster.nodes_configuration()
    except NotProvisioned as error:
        return unprovisioned_report(session.cluster.direct_answers(), error)
    if not extra:
        return list_report(configuration, None)
    return list_report(configuration, await ask_idents(session, configuration.members()))


@command(app, "set-storage-state")
async def set_storage_state(
    session: Session,
    nodes: Annotated[
        list[str],
        typer.Option("--nodes", "--node", metavar="NODES", help="Log servers: 1, N1 or N1,N2."),
    ],
    storage_state: Annotated[
        StorageState, typer.Option("--storage-state", help="The state to set.")
    ],
    force: Annotated[bool, typer.Option("--force", help=FORCE_HELP)] = False,
) -> Report:
    """Set the storage state of log servers. Dangerous: it decides where records may be.

    Without --force only provisioning to disabled, and read-only to read-write and back; and only if
    new segments still find enough log servers and no record loses its last copy.

    \b
    Example:
      restatectl nodes set-storage-state --node N3 --storage-state read-only

    \b
    JSON:
      {"nodes": [{"node", "before", "after"}], "warnings": […]}
    """
    changed = await set_storage_states(session, parse_nodes(nodes), storage_state, force=force)
    return states_report(changed, [state_line(c, "storage-state") for c in changed])


@command(app, "set-worker-state")
async def set_worker_state(
    session: Session,
    nodes: Annotated[
        list[str],
        typer.Option("--nodes", "--node", metavar="NODES", help="Workers: 1, N1 or N1,N2."),
    ],
    worker_state: Annotated[WorkerState, typer.Option("--worker-state", help="The state to set.")],
    force: Annotated[bool, typer.Option("--force", help=FORCE_HELP)] = False,
) -> Report:
    """Set the state of workers; partitions leave a worker that drains.

    \b
    Example:
      restatectl nodes set-worker-state --node N3 --worker-state draining

    \b
    JSON:
      {"nodes": [{"node", "before", "after"}], "warnings": […]}
    """
    changed = await set_worker_states(session, parse_nodes(nodes), worker_state, force=force)
    return states_report(changed, [state_line(c, "worker-state") for c in changed])


@command(app, "remove")
async def remove(
    session: Session,
    nodes: Annotated[
        list[str],
        typer.Option("--nodes", "--node", metavar="NODES", help="Members: 1, N1 or N1,N2."),
    ],
) -> Report:
    """Remove members for ever. Refused while anything needs them.

    First: `nodes set-worker-state --worker-state draining`, `metadata-server remove-node`, `nodes
    set-storage-state --storage-state read-only`, and logs that have moved and are trimmed.

    \b
    Example:
      restatectl nodes remove --nodes N4,N5

    \b
    JSON:
      {"removed": ["N4"]}
    """
    removed = await remove_nodes(session, parse_nodes(nodes))
    names = [plain_text(node) for node in removed]
    return Report({"removed": names}, tuple(f"{name} has been removed" for name in names))


async def ask_idents(session: Session, nodes: Sequence[Node]) -> Idents:
    """What each node says about itself; those that do not answer are missing."""
    cluster = session.cluster
    answers = await cluster.each(
        nodes,
        lambda node: cluster.call(
            cluster.link_to(node), GET_IDENT, Empty(), timeout_ms=IDENT_TIMEOUT_MS
        ),
    )
    return {
        node.id: answer
        for node, answer in zip(nodes, answers, strict=True)
        if not isinstance(answer, CtlError)
    }


def list_report(configuration: NodesConfiguration, idents: Idents | None) -> Report:
    """The list, with what the nodes say if they were asked."""
    columns = COLUMNS if idents is None else COLUMNS + EXTRA_COLUMNS
    rows = tuple(_row(node, idents) for node in configuration.members())
    document: Json = {
        "version": configuration.version,
        "cluster_name": configuration.cluster_name,
        "nodes": [_document(node, idents) for node in configuration.members()],
    }
    return Report(document, (title(configuration), Table(columns, rows)))


def unprovisioned_report(answers: Sequence[Answer], error: NotProvisioned) -> Report:
    """What can be said of nodes that are not a cluster."""
    rows = tuple(
        (
            _direct_id(answer.ident),
            _direct_generation(answer.ident),
            "-",
            str(answer.link.address),
            roles_text(answer.ident.roles),
        )
        for answer in answers
    )
    document: Json = {
        "version": 0,
        "nodes": [],
        "direct": [
            {"address": str(answer.link.address), "roles": sorted(answer.ident.roles)}
            for answer in answers
        ],
    }
    return Report(document, (DIRECT_TITLE, Table(COLUMNS, rows)), (str(error),))


def title(configuration: NodesConfiguration) -> str:
    """`Node Configuration (v21)`."""
    return f"Node Configuration (v{configuration.version})"


def roles_text(roles: Iterable[str]) -> str:
    """`admin | log-server | worker`."""
    return " | ".join(sorted(roles))


def _row(node: Node, idents: Idents | None) -> tuple[CellLike, ...]:
    row: tuple[CellLike, ...] = (
        plain_text(node.id),
        node.current_generation.generation,
        node.name,
        node.address,
        roles_text(role.value for role in node.roles),
    )
    return row if idents is None else row + _extra_cells(node, idents.get(node.id))


def _extra_cells(node: Node, ident: IdentResponse | None) -> tuple[CellLike, ...]:
    storage = node.storage_state if node.has_role(Role.LOG_SERVER) else None
    worker = node.worker_state.value if node.has_role(Role.WORKER) else "-"
    state: tuple[CellLike, ...] = (str(node.location), _storage_cell(storage), worker)
    if ident is None:
        return (*state, "N/A", Cell("Unknown", Style.BAD), *("",) * 8)
    return (
        *state,
        rough(ident.age_s),
        _status_cell(ident),
        _role_status(node, Role.ADMIN, AdminStatus.Name(ident.admin_status)),
        _role_status(node, Role.WORKER, WorkerStatus.Name(ident.worker_status)),
        _role_status(node, Role.LOG_SERVER, LogServerStatus.Name(ident.log_server_status)),
        _role_status(
            node, Role.METADATA_SERVER, MetadataServerStatus.Name(ident.metadata_server_status)
        ),
        f"v{ident.nodes_config_version}",
        f"v{ident.logs_version}",
        f"v{ident.schema_version}",
        f"v{ident.partition_table_version}",
    )


def _storage_cell(state: StorageState | None) -> CellLike:
    match state:
        case None:
            return "-"
        case StorageState.DATA_LOSS:
            return Cell(state.value, Style.BAD)
        case StorageState.READ_WRITE:
            return state.value
        case _:
            return Cell(state.value, Style.WARNING)


def _status_cell(ident: IdentResponse) -> Cell:
    style = Style.GOOD if ident.status == NodeStatus.ALIVE else Style.WARNING
    return Cell(status_text(NodeStatus.Name(ident.status)), style)


def _role_status(node: Node, role: Role, name: str) -> str:
    return status_text(name) if node.has_role(role) else "-"


def status_text(name: str) -> str:
    """`Starting Up` for `WS_STARTING_UP`; the prefixes of the wire are left out."""
    words = name.split("_")
    if len(words[0]) == 2 and words[0].endswith("S"):
        words = words[1:]
    return " ".join(words).title()


def _document(node: Node, idents: Idents | None) -> Json:
    document: dict[str, Json] = {
        "id": plain_text(node.id),
        "generation": node.current_generation.generation,
        "name": node.name,
        "address": node.address,
        "roles": sorted(role.value for role in node.roles),
        "location": str(node.location),
        "storage_state": node.storage_state.value,
        "worker_state": node.worker_state.value,
        "metadata_server_state": node.metadata_server_state.value,
    }
    if idents is not None:
        document["ident"] = _ident_document(idents.get(node.id))
    return document


def _ident_document(ident: IdentResponse | None) -> Json:
    if ident is None:
        return None
    return {
        "status": status_text(NodeStatus.Name(ident.status)),
        "uptime_s": ident.age_s,
        "admin": status_text(AdminStatus.Name(ident.admin_status)),
        "worker": status_text(WorkerStatus.Name(ident.worker_status)),
        "log_server": status_text(LogServerStatus.Name(ident.log_server_status)),
        "metadata_server": status_text(MetadataServerStatus.Name(ident.metadata_server_status)),
        "versions": {
            "nodes_config": ident.nodes_config_version,
            "logs": ident.logs_version,
            "schema": ident.schema_version,
            "partition_table": ident.partition_table_version,
        },
    }


def _direct_id(ident: IdentResponse) -> str:
    return f"N{ident.node_id.id}" if ident.HasField("node_id") else "n/a"


def _direct_generation(ident: IdentResponse) -> str:
    has_generation = ident.HasField("node_id") and ident.node_id.HasField("generation")
    return str(ident.node_id.generation) if has_generation else ""
