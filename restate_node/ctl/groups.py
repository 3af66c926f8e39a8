"""Nouns and commands by prefix, loaded when they are used.

`restatectl --help` must not pay for gRPC, so a noun of the top level is a name, a line of help
and a module; the module is imported when the noun is chosen.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command

from restate_node.ctl.errors import UsageError
from restate_node.ctl.names import UnknownName, resolve_name


class PrefixGroup(TyperGroup):
    """A noun whose commands may be shortened; see `names`."""

    aliases: ClassVar[Mapping[str, str]] = {"ls": "list"}
    modules: ClassVar[Mapping[str, str]] = {}

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Without a command, the help page is the error."""
        if not args and not ctx.resilient_parsing:  # a shell that completes gives no command
            sys.stderr.write(f"{ctx.get_help()}\n")
            raise typer.Exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the first word stands for."""
        text = args[0]
        if text.startswith("-"):
            return super().resolve_command(ctx, args)
        names = self.list_commands(ctx)
        targets = {name: name for name in names}
        targets |= {alias: name for alias, name in self.aliases.items() if name in names}
        try:
            name = resolve_name(text, targets)
        except UnknownName as error:
            raise UsageError(f"{error} (see `{ctx.command_path} --help`)") from None
        return name, self._loaded(ctx, name), args[1:]

    def _loaded(self, ctx: Any, name: str) -> Any:
        if name not in self.modules:
            return self.get_command(ctx, name)
        app = import_module(self.modules[name]).app
        assert isinstance(app, typer.Typer), f"{self.modules[name]} defines no app"
        return get_command(app)


def prefix_group(
    aliases: Mapping[str, str], modules: Mapping[str, str] | None = None
) -> type[PrefixGroup]:
    """A group with these aliases besides the usual ones."""
    return type(
        "NamedPrefixGroup",
        (PrefixGroup,),
        {"aliases": {**PrefixGroup.aliases, **aliases}, "modules": modules or {}},
    )
