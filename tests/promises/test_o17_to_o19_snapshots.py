"""Promises O17, O18 and O19 of the operations page: snapshots are published, carried, started from.

The object store is moto's, on this machine.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from restate_node.runtime.real.s3_client import S3Client
from restate_node.types.options import SnapshotOptions
from tests.process.node_processes import eventually
from tests.promises.operations_cluster import OperatedCluster
from tests.promises.partition_rows import partition_rows
from tests.promises.two_workers import applied, lose_store, repository, start_two_workers, trim
from tests.runtime.contracts.s3_service import create_bucket, s3_service

pytestmark = [pytest.mark.process, pytest.mark.slow]

CREATED = re.compile(r"Snapshot created for partition (\d+): (snap_\w+) \(log \d+ @ LSN >= (\d+)\)")
PUBLISHED_WITHIN_S = 45.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket `snapshots` of the page."""

    options: SnapshotOptions

    def tables(self, *more: str) -> list[str]:
        """`[worker.snapshots]` of a node that may use it."""
        return repository(
            "s3://snapshots/prefix",
            'aws-region = "eu-central-1"',
            'aws-access-key-id = "key"',
            'aws-secret-access-key = "secret"',
            "aws-allow-http = true",
            f"aws-endpoint-url = {json.dumps(self.options.aws_endpoint_url)}",
            *more,
        )

    def keys(self) -> list[str]:
        """Every object in it."""

        async def listed() -> list[str]:
            client = S3Client(self.options)
            try:
                page = await client.run(lambda s3: s3.list_objects_v2(Bucket="snapshots"))
                return [entry["Key"] for entry in page.get("Contents", [])]
            finally:
                await client.close()

        return asyncio.run(listed())


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    """An empty bucket."""
    with s3_service() as options:
        asyncio.run(create_bucket("snapshots", options))
        yield Bucket(options)


def created(text: str) -> dict[int, tuple[str, int]]:
    """Snapshot id and LSN by partition, from the lines of the command."""
    return {int(p): (snapshot, int(lsn)) for p, snapshot, lsn in CREATED.findall(text)}


def has_snapshot(keys: Callable[[], list[str]], partition: int, snapshot: str) -> bool:
    """The tree of the page: `{prefix}/{partition_id}/…`, with an entry for the snapshot id."""
    mine = [key for key in keys() if key.startswith(f"prefix/{partition}/")]
    files = [key for key in mine if snapshot in key]
    described = [key for key in files if key.endswith("/metadata.json")]
    return f"prefix/{partition}/latest.json" in mine and len(described) == 1 and len(files) > 1


def archived(cluster: OperatedCluster) -> dict[str, int]:
    """The ARCHIVED column of the leaders, as far as there is a number."""
    rows = [row for row in cluster.processors() if row["MODE"] == "Leader"]
    return {row["ID"]: int(row["ARCHIVED"]) for row in rows if row["ARCHIVED"] != "-"}


def test_o17_snapshots_in_a_bucket(empty: OperatedCluster, bucket: Bucket) -> None:
    """Goal: snapshots on request, by id, range, option and all, in the tree of the page; and by
    themselves after a number of records. How: look into the bucket; ARCHIVED follows."""
    empty.replication = 1
    empty.tables = bucket.tables("snapshot-interval-num-records = 20")
    empty.start(1).write("first")
    asked = {
        "0": {0},
        "0-1": {0, 1},
        "--partition-id 1": {1},
        "": {0, 1},
    }
    for arguments, partitions in asked.items():
        made = created(empty.shown(f"restatectl snapshots create-snapshot {arguments}".strip()))
        assert set(made) == partitions
        for partition, (snapshot, _) in made.items():
            assert has_snapshot(bucket.keys, partition, snapshot)
    requested = {partition: lsn for partition, (_, lsn) in made.items()}

    def by_itself() -> bool:
        empty.write(f"more-{applied(empty)}")
        now = archived(empty)
        return len(now) == 2 and all(now[str(p)] > lsn for p, lsn in requested.items())

    eventually(by_itself, PUBLISHED_WITHIN_S, "ARCHIVED moves", empty.nodes)


def test_o18_directories_that_are_merged(empty: OperatedCluster, tmp_path: Path) -> None:
    """Goal: step 2b, without an object store. How: two nodes lead a partition each and publish it
    to directories of their own; the contents of both are copied to a third, which starts from
    them although the logs are trimmed."""
    directories = [tmp_path / f"repository-{number}" for number in (1, 2, 3)]
    for directory in directories:
        directory.mkdir()
    empty.replication = 1
    empty.tables = repository(f"file://{directories[0]}")
    empty.start(1)
    second = empty.add(roles=["worker"], tables=repository(f"file://{directories[1]}"))
    second.start().wait_ready()
    empty.shown("restatectl config set --partition-replication 2 --yes")
    empty.replication = 2
    empty.settle()
    for partition, node in enumerate(("N1", "N2")):
        empty.shown(f"restatectl partitions leadership pin {partition} --node {node}")
    empty.until(lambda: empty.leaders() == {"0": "N1", "1": "N2"}, "each leads one")
    empty.write("published")
    assert set(created(empty.shown("restatectl snapshots create-snapshot --trim-log"))) == {0, 1}
    trees = [sorted(path.name for path in directory.iterdir()) for directory in directories]
    assert [[name for name in tree if name.isdigit()] for tree in trees] == [["0"], ["1"], []]

    for directory in directories[:2]:
        shutil.copytree(directory, directories[2], dirs_exist_ok=True)
    third = empty.add(roles=["worker"], tables=repository(f"file://{directories[2]}"))
    third.start().wait_ready()
    empty.shown("restatectl config set --partition-replication 3 --yes")
    empty.replication = 3
    empty.settle()
    said = third.log.read_text("utf-8")
    assert said.count("Downloaded partition snapshot") == 2, said


def test_o19_starting_from_a_snapshot(empty: OperatedCluster, bucket: Bucket) -> None:
    """Goal: step 3: with the repository configured the affected node starts and joins. How: a
    worker lost its store, its log is trimmed up to a snapshot; afterwards both replicas are
    equal."""
    empty.partitions = 1
    start_two_workers(empty, bucket.tables())
    first, worker = empty.nodes
    empty.write("before")
    worker.terminate()
    lose_store(worker)
    empty.write("snapshot")
    made = created(empty.shown("restatectl snapshots create-snapshot 0"))
    trim(empty, to=made[0][1])
    worker.tables = bucket.tables()
    worker.start()
    empty.settle().write("after")
    said = worker.log.read_text("utf-8")
    assert "Downloaded partition snapshot" in said
    assert made[0][0] in said
    empty.until(lambda: applied(empty, "N1") == applied(empty, "N2") > made[0][1], "both equal")
    assert [node.terminate().code for node in (worker, first)] == [0, 0]
    assert partition_rows(worker) == partition_rows(first)
