"""What a node refuses to start with: exit 1, one line that says what to change, nothing written."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.node_processes import (
    HOST,
    NodeProcess,
    clean_environment,
    end,
    free_ports,
    run,
)

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the person who runs the tests."""
    for name in [name for name in os.environ if name.startswith("RESTATE")]:
        monkeypatch.delenv(name)


def refused(node: NodeProcess) -> str:
    """The line of a node that must not start, with the configuration it has."""
    node.write_config()
    return run(["restate-node", "--config", str(node.config)], node.directory).refused()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ('ingress.request-size-limit = "many"', "ingress.request-size-limit"),
        ("default-num-partitions = 0", "default-num-partitions"),
        ("default-num-partitions = 70000", "default-num-partitions"),
        ('default-replication = "{zone"', "default-replication"),
        ('gossip-tick-interval = "soon"', "gossip-tick-interval"),
        ('cluster-name = ""', "cluster-name"),
        ("bifrost = 7", "bifrost"),
        ('bifrost.default-provider = "papyrus"', "papyrus"),
        ('rocksdb-total-memory-size = "-1"', "rocksdb-total-memory-size"),
        ('roles = ["king"]', "king"),
    ],
)
def test_wrong_values(tmp_path: Path, key: str, words: str) -> None:
    """Goal: a mistake is found before anything happens. How: one wrong key each."""
    node = NodeProcess(tmp_path, "wrong", [key])
    line = refused(node)
    assert words in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wrong.toml"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"a = ", "not TOML"),
        (b"[bifrost]\n[bifrost]\n", "not TOML"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes | None, words: str) -> None:
    """Goal: a file that is none is told from a wrong value. How: files that cannot be read."""
    path = tmp_path / "node.toml"
    if content is not None:
        path.write_bytes(content)
    line = run(["restate-node", "--config", str(path)], tmp_path).refused()
    assert words in line
    assert str(path) in line
    assert [found.name for found in tmp_path.iterdir()] == ["node.toml"] * (content is not None)


def test_unknown_keys_warn_with_the_nearest(tmp_path: Path) -> None:
    """Goal: a slip is noticed and does not stop a node. How: slips beside a wrong value."""
    keys = ['nod-name = "x"', 'bifrost.default-provder = "replicated"']
    node = NodeProcess(tmp_path, "slips", keys)
    node.write_config()
    shown = run(["restate-node", "--config", str(node.config), "--dump-config"], tmp_path)
    assert shown.code == 0
    assert "node-name" in shown.err
    assert "did you mean 'default-provider'" in shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["slips.toml"]


PORTS = ("bind-port", "admin.bind-port", "ingress.bind-port")


@pytest.mark.parametrize("taken", PORTS)
def test_ports_in_use(tmp_path: Path, taken: str) -> None:
    """Goal: found before the data directory exists. How: listen on the port ourselves."""
    with socket.create_server((HOST, 0)) as other:
        ports = free_ports(3)
        ports[PORTS.index(taken)] = int(other.getsockname()[1])
        line = refused(NodeProcess(tmp_path, "late", (), (), (), *ports))
    assert "cannot listen" in line
    assert taken in line
    assert [path.name for path in tmp_path.iterdir()] == ["late.toml"]


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    """Goal: a typing mistake in base-dir. How: a file in its place."""
    node = NodeProcess(tmp_path, "lost")
    node.data.write_text("not a directory")
    assert str(node.data) in refused(node)
    assert node.data.read_text() == "not a directory"


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """A node that was a member of a cluster and has stopped."""
    clean_environment()
    keys = ['cluster-name = "mine"', "default-num-partitions = 1"]
    node = NodeProcess(tmp_path_factory.mktemp("stopped"), "owner", keys)
    try:
        node.start().wait_ready()
        assert node.terminate().code == 0
        yield node
    finally:
        end([node])


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below, less the lock, which is only claimed."""
    files = (path for path in directory.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_a_directory_of_another_cluster(stopped: NodeProcess) -> None:
    """Goal: data never moves between clusters. How: another name over the same directory."""
    before = contents(stopped.data)
    other = NodeProcess(stopped.directory, stopped.name, ['cluster-name = "theirs"'])
    line = refused(other)
    assert "belongs to cluster 'mine'" in line
    assert "cluster-name" in line
    assert contents(stopped.data) == before


def test_a_directory_of_another_node(stopped: NodeProcess, tmp_path: Path) -> None:
    """Goal: promises of one node are not kept by another. How: its directory under a new name."""
    node = NodeProcess(tmp_path, "thief", stopped.keys)
    node.data.mkdir()
    (node.data / "thief").symlink_to(stopped.data / stopped.name)
    before = contents(stopped.data)
    line = refused(node)
    assert "belongs to node 'owner'" in line
    assert "node-name" in line
    assert contents(stopped.data) == before


def test_a_broken_marker(stopped: NodeProcess, tmp_path: Path) -> None:
    """Goal: a marker that cannot be read is not taken for none. How: garbage in its place."""
    node = NodeProcess(tmp_path, "broken")
    (node.data / "broken").mkdir(parents=True)
    (node.data / "broken" / ".cluster-marker").write_bytes(b"\x00garbage")
    assert ".cluster-marker" in refused(node)
