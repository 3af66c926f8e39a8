"""`restatectl`: looks at a Restate cluster and changes it.

    restatectl [options] <noun> <command> [arguments] [options]

    app ──names──▶ commands/<noun>.py ──session──▶ connection ──link──▶ nodes
                          │
                          └──▶ Report ──▶ text or JSON

A command decides nothing about the cluster by itself: it asks, and shows the answer. The pure part
of each noun turns answers into rows and is tested without a server.
"""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from restate_node import __version__
from restate_node.ctl.command import accept_common_options, emit
from restate_node.ctl.groups import prefix_group

_COMMANDS = "restate_node.ctl.commands"

NOUNS: tuple[tuple[str, str, str], ...] = (
    ("status", "status", "Overview of the cluster: nodes, leaders, logs, metadata"),
    ("nodes", "nodes", "The members of the cluster"),
    ("logs", "log_template", "The logs: chains of segments, tails"),
    ("partitions", "partition_policies", "Partition processors: leaders, followers, progress"),
    ("config", "config", "What the cluster is told to be"),
    ("metadata", "metadata", "Raw objects of the metadata store"),
    ("metadata-server", "metadata_recovery", "The servers of the metadata store (alias: ms)"),
    ("replicated-loglet", "loglet_repair", "Log servers and single loglets"),
    ("snapshots", "snapshots", "Snapshots of partitions"),
    ("storage", "storage", "The databases on the disks of the nodes"),
    ("sql", "sql", "Ask in SQL about nodes, logs and partitions"),
    ("why", "why", "The decisions of the control plane about a log or a partition"),
    ("completions", "completions", "Have a shell complete commands and options"),
    ("provision", "provision", "Turn new nodes into a cluster"),
)
"""Name, module, and line of help."""


def build_app() -> typer.Typer:
    """The whole tool; nouns are loaded when they are chosen."""
    app = typer.Typer(
        cls=prefix_group(
            {"ms": "metadata-server"},
            {name: f"{_COMMANDS}.{module}" for name, module, _ in NOUNS},
        ),
        help=(
            "Looks at a Restate cluster and changes it.\n\n"
            "Nouns and commands may be shortened as long as one fits: `restatectl log l`.\n\n"
            "\b\nExamples:\n  restatectl status\n  restatectl --addresses http://localhost:5122/ "
            "nodes list\n  restatectl partitions list --json"
        ),
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    accept_common_options(app, _version_option())
    for name, _, help_line in NOUNS:
        app.add_typer(typer.Typer(), name=name, help=help_line)
    return app


def _version_option() -> inspect.Parameter:
    def show(wanted: bool) -> None:
        if wanted:
            emit(f"restatectl {__version__}\n")
            raise typer.Exit

    option = typer.Option("--version", "-V", is_eager=True, callback=show, help="Print it.")
    return inspect.Parameter(
        "version", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
    )
