"""The command line of `restate-node`.

Flags are spelled as the keys that they override; values stay text, because the same parser reads
them as reads files and variables. Nothing is printed here: what `--help` and `--version` have to
say is handed back, so that loading a configuration has no effects.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any, NoReturn

from restate_node.node.config_errors import ConfigError
from restate_node.types.options import NodeOptions
from restate_node.types.settings import walk

OVERRIDES = (
    "node-name",
    "cluster-name",
    "roles",
    "location",
    "force-node-id",
    "auto-provision",
    "base-dir",
    "listen-mode",
    "bind-ip",
    "bind-port",
    "bind-address",
    "advertised-host",
    "advertised-address",
    "default-num-partitions",
    "default-replication",
    "shutdown-timeout",
    "log-filter",
    "log-format",
    "log-disable-ansi-codes",
)
"""Keys that have a flag."""

_EPILOGUE = (
    "Every key of the file can also be set by a variable: bifrost.default-provider is "
    "RESTATE_BIFROST__DEFAULT_PROVIDER. Flags win over variables, variables over the file. "
    "Without any of them a single node with all roles starts and founds a cluster."
)


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line asked for."""

    overrides: Mapping[str, Any]
    config_path: str | None = None
    dump: bool = False
    output: str | None = None


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"command line: {message}; see restate-node --help")


def parse_flags(argv: Sequence[str]) -> Flags:
    """Reads the arguments after the program's name; ConfigError when they make no sense."""
    parser = _parser()
    found = vars(parser.parse_args(list(argv)))
    overrides = {key: found[_name(key)] for key in OVERRIDES if found[_name(key)] is not None}
    if "roles" in overrides:
        overrides["roles"] = ",".join(overrides["roles"])
    return Flags(
        overrides=overrides,
        config_path=found["config_file"],
        dump=found["dump_config"],
        output=_output(parser, found),
    )


def _output(parser: argparse.ArgumentParser, found: Mapping[str, Any]) -> str | None:
    if found["help"]:
        return parser.format_help()
    return f"restate-node {version()}\n" if found["version"] else None


def version() -> str:
    """The version of this package."""
    try:
        return metadata.version("restate-node")
    except metadata.PackageNotFoundError:
        return "unknown (the package is not installed)"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="restate-node",
        description="One node of a Restate cluster.",
        epilog=_EPILOGUE,
        add_help=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-c", "--config-file", "--config", metavar="FILE", help="TOML file [env: RESTATE_CONFIG]")
    add("--dump-config", action="store_true", help="Print the effective configuration and exit.")
    for key in OVERRIDES:
        action = "append" if key == "roles" else "store"
        add(f"--{key}", metavar="VALUE", action=action, help=_documentation(key))
    add("-h", "--help", action="store_true", help="Print this and exit.")
    add("-V", "--version", action="store_true", help="Print the version and exit.")
    return parser


def _documentation(key: str) -> str:
    found = {name: about.documentation for name, about, _ in walk(NodeOptions())}
    return found[key].replace("%", "%%")


def _name(key: str) -> str:
    return key.replace("-", "_")
