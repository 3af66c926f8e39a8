"""Three nodes on one machine: `python -m restate_node.node.local_cluster`.

    config/three-nodes/node-*.toml ─▶ one process each ─▶ <base-dir>/node-N.log
                                            │
                     ends, for whatever reason: say so, and go on with the others

Nobody is started again: killing a node and watching the others is what this is for. Ctrl-C or
SIGTERM ends all that are left, each by its own process id.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from restate_node.node.config import ConfigError, load_config
from restate_node.types.nodes import Role
from restate_node.types.options import NodeOptions

CONFIG_DIRECTORY: Final = "config/three-nodes"
BASE_DIRECTORY: Final = "cluster-data"
STOP_WITHIN_S: Final = 10.0
"""Longer than an orderly stop of a node takes; who is still there then is killed."""

LAST_WORDS_BYTES_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Member:
    """One node to start: its command, and what people want to know of it."""

    name: str
    command: tuple[str, ...]
    addresses: str
    log: Path


@dataclass(frozen=True, slots=True)
class Child:
    """A member that was started."""

    member: Member
    process: subprocess.Popen[bytes]


def members(config_directory: Path, base_directory: Path) -> list[Member]:
    """One member for each `*.toml`; ConfigError when there is none, or one is wrong."""
    paths = sorted(config_directory.glob("*.toml"))
    if not paths:
        raise ConfigError(f"no *.toml in {config_directory}: name the directory with --config")
    return [_member(path, base_directory) for path in paths]


def _member(path: Path, base_directory: Path) -> Member:
    arguments = ("--config", str(path), "--base-dir", str(base_directory))
    options = load_config(arguments, os.environ, lambda name: Path(name).read_text("utf-8")).options
    command = (sys.executable, "-m", "restate_node.node", *arguments)
    log = base_directory / f"{options.node_name}.log"
    return Member(str(options.node_name), command, _addresses(options), log)


def _addresses(options: NodeOptions) -> str:
    shown = [str(options.advertised_address)]
    if Role.ADMIN in options.roles:
        shown.append(f"admin {options.admin.advertised_address}")
    return "  ".join(shown)


def start(wanted: Sequence[Member]) -> list[Child]:
    """Start all; what they print goes to their log files, behind what is there."""
    children: list[Child] = []
    for member in wanted:
        member.log.parent.mkdir(parents=True, exist_ok=True)
        with member.log.open("ab") as log:
            process = subprocess.Popen(
                member.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        children.append(Child(member, process))
    return children


def watch(children: Sequence[Child], ended: Callable[[Child], None]) -> None:
    """Return when all have ended, each reported once. Interruptible by signals at any time."""
    finished: SimpleQueue[Child] = SimpleQueue()

    def wait(child: Child) -> None:
        child.process.wait()
        finished.put(child)

    for child in children:
        threading.Thread(target=wait, args=(child,), daemon=True).start()
    for _ in children:
        ended(finished.get())


def stop(children: Sequence[Child], within_s: float = STOP_WITHIN_S) -> None:
    """End all that are left: asked first, killed when they do not listen."""
    running = [child for child in children if child.process.poll() is None]
    for child in running:
        child.process.terminate()
    for child in running:
        try:
            child.process.wait(within_s)
        except subprocess.TimeoutExpired:
            print(f"{child.member.name} does not stop: killing process {child.process.pid}")
            child.process.kill()
            child.process.wait()


def ending(child: Child) -> str:
    """How a child ended, and what to do about it."""
    code = child.process.returncode
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    again = " ".join(child.member.command)
    return f"{child.member.name} {how} {_last_words(child.member.log)}\n  again: {again}"


def _last_words(log: Path) -> str:
    """The last line of a log: a node that refuses to start says there what to change."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_WORDS_BYTES_MAX))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return f"({log}: {lines[-1] if lines else 'empty'})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until all nodes have ended or a signal comes; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        wanted = members(Path(given.config), Path(given.base_dir))
    except ConfigError as error:
        print(f"local cluster: {error}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    children: list[Child] = []
    try:
        children = start(wanted)
        for child in children:
            member = child.member
            print(f"{member.name}  pid {child.process.pid}  {member.addresses}  {member.log}")
        print("Ctrl-C stops them; kill -9 <pid> ends one of them the hard way.", flush=True)
        watch(children, lambda child: print(ending(child), flush=True))
    except KeyboardInterrupt:
        print("stopping", flush=True)
        return 0
    finally:
        stop(children)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m restate_node.node.local_cluster",
        description="Starts one node for each file of a directory, on this machine.",
    )
    parser.add_argument("--config", default=CONFIG_DIRECTORY, help="directory of *.toml files")
    parser.add_argument("--base-dir", default=BASE_DIRECTORY, help="where nodes keep their data")
    return parser


if __name__ == "__main__":
    sys.exit(main())
