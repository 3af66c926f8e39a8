"""A log server whose disk takes no more: it stops acknowledging, the cluster goes on without it.

The kernel's limit on the size of a file stands in for a full disk: it needs no rights, and can be
set on a process that runs.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.node_processes import NodeProcess, clean_environment, end, eventually, http

pytestmark = pytest.mark.process

FILE_BYTES_MAX = 512 * 1024
VALUE = bytes(32 * 1024)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[NodeProcess]]:
    """Two complete nodes, and a third that is a log server and nothing else."""
    clean_environment()
    started = [NodeProcess(tmp_path, f"node-{number}") for number in (1, 2, 3)]
    started[2].roles = ["log-server"]
    for node in started:
        node.keys = [
            "default-num-partitions = 1",
            "default-replication = 2",
            'bifrost.default-provider = "replicated"',
            f"auto-provision = {str(node is started[0]).lower()}",
            f'metadata-client.addresses = ["{started[0].address}"]',
        ]
    try:
        for node in started:
            node.start()
        for node in started:
            node.wait_ready()
        yield started
    finally:
        end(started)


def log_server_status(node: NodeProcess) -> str:
    """What the node says of its log server."""
    return str(json.loads(http(f"{node.address}health")[1])["log_server_status"])


def test_a_full_disk_stops_one_log_server(nodes: list[NodeProcess]) -> None:
    """Goal: fail-safe, no acknowledgement, and the others go on.

    How: forbid the log server larger files, write until it gives up, then write on.
    """
    writer, victim = nodes[0], nodes[2]

    def written(key: str) -> bool:
        return writer.patch_state(key, VALUE) == 202

    def gave_up() -> bool:
        written("more")
        return log_server_status(victim) == "Failsafe"

    eventually(lambda: written("first"), 30, "a first write", nodes)
    assert log_server_status(victim) == "Ready"
    limit = (FILE_BYTES_MAX, FILE_BYTES_MAX)
    resource.prlimit(victim.running.pid, resource.RLIMIT_FSIZE, limit)
    eventually(gave_up, 60, "the log server is fail-safe", nodes)
    assert victim.running.poll() is None
    for index in range(5):
        eventually(lambda key=f"after-{index}": written(key), 30, "a write without it", nodes)
