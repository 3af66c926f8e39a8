"""The launcher of three nodes: what it would start, what it says when one ends, how it ends all."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from restate_node.node.config import ConfigError
from restate_node.node.local_cluster import Child, Member, ending, members, start, stop, watch

CONFIG = Path(__file__).parents[2] / "config" / "three-nodes"
PAUSES = "import signal; signal.pause()"
IGNORES = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "print('deaf', flush=True); signal.pause()"
)


def member(directory: Path, name: str, program: str) -> Member:
    """A member that runs a line of Python instead of a node."""
    return Member(name, (sys.executable, "-c", program), "nowhere", directory / f"{name}.log")


def test_members_are_the_files(tmp_path: Path) -> None:
    """Goal: three nodes with ports and logs of their own. How: read the shipped directory."""
    found = members(CONFIG, tmp_path)
    assert [one.name for one in found] == ["node-1", "node-2", "node-3"]
    assert len({one.addresses for one in found}) == len({one.log for one in found}) == 3
    assert all(str(tmp_path) in one.command for one in found)


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    """Goal: a wrong directory is said, not started. How: a directory without files."""
    with pytest.raises(ConfigError, match="--config"):
        members(tmp_path, tmp_path)


def test_one_ends_and_the_others_go_on(tmp_path: Path) -> None:
    """Goal: each end is reported once, with its cause. How: one exits, then the other is killed."""
    refuses = "print('too old'); print('port in use'); exit(3)"
    children = start([member(tmp_path, "a", refuses), member(tmp_path, "b", PAUSES)])
    said: list[str] = []

    def ended(child: Child) -> None:
        said.append(ending(child).splitlines()[0].replace(str(tmp_path), "logs"))
        children[1].process.kill()

    try:
        watch(children, ended)
    finally:
        stop(children)
    assert said == [
        "a ended with code 3 (logs/a.log: port in use)",
        "b was ended by SIGKILL (logs/b.log: empty)",
    ]


def test_stop_asks_first(tmp_path: Path) -> None:
    """Goal: an orderly end. How: a child that waits for a signal."""
    children = start([member(tmp_path, "a", PAUSES)])
    stop(children)
    assert children[0].process.returncode == -signal.SIGTERM


def test_stop_kills_who_does_not_listen(tmp_path: Path) -> None:
    """Goal: nothing is left behind. How: a child that ignores SIGTERM, once it says it does."""
    children = start([member(tmp_path, "a", IGNORES)])
    try:
        while not children[0].member.log.read_text():
            assert children[0].process.poll() is None
        stop(children, within_s=0.01)
    finally:
        children[0].process.kill()
    assert children[0].process.returncode == -signal.SIGKILL


def test_what_they_print_is_kept(tmp_path: Path) -> None:
    """Goal: the log of a former life survives. How: start the same member twice."""
    for _ in range(2):
        watch(start([member(tmp_path, "a", "print('here')")]), lambda child: None)
    assert (tmp_path / "a.log").read_text() == "here\nhere\n"
