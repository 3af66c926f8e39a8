"""`restatectl logs` with all its commands: the last of them prints a first draft of logs."""

from __future__ import annotations

from typing import Annotated

import typer

from restate_node.ctl.command import Session, command
from restate_node.ctl.commands.log_changes import app
from restate_node.ctl.configuration_edit import parse_replication
from restate_node.ctl.errors import UsageError
from restate_node.ctl.generated_metadata import as_report, generated_logs
from restate_node.ctl.node_lists import parse_nodes
from restate_node.ctl.render import Report
from restate_node.types.ids import GenerationalNodeId, Version

__all__ = ["app"]

LOGS_MAX = 65_535
VERSION_MAX = 2**32 - 1


@command(app, "generate-metadata")
async def generate_metadata(
    session: Session,
    replication: Annotated[
        str, typer.Option("--replication", "-r", metavar="R", help="Copies of a record.")
    ],
    nodeset: Annotated[list[str], typer.Option("--nodeset", metavar="NODES", help="N1,N2,N4.")],
    sequencer: Annotated[str, typer.Option("--sequencer", metavar="NODE", help="A life: N1:1.")],
    num_logs: Annotated[int, typer.Option("--num-logs", "-n", min=0, max=LOGS_MAX)],
    version: Annotated[int, typer.Option("--version", min=1, max=VERSION_MAX)] = 2,
    pretty: Annotated[bool, typer.Option("--pretty", help="On several lines.")] = False,
) -> Report:
    """Print log metadata in JSON, a draft for `restatectl metadata put -k bifrost_config`.

    Every log gets one empty segment on the same nodes. No node is asked.

    \b
    Example:
      restatectl logs generate-metadata -r 2 --nodeset N1,N2,N3 --sequencer N1:1 -n 8

    \b
    JSON:
      the metadata itself
    """
    property_ = parse_replication("--replication", replication)
    assert property_ is not None, "it was given"
    try:
        life = GenerationalNodeId.parse(sequencer)
    except ValueError as error:
        raise UsageError(f"--sequencer: {error}") from None
    nodes = parse_nodes(nodeset)
    return as_report(generated_logs(Version(version), num_logs, property_, nodes, life), pretty)
