"""Promise O16 of the operations page: a replica that cannot bridge a trim gap says why, and waits.

The recovery, command by command, is `procedures/trim-gap.sh`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.promises.operations_cluster import OperatedCluster
from tests.promises.partition_rows import partition_rows
from tests.promises.two_workers import (
    applied,
    is_parked,
    lose_store,
    repository,
    start_two_workers,
    trim,
)

pytestmark = [pytest.mark.process, pytest.mark.slow]

NO_REPOSITORY = "A log trim gap was encountered, but no snapshot repository is configured!"
NO_SNAPSHOT = "A log trim gap was encountered, but no snapshot is available for this partition!"
TOO_OLD = "The latest available snapshot is from an LSN before the target LSN!"


def test_o16_three_lines(empty: OperatedCluster, tmp_path: Path) -> None:
    """Goal: no record is ever skipped, and each cause has its line. How: a worker without its
    store, its log trimmed: first without a repository, then with an empty one, then with a snapshot
    from below the trim point. One from above it ends the waiting; both replicas are then equal."""
    directory = tmp_path / "snapshots-repository"
    directory.mkdir()
    tables = repository(f"file://{directory}")
    empty.partitions = 1
    start_two_workers(empty, tables)
    first, worker = empty.nodes
    empty.write("before")
    worker.terminate()
    lose_store(worker)
    empty.write("gap")
    trim(empty)

    is_parked(worker, NO_REPOSITORY)
    assert applied(empty, "N2") == 0
    worker.terminate()
    worker.tables = tables
    is_parked(worker, NO_SNAPSHOT)
    worker.terminate()
    empty.shown("restatectl snapshots create-snapshot 0")
    empty.write("later")
    trim(empty)
    is_parked(worker, TOO_OLD)
    assert applied(empty, "N2") == 0

    empty.shown("restatectl snapshots create-snapshot 0")
    empty.settle().write("together")
    empty.until(lambda: applied(empty, "N1") == applied(empty, "N2"), "both are equally far")
    assert worker.starts == 4
    assert [node.terminate().code for node in (worker, first)] == [0, 0]
    assert partition_rows(worker) == partition_rows(first)
