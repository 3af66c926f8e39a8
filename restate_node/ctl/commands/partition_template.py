"""`restatectl partitions generate-metadata`: a first draft of a partition table."""

from __future__ import annotations

from typing import Annotated

import typer

from restate_node.ctl.command import Session, command
from restate_node.ctl.commands.partitions import app
from restate_node.ctl.generated_metadata import as_report, generated_partitions
from restate_node.ctl.render import Report
from restate_node.types.ids import Version
from restate_node.types.partitions import PARTITIONS_MAX

__all__ = ["app"]

VERSION_MAX = 2**32 - 1


@command(app, "generate-metadata")
async def generate_metadata(
    session: Session,
    num_partition: Annotated[
        int, typer.Option("--num-partition", "--num-partitions", "-n", min=1, max=PARTITIONS_MAX)
    ],
    version: Annotated[int, typer.Option("--version", min=1, max=VERSION_MAX)] = 2,
    pretty: Annotated[bool, typer.Option("--pretty", help="On several lines.")] = False,
) -> Report:
    """Print a partition table in JSON, a draft for `restatectl metadata put -k partition_table`.

    The key space is divided evenly. No node is asked.

    \b
    Example:
      restatectl partitions generate-metadata -n 8

    \b
    JSON:
      the table itself
    """
    return as_report(generated_partitions(Version(version), num_partition), pretty)
