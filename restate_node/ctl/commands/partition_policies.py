"""`restatectl partitions` with everything below it: the list, `leadership` and `placement`."""

from __future__ import annotations

from restate_node.ctl.commands import partition_leadership, partition_placement
from restate_node.ctl.commands.partition_template import app

__all__ = ["app"]

app.add_typer(partition_leadership.app, name="leadership", help="Pin and freeze leaders.")
app.add_typer(partition_placement.app, name="placement", help="Set and freeze replica sets.")
