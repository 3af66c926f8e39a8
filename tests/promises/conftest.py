"""Clusters that scenarios share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.node_processes import clean_environment
from tests.promises.operations_cluster import OperatedCluster


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedCluster]:
    """Three nodes, two partitions, everything twice: for scenarios that only look."""
    clean_environment()
    cluster = OperatedCluster(tmp_path_factory.mktemp("calm"))
    try:
        yield cluster.start(3)
    finally:
        cluster.end()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[OperatedCluster]:
    """A cluster without nodes, for scenarios that begin with their own or change it."""
    clean_environment()
    cluster = OperatedCluster(tmp_path)
    try:
        yield cluster
    finally:
        cluster.end()


@pytest.fixture
def trio(empty: OperatedCluster) -> OperatedCluster:
    """Three nodes that a scenario may spoil."""
    return empty.start(3)
