"""`restatectl sql`: questions about the cluster in SQL.

The nodes run the query; this command shows the answer.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from restate_node.ctl.command import Session, command, single
from restate_node.ctl.methods import QUERY
from restate_node.ctl.render import Block, Report
from restate_node.types.nodes import Role
from restate_node.wire.pb.cluster_ctrl_pb2 import QueryRequest

app = single()


@command(app, "sql")
async def sql(
    session: Session,
    query: Annotated[str, typer.Argument(metavar="QUERY")],
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print one JSON object per row and line.")
    ] = False,
) -> Report:
    """Run a query over nodes, logs, logs_tail_segments, partitions, partition_state,
    partition_replica_set, config, loglet_workers and bifrost_read_streams.

    The last three have rows of every living node; those of others are reported as missing.

    \b
    Examples:
      restatectl sql "select name, state from nodes"
      restatectl sql "describe partition_state"
      restatectl sql --json "select * from logs where sequencer = 'N1:1'"

    \b
    JSON:
      [{column: value, …}]: an object per row, without columns that are null
    """
    from restate_node.ctl.sql_rows import read_answer  # pyarrow: no other command needs it

    responses = await session.cluster.collect_from_any(QUERY, QueryRequest(query=query), Role.ADMIN)
    answer = read_answer(response.encoded for response in responses)
    warnings = tuple(
        f"rows of {warning.node_id} are missing: {warning.message}"
        for response in responses
        for warning in response.warnings
    )
    objects = answer.objects()
    blocks: tuple[Block, ...] = (
        answer.table(),
        f"{len(objects)} row{'' if len(objects) == 1 else 's'}",
    )
    if jsonl:
        blocks = tuple(json.dumps(row, ensure_ascii=False) for row in objects)
    return Report(objects, blocks, warnings)
