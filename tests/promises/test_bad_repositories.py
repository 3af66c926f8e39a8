"""Repositories that cannot be used: each with one line that says why, and nothing lost.

A bucket that is not there, keys that open nothing, an endpoint that is no object store; a prefix
that belongs to another cluster; snapshots that were changed or cut after they were published.
"""

from __future__ import annotations

import os
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.process.node_processes import (
    HOST,
    NodeProcess,
    clean_environment,
    end,
    eventually,
    free_ports,
    guarded,
    http,
)
from tests.promises.operations_cluster import OperatedCluster
from tests.promises.two_workers import lose_store, repository

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[list[OperatedCluster]]:
    """Two clusters of one node and one partition, not started."""
    clean_environment()
    made = [
        OperatedCluster(tmp_path / name, partitions=1, replication=1, name=name)
        for name in ("ours", "theirs")
    ]
    try:
        yield made
    finally:
        end([node for cluster in made for node in cluster.nodes])


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a repository; a lock is only claimed."""
    files = (path for path in directory.rglob("*") if path.is_file() and ".lock" not in path.name)
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def refused_snapshot(cluster: OperatedCluster) -> str:
    """The one line of a snapshot that cannot be made; the node lives and writes on."""
    outcome = cluster.page("restatectl snapshots create-snapshot 0 --request-timeout 60000")
    assert (outcome.code, outcome.err.count("\n")) == (1, 1), outcome
    assert http(f"{cluster.nodes[0].address}health")[0] == 200
    cluster.write("all the same")
    return outcome.err


@pytest.mark.parametrize(
    ("closed", "destination", "words"),
    [
        (
            False,
            "s3://missing/prefix",
            "create the bucket, or correct worker.snapshots.destination",
        ),
        (True, "s3://snapshots/prefix", "InvalidAccessKeyId"),
        (None, "s3://snapshots/prefix", "Could not connect to the endpoint"),
    ],
)
def test_buckets_that_cannot_be_used(
    clusters: list[OperatedCluster], closed: bool | None, destination: str, words: str
) -> None:
    """Goal: the operator learns what to correct. How: a bucket that does not exist, a key that the
    service does not know, an endpoint where nobody listens."""
    cluster, port = clusters[0], free_ports(1)[0]
    cluster.tables = repository(
        destination,
        'aws-region = "us-east-1"',
        'aws-access-key-id = "nobody"',
        'aws-secret-access-key = "secret"',
        "aws-allow-http = true",
        f'aws-endpoint-url = "http://{HOST}:{port}"',
        "object-store-retry-policy.max-attempts = 2",
    )
    if closed is None:
        line = refused_snapshot(cluster.start(1))
    else:
        with object_store(port, closed=closed):
            line = refused_snapshot(cluster.start(1))
    assert words in line


@contextmanager
def object_store(port: int, *, closed: bool) -> Iterator[None]:
    """A service with the bucket `snapshots`; a closed one then asks for keys that it knows."""
    variables = {**os.environ, **({"INITIAL_NO_AUTH_ACTION_COUNT": "1"} if closed else {})}
    command = guarded(["moto_server", "-H", HOST, "-p", str(port)])
    service = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=variables
    )
    try:
        request = urllib.request.Request(f"http://{HOST}:{port}/snapshots", method="PUT")
        eventually(lambda: created(request), 45, "the object store has a bucket")
        yield
    finally:
        service.kill()
        service.wait()


def created(request: urllib.request.Request) -> bool:
    """Whether the service took it."""
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_two_clusters_on_one_prefix(clusters: list[OperatedCluster], tmp_path: Path) -> None:
    """Goal: the second cluster destroys nothing and takes nothing. How: both are given the same
    directory; one publishes, the other is refused, and a start of it without state ignores what
    is there and reads its own log."""
    ours, theirs = clusters
    shared = tmp_path / "shared"
    shared.mkdir()
    ours.tables = theirs.tables = repository(f"file://{shared}")
    ours.start(1).write("ours")
    ours.shown("restatectl snapshots create-snapshot 0")
    before = contents(shared)
    theirs.start(1).write("theirs")
    line = refused_snapshot(theirs)
    assert "another cluster" in line or "'ours'" in line, line
    assert contents(shared) == before
    node = theirs.nodes[0]
    node.terminate()
    lose_store(node)
    node.start()
    theirs.settle()
    assert "Downloaded partition snapshot" not in node.log.read_text("utf-8")


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_damaged_snapshots(clusters: list[OperatedCluster], tmp_path: Path, damage: str) -> None:
    """Goal: what is not what was published never becomes state. How: the largest file of the only
    snapshot is damaged while the log is trimmed and the store lost; the processor parks and says
    which; with the file back it goes on by itself."""
    cluster = clusters[0]
    directory = tmp_path / "repository"
    directory.mkdir()
    cluster.tables = repository(f"file://{directory}")
    cluster.start(1).write("kept")
    cluster.shown("restatectl snapshots create-snapshot 0 --trim-log")
    node = cluster.nodes[0]
    assert node.terminate().code == 0
    lose_store(node)
    file = max(directory.rglob("*.sst"), key=lambda path: path.stat().st_size)
    whole = file.read_bytes()
    spoil(file, whole, damage)
    said = node.log.stat().st_size
    node.start()
    eventually(lambda: parked(node, said), 45, "it parks with a reason", [node])
    assert http(f"{node.address}health")[0] == 200
    assert "Downloaded partition snapshot" not in node.log.read_text("utf-8")
    file.write_bytes(whole)
    cluster.settle().write("and on")


def spoil(file: Path, whole: bytes, damage: str) -> None:
    """Change one bit, cut the last byte, or take the file away."""
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(whole[:-1])
    else:
        middle = len(whole) // 2
        file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])


def parked(node: NodeProcess, said: int) -> bool:
    """The node's last words are about a snapshot that it does not take."""
    lines = node.log.read_bytes()[said:].decode().splitlines()
    return any("no snapshot beyond LSN" in line and "retry_in_s" in line for line in lines)
