"""What a shell completes: it runs `restatectl` with the words so far in a variable, and gets words.

    restatectl logs de⇥ ─▶ _RESTATECTL_COMPLETE=complete_bash restatectl ─▶ describe

The scripts that teach a shell to do so are Typer's.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

VARIABLE: Final = "_RESTATECTL_COMPLETE"


class Shell(Enum):
    """Shells that can be taught."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def prepare_completion(environment: Mapping[str, str]) -> None:
    """Before the command line is read; does nothing, and loads nothing, unless a shell asks."""
    if VARIABLE in environment:
        from typer._completion_classes import completion_init

        completion_init()


def completion_script(shell: Shell) -> str:
    """To be read by the shell when it starts."""
    from typer._completion_shared import get_completion_script

    return get_completion_script(prog_name="restatectl", complete_var=VARIABLE, shell=shell.value)


def shell_of(environment: Mapping[str, str]) -> Shell | None:
    """The shell of the user, if it is one of them."""
    name = environment.get("SHELL", "").rpartition("/")[2]
    return next((shell for shell in Shell if shell.value == name), None)
