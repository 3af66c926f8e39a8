"""Which command is meant.

Any prefix that leaves one choice will do: `restatectl log l` is `restatectl logs list`. Aliases
count as names of their command, so that `s` may stand for `servers` and for `list-servers` at
once when these are one command.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches


class UnknownName(ValueError):
    """No name, or more than one, fits; the message says which come near."""


def resolve_name(text: str, targets: Mapping[str, str]) -> str:
    """The command for a name, an alias, or a prefix of one; `targets` maps each to its command."""
    if text in targets:
        return targets[text]
    fitting = sorted({target for name, target in targets.items() if text and name.startswith(text)})
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UnknownName(f"'{text}' is ambiguous: it could be {_choices(fitting)}")
    raise UnknownName(f"no such command '{text}'{_suggestion(text, targets)}")


def _suggestion(text: str, targets: Mapping[str, str]) -> str:
    near = {targets[name] for name in get_close_matches(text, list(targets), n=3, cutoff=0.6)}
    if near:
        return f"; did you mean {_choices(sorted(near))}?"
    return f"; use one of {', '.join(sorted(set(targets.values())))}"


def _choices(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    if len(quoted) == 1:
        return quoted[0]
    return ", ".join(quoted[:-1]) + f" or {quoted[-1]}"
