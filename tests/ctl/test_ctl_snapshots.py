"""`restatectl snapshots`: lists, verdicts, and calls that take minutes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from ctl_fake_node import Refusal
from ctl_operable import Ctl, Ended, Operable, ctl

from restate_node.ctl.methods import CREATE_SNAPSHOT, LIST_SNAPSHOTS, VERIFY_SNAPSHOT
from restate_node.wire.pb import operator_pb2 as messages
from restate_node.wire.pb.cluster_ctrl_pb2 import CreatePartitionSnapshotResponse

assert ctl  # a fixture

NEW, OLD = "snap_1new", "snap_1old"


def snapshot(name: str, lsn: int, problem: str | None = None) -> messages.RetainedSnapshot:
    return messages.RetainedSnapshot(
        snapshot_id=name,
        min_applied_lsn=lsn,
        created_at_ms=1_700_000_000_000,
        log_id=0,
        node_name="node-1",
        files=2,
        size_bytes=2150,
        problem=problem,
    )


class Repository:
    """Partition 0 has two snapshots, partition 1 none; some may be bad, gone or unreadable."""

    def __init__(self) -> None:
        self.fake = Operable()
        self.bad: dict[str, str] = {}
        self.refused: dict[str, Refusal] = {}
        self.fake.node.on(LIST_SNAPSHOTS, self._list)
        self.fake.node.on_stream(VERIFY_SNAPSHOT, self._verify)
        self.silence: threading.Event | None = None

    def run(self, ctl: Ctl, *arguments: str) -> Ended:
        with self.fake as fake:
            return ctl("-s", fake.address, "snapshots", *arguments)

    def _list(self, request: Any) -> messages.ListSnapshotsResponse:
        if "list" in self.refused:
            raise self.refused["list"]
        there = [snapshot(NEW, 20), snapshot(OLD, 10)] if request.partition_id == 0 else []
        return messages.ListSnapshotsResponse(snapshots=there)

    def _verify(self, request: Any) -> Iterator[messages.VerifySnapshotResponse]:
        yield messages.VerifySnapshotResponse(read_bytes=1075)
        if request.snapshot_id in self.refused:
            raise self.refused[request.snapshot_id]
        if self.silence is not None:
            self.silence.wait(30)
        verdict = snapshot(request.snapshot_id, 20, self.bad.get(request.snapshot_id))
        yield messages.VerifySnapshotResponse(verdict=verdict)


def test_snapshots_are_listed(ctl: Ctl) -> None:
    """Goal: a row per snapshot, partitions without one named; `all` is all. How: both spellings."""
    ended = Repository().run(ctl, "list", "all", "--time-format", "iso8601")
    assert ended.code == 0, ended
    title, first, second, rest = ended.stdout.splitlines()
    assert title.split()[:4] == ["P-ID", "SNAPSHOT", "LOG", "MIN-LSN"]
    assert first.split()[:4] == ["0", NEW, "0", "20"] and first.endswith("COMPLETE")
    assert "2.1 KiB" in first and second.split()[1] == OLD
    assert rest == "No snapshot yet of partition(s) 1."
    document = json.loads(Repository().run(ctl, "ls", "0", "--json").stdout)
    assert [row["snapshot_id"] for row in document["snapshots"]] == [NEW, OLD]
    assert document["snapshots"][0]["size_bytes"] == 2150


@pytest.mark.parametrize("command", ["list", "verify"])
def test_a_repository_that_nobody_can_list_is_a_failure(command: str, ctl: Ctl) -> None:
    """Goal: the reason and exit code 1. How: nodes without a repository."""
    repository = Repository()
    repository.refused["list"] = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "no repository")
    ended = repository.run(ctl, command, "0")
    assert ended.code == 1
    assert "cannot list the snapshots of partition 0" in ended.stderr


def test_good_snapshots_are_verified(ctl: Ctl) -> None:
    """Goal: each once, progress on stderr only. How: all, then one by its id."""
    ended = Repository().run(ctl, "verify")
    assert ended.code == 0, ended
    assert [line.split()[1] for line in ended.stdout.splitlines()[1:3]] == [NEW, OLD]
    assert ended.stdout.splitlines()[-1] == "2 of 2 snapshots are good"
    assert f"[2/2] partition 0, {OLD}: 50 %" in ended.stderr
    one = Repository().run(ctl, "verify", OLD, "--json")
    document = json.loads(one.stdout)
    assert [(row["snapshot_id"], row["result"]) for row in document["snapshots"]] == [(OLD, "ok")]


def test_bad_snapshots_fail_the_command(ctl: Ctl) -> None:
    """Goal: which file is wrong, and exit code 1. How: a bad and a good one."""
    repository = Repository()
    repository.bad[NEW] = "000024.sst has 3 of 700 bytes"
    ended = repository.run(ctl, "verify", "0")
    assert ended.code == 1
    assert f"{NEW} of partition 0: 000024.sst has 3 of 700 bytes" in ended.stderr
    assert "1 of 2 snapshots are good" in ended.stdout


@pytest.mark.parametrize(
    ("status", "code", "result"),
    [
        (grpc.StatusCode.NOT_FOUND, 0, "gone"),
        (grpc.StatusCode.INTERNAL, 1, "unknown"),
        (grpc.StatusCode.FAILED_PRECONDITION, 1, "unknown"),
    ],
)
def test_what_cannot_be_verified(status: grpc.StatusCode, code: int, result: str, ctl: Ctl) -> None:
    """Goal: a snapshot that was replaced is not bad, one that nobody can read is not good."""
    repository = Repository()
    repository.refused[NEW] = Refusal(status, "because")
    ended = repository.run(ctl, "verify", NEW, "--json")
    assert ended.code == code, ended
    assert json.loads(ended.stdout)["snapshots"][0]["result"] == result


def test_an_unknown_id_is_named(ctl: Ctl) -> None:
    """Goal: a typing error is not taken for success."""
    ended = Repository().run(ctl, "verify", "snap_1none")
    assert (ended.code, "snap_1none is not in the repository" in ended.stderr) == (1, True)


def test_a_stream_that_falls_silent_is_given_up(ctl: Ctl) -> None:
    """Goal: a dead node does not hold the command. How: a stream that says nothing more."""
    repository = Repository()
    repository.silence = threading.Event()
    with repository.fake as fake:
        ended = ctl("-s", fake.address, "snapshots", "verify", NEW, "--request-timeout", "1000")
        repository.silence.set()
    assert ended.code == 1
    assert "nothing heard for 1000 ms" in ended.stderr


def test_a_wait_that_expires_says_what_goes_on(ctl: Ctl) -> None:
    """Goal: the operator learns that the leader goes on, nobody else is asked, and the wait is
    what was asked for. How: a node that answers too late."""
    fake, over = Operable(), threading.Event()

    def create(request: Any) -> CreatePartitionSnapshotResponse:
        over.wait(30)
        return CreatePartitionSnapshotResponse()

    fake.node.on(CREATE_SNAPSHOT, create)
    with fake:
        arguments = ("snapshots", "create", "0", "--trim-log", "--request-timeout", "300")
        ended = ctl("-s", fake.address, *arguments)
        over.set()
    assert ended.code == 1
    assert "no answer within 300 ms (--request-timeout); the leader goes on with it" in ended.stderr
    assert "the log is not trimmed then" in ended.stderr
    assert fake.node.calls["CreatePartitionSnapshot"] == 1


def test_creation_waits_longer_than_other_calls(ctl: Ctl) -> None:
    """Goal: a large partition has its minutes by default. How: the deadline that the node sees."""
    fake = Operable()
    fake.node.on(CREATE_SNAPSHOT, lambda _: CreatePartitionSnapshotResponse(snapshot_id="snap_1"))
    with fake:
        assert ctl("-s", fake.address, "snapshots", "create", "0").code == 0
    assert max(fake.node.deadlines) > 500
