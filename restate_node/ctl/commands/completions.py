"""`restatectl completions`: have a shell complete nouns, commands and options."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from restate_node.ctl.command import Session, command, noun
from restate_node.ctl.completion import Shell, completion_script, shell_of
from restate_node.ctl.errors import UsageError
from restate_node.ctl.render import Report

app = noun("Completion of commands in shells.")


@command(app, "generate")
async def generate(
    session: Session,
    shell: Annotated[Shell | None, typer.Argument(help="Else that of $SHELL.")] = None,
) -> Report:
    """Print the script that makes a shell complete `restatectl`. No node is asked.

    \b
    Example:
      restatectl completions generate bash > ~/.local/share/bash-completion/completions/restatectl

    \b
    JSON:
      {"shell", "script"}
    """
    chosen = shell or shell_of(os.environ)
    if chosen is None:
        known = ", ".join(known.value for known in Shell)
        raise UsageError(f"name the shell, for $SHELL does not say which: one of {known}")
    script = completion_script(chosen)
    return Report({"shell": chosen.value, "script": script}, (script,))
