"""Loads the configuration of a node: defaults < TOML file < RESTATE_* variables < flags.

    argv ──► flags ─────────────────────────┐
    environ ──► RESTATE_A__B_C ─────────────┤► one tree ► values ► rules ► resolved NodeOptions
    RESTATE_CONFIG, --config ──► TOML ──────┘              │
             unknown keys ──► warnings       ConfigError ◄─┘  one line: where, key, value, remedy

A value that makes no sense stops the node at once: a cluster with a typing error in its
replication is worse than one that does not start. An unknown key is only reported, because a file
may have been written for another release.

Invariant: no effects but `read_file`; what has to be printed (`--help`, `--version`,
`--dump-config`) is handed back in `output`. Driven by the process's entry point.
"""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from restate_node.node.config_errors import ConfigError
from restate_node.node.config_flags import Flags, parse_flags
from restate_node.node.config_keys import (
    kebab,
    known_keys,
    known_tables,
    leaves,
    normalised,
    suggestion,
    unused,
)
from restate_node.node.config_resolution import resolve
from restate_node.node.config_sources import ENVIRONMENT_PREFIX, merged
from restate_node.node.config_text import toml_text
from restate_node.node.config_values import parse
from restate_node.types.option_rules import validate
from restate_node.types.options import NodeOptions
from restate_node.types.settings import Setting, entries

__all__ = ["ConfigError", "LoadedConfig", "load_config"]

CONFIG_VARIABLE = "RESTATE_CONFIG"
_DUMP_HEADER = "Effective configuration: defaults, file, variables and flags together."
_NOT_OPTIONS = (CONFIG_VARIABLE, "RESTATE_PORT", "RESTATE_PORT_", "RESTATE_SERVICE_")
"""Variables of ours that are no options, and those that Kubernetes sets for a service `restate`."""


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration that a node may run with.

    `warnings` and `notices` are lines to log; when `output` is set, print it and exit with 0.
    """

    options: NodeOptions
    warnings: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    output: str | None = None


@dataclass(frozen=True, slots=True)
class _Sources:
    """What was written where, with dotted kebab keys for variables and flags."""

    path: str | None
    file: Mapping[str, Any]
    variables: Mapping[str, tuple[str, str]]  # key -> name of the variable, text
    flags: Mapping[str, Any]

    def place(self, key: str) -> str:
        """Where the value that won was written."""
        if key in self.flags:
            return f"flag --{key}"
        if key in self.variables:
            return f"variable {self.variables[key][0]}"
        return f"file {self.path}"


def load_config(
    argv: Sequence[str],
    environ: Mapping[str, str],
    read_file: Callable[[str], str],
    hostname: str | None = None,
) -> LoadedConfig:
    """The configuration of this process (`argv` without the program's name), or ConfigError."""
    flags = parse_flags(argv)
    if flags.output is not None:
        return LoadedConfig(NodeOptions(), output=flags.output)
    sources = _read(flags, environ, read_file)
    warnings, notices = _unknown(sources)
    options = _options(sources, platform.node() if hostname is None else hostname)
    output = toml_text(options, _DUMP_HEADER) if flags.dump else None
    return LoadedConfig(options, warnings, notices, output)


def _read(flags: Flags, environ: Mapping[str, str], read_file: Callable[[str], str]) -> _Sources:
    path = flags.config_path or environ.get(CONFIG_VARIABLE) or None
    file = _read_toml(path, read_file) if path else {}
    sources = _Sources(path, file, dict(_variables(environ)), flags.overrides)
    _check_tables(sources)
    return sources


def _read_toml(path: str, read_file: Callable[[str], str]) -> dict[str, Any]:
    try:
        return normalised(tomllib.loads(read_file(path)))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration file {path} is not TOML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"configuration file {path} is not UTF-8 text") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"configuration file {path} cannot be read: {reason}") from None


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, str]]]:
    for name, value in environ.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or _is_not_an_option(name):
            continue
        parts = name.removeprefix(ENVIRONMENT_PREFIX).split("__")
        yield ".".join(kebab(part) for part in parts), (name, value)


def _is_not_an_option(name: str) -> bool:
    return any(
        name == known or (known.endswith("_") and name.startswith(known)) for known in _NOT_OPTIONS
    )


def _check_tables(sources: _Sources) -> None:
    """Refuses a value where a table belongs, which the merging relies on."""
    for key, _ in leaves(sources.file):
        if key in known_tables():
            raise ConfigError(f"file {sources.path}: {key} is a table: write [{key}]")
    for key, (name, _) in sources.variables.items():
        if key in known_tables():
            raise ConfigError(f"variable {name} is a table: set its keys, such as {name}__KEY")


def _unknown(sources: _Sources) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Warnings about keys that nobody knows; one notice about those that change nothing here."""
    written = [(key, f"'{key}'") for key, _ in leaves(sources.file)]
    written += [(key, f"'{key}' ({name})") for key, (name, _) in sources.variables.items()]
    strange = [(key, shown) for key, shown in written if key not in known_keys()]
    idle = sorted({key for key, _ in strange if unused(key)})
    warnings = tuple(
        f"unknown configuration key {shown}{suggestion(key)}"
        for key, shown in strange
        if not unused(key)
    )
    listed = ", ".join(idle)
    notice = f"configuration keys not used by this implementation: {listed}"
    return warnings, (notice,) if idle else ()


def _options(sources: _Sources, hostname: str) -> NodeOptions:
    tree = merged(
        sources.file,
        dict(sources.variables.values()),
        sources.flags,
    )
    options = _applied(NodeOptions(), tree, "", sources)
    problems = validate(options)
    if problems:
        raise ConfigError("invalid configuration: " + "; ".join(problems))
    return resolve(options, hostname)


def _applied(options: Any, tree: Mapping[str, Any], path: str, sources: _Sources) -> Any:
    """`options` with everything that the tree gives."""
    changes: dict[str, Any] = {}
    for entry in entries(options.__class__):
        present = getattr(options, entry.name)
        if isinstance(entry.about, Setting):
            key = path + entry.key
            name = key.rpartition(".")[2]
            if name in tree:
                changes[entry.name] = _value(entry.about, key, tree[name], entry.optional, sources)
        elif entry.about.prefix:
            changes[entry.name] = _applied(present, tree, f"{entry.key}-", sources)
        else:
            inner = cast("dict[str, Any]", tree.get(entry.key) or {})
            changes[entry.name] = _applied(present, inner, f"{path}{entry.key}.", sources)
    return replace(options, **changes)


def _value(about: Setting, key: str, raw: Any, optional: bool, sources: _Sources) -> Any:
    if optional and raw in ("", about.unset):
        return None
    try:
        return parse(about, raw)
    except ValueError as error:
        shown = repr(raw) if len(repr(raw)) <= 100 else repr(raw)[:100] + "…"
        raise ConfigError(f"{sources.place(key)}: {key} = {shown}: {error}") from None
