"""Snapshots of a real node in a real directory: published, listed, verified, replaced, damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.process.node_processes import NodeProcess, clean_environment, end, eventually

pytestmark = pytest.mark.process

RETAINED = 2


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    """One node with two partitions and a repository that keeps two snapshots of each."""
    clean_environment()
    (tmp_path / "repository").mkdir()
    tables = (
        "[worker.snapshots]",
        f'destination = "file://{tmp_path}/repository"',
        f"num-retained = {RETAINED}",
    )
    node = NodeProcess(tmp_path, "alone", ["default-num-partitions = 2"], tables=tables).start()
    try:
        yield node.wait_ready()
    finally:
        end([node])


def created(node: NodeProcess, *arguments: str) -> list[dict[str, Any]]:
    """What `create-snapshot` reports; there may be no leader yet."""

    def attempt() -> bool:
        return node.ctl("snapshots", "create-snapshot", "all").code == 0

    eventually(attempt, 60, "a first snapshot", [node])
    return node.ctl_json("snapshots", "create-snapshot", *arguments)["snapshots"]


def listed(node: NodeProcess, partition: int) -> list[dict[str, Any]]:
    return node.ctl_json("snapshots", "list", str(partition))["snapshots"]


def test_snapshots_from_birth_to_damage(node: NodeProcess, tmp_path: Path) -> None:
    """Goal: create, list, verify and retention agree with the directory; a log is trimmed on
    request; a position that is not reached and a damaged file are said and fail. Method: one node,
    four snapshots, one changed byte."""
    eventually(lambda: node.patch_state("key", b"0") == 202, 60, "a write", [node])
    newest = created(node, "all")
    for number in range(3):
        for key in range(20):
            assert node.patch_state(f"key-{key}", bytes([number])) == 202
        newest = created(node, "all")
    for snapshot in newest:
        partition = snapshot["partition"]
        kept = listed(node, partition)
        assert kept[0]["snapshot_id"] == snapshot["snapshot_id"]
        assert len(kept) == RETAINED
        directory = tmp_path / "repository" / str(partition)
        eventually(
            lambda at=directory: len(list(at.glob("lsn_*"))) == RETAINED, 30, "pruning", [node]
        )
    far = node.ctl("snapshots", "create-snapshot", "0", "--min-lsn", "999999")
    assert far.code == 1 and "Applied LSN below the target LSN" in far.err
    (trimmed,) = created(node, "0", "--trim-log")
    (log,) = node.ctl_json("logs", "describe", "0", "--extra")["logs"]
    assert log["trim_point"] == trimmed["min_applied_lsn"]
    good = node.ctl("snapshots", "verify")
    assert good.code == 0, good
    assert f"{2 * RETAINED} of {2 * RETAINED} snapshots are good" in good.out
    victim = listed(node, 1)[0]
    (file, *_) = sorted((tmp_path / "repository" / "1").glob(f"*{victim['snapshot_id']}/*.sst"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    bad = node.ctl("snapshots", "verify", "all")
    assert bad.code == 1
    assert f"{victim['snapshot_id']} of partition 1: {file.name} has another SHA-256" in bad.err
    assert node.ctl("snapshots", "verify", listed(node, 1)[1]["snapshot_id"]).code == 0
