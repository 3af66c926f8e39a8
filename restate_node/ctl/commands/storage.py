"""`restatectl storage`: the databases on the disks of the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated

import typer

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.errors import CtlError
from restate_node.ctl.methods import TRIGGER_COMPACTION
from restate_node.ctl.node_lists import known_nodes, parse_nodes
from restate_node.ctl.render import Cell, CellLike, Json, Report, Style, Table
from restate_node.types.ids import plain_text
from restate_node.types.nodes import Node
from restate_node.wire.pb import common_pb2
from restate_node.wire.pb.node_ctl_svc_pb2 import (
    TriggerCompactionRequest,
    TriggerCompactionResponse,
)

COMPACTION_TIMEOUT_MS = 30 * 60 * 1000
COLUMNS = ("NODE", "DATABASE", "STATUS", "COLUMN FAMILIES")


class Database(Enum):
    """Kinds of databases."""

    PARTITION_STORE = "partition-store"
    LOG_SERVER = "log-server"
    METADATA_SERVER = "metadata-server"


_KINDS = {
    Database.PARTITION_STORE: common_pb2.DK_PARTITION_STORE,
    Database.LOG_SERVER: common_pb2.DK_LOG_SERVER,
    Database.METADATA_SERVER: common_pb2.DK_METADATA_SERVER,
}

app = noun("The databases on the disks of the nodes.")


@command(app, "compact")
async def compact(
    session: Session,
    database: Annotated[
        list[Database] | None, typer.Option("--database", "-d", help="Of this kind; else all.")
    ] = None,
    node: Annotated[
        list[str] | None, typer.Option("--node", "-n", metavar="NODES", help="N1,N2; else all.")
    ] = None,
) -> Report:
    """Merge the files of RocksDB databases: gives the disk space of deleted records back.

    Costs much reading and writing; appends may be slower meanwhile.

    \b
    Example:
      restatectl storage compact --database log-server --node N1

    \b
    JSON:
      {"results": [{"node", "database", "success", "column_families", "error"}]}
    """
    configuration = await session.cluster.nodes_configuration()
    nodes = known_nodes(parse_nodes(node), configuration) if node else configuration.members()
    request = TriggerCompactionRequest(databases=[_KINDS[kind] for kind in database or ()])
    session.show(f"Triggering compaction on {len(nodes)} node(s)...")

    async def ask(member: Node) -> TriggerCompactionResponse:
        link = session.cluster.link_to(member)
        return await session.cluster.call(link, TRIGGER_COMPACTION, request, COMPACTION_TIMEOUT_MS)

    return compaction_report(nodes, await session.cluster.each(nodes, ask))


def compaction_report(
    nodes: Sequence[Node], answers: Sequence[TriggerCompactionResponse | CtlError]
) -> Report:
    """A row per database; failures are rows and problems."""
    rows: list[tuple[CellLike, ...]] = []
    documents: list[Json] = []
    problems: list[str] = []
    for member, answer in zip(nodes, answers, strict=True):
        name = plain_text(member.id)
        if isinstance(answer, CtlError):
            rows.append((name, "", Cell("FAILED", Style.BAD), ""))
            problems.append(f"compaction on {name}: {answer}")
            continue
        for result in answer.results:
            status = Cell("OK", Style.GOOD) if result.success else Cell("FAILED", Style.BAD)
            rows.append((name, result.db_name, status, result.column_families_compacted))
            if not result.success:
                problems.append(f"compaction of {result.db_name} on {name}: {result.error}")
            documents.append(
                {
                    "node": name,
                    "database": result.db_name,
                    "success": result.success,
                    "column_families": result.column_families_compacted,
                    "error": None if result.success else result.error,
                }
            )
    succeeded = sum(isinstance(row[2], Cell) and row[2].text == "OK" for row in rows)
    tail = f"Compaction results: {succeeded} succeeded, {len(problems)} failed"
    return Report({"results": documents}, (Table(COLUMNS, tuple(rows)), tail), tuple(problems))
