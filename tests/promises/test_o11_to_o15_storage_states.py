"""Promises O11, O12, O13 and O15 of the operations page: storage states of log servers.

O14, a log server that lost its data, has a file of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.process.node_processes import clean_environment, eventually
from tests.promises.operations_cluster import OperatedCluster
from tests.promises.page_tables import members

pytestmark = pytest.mark.process

EVERYBODY = {"N1", "N2", "N3"}
SET = "restatectl replicated-loglet set-storage-state --node {} --storage-state {}"
UNSAFE = "is currently in `{}` storage-state. Transitioning into `{}` is unsafe"
NOT_WITHIN_S = 3.0
"""A record that can be stored is acknowledged in milliseconds."""
NO_NODESETS = "Safety-check failed: lost the ability to generate nodesets"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedCluster]:
    """Three nodes; each scenario leaves all log servers in read-write."""
    clean_environment()
    cluster = OperatedCluster(tmp_path_factory.mktemp("states"))
    try:
        yield cluster.start(3)
    finally:
        cluster.end()


@pytest.fixture
def servers(shared: OperatedCluster) -> Iterator[OperatedCluster]:
    """All log servers in read-write, and in every nodeset; so again afterwards."""
    yield shared
    shared.shown(SET.format("1,2,3", "read-write --force"))
    wait_for_nodesets(shared, EVERYBODY)


def wait_for_nodesets(cluster: OperatedCluster, wanted: set[str]) -> None:
    """Until the open segment of every log is on just these log servers. A log that could not be
    written for a while has none."""

    def there() -> bool:
        nodesets = [row["NODESET"] for row in cluster.logs()]
        return "N/A" not in nodesets and all(members(nodeset) == wanted for nodeset in nodesets)

    cluster.until(there, f"every nodeset is {sorted(wanted)}")


@pytest.mark.slow
def test_o11_six_states(servers: OperatedCluster) -> None:
    """Goal: every state can be set and is shown, and only read-write servers get new segments. How:
    N3 goes through all of them by force; records are acknowledged in each."""
    for state in ("read-only", "gone", "data-loss", "disabled", "provisioning"):
        servers.shown(SET.format(3, f"{state} --force"))
        assert servers.states() == {"N1": "read-write", "N2": "read-write", "N3": state}
        wait_for_nodesets(servers, {"N1", "N2"})
        servers.write(state)
    servers.shown(SET.format(3, "read-write --force"))
    wait_for_nodesets(servers, EVERYBODY)


def test_o12_two_spellings(servers: OperatedCluster) -> None:
    """Goal: the page's command and its present name do the same. How: one sets read-only, the other
    read-write, for one node and for two, by number and by id; each says what it did."""
    there = servers.shown(SET.format(1, "read-only"))
    assert "Node N1 storage-state updated from read-write to read-only\n" in there
    assert servers.states()["N1"] == "read-only"
    back = servers.shown("restatectl nodes set-storage-state --nodes N1 --storage-state read-write")
    assert "N1 storage-state has been updated from read-only to read-write\n" in back
    assert set(servers.states().values()) == {"read-write"}
    again = servers.shown(SET.format("N1,2", "read-write"))
    assert "Node N2 storage-state updated from read-write to read-write\n" in again


def test_o13_logs_leave_a_read_only_server(servers: OperatedCluster) -> None:
    """Goal: the control plane empties a server, warns when little is left, and refuses to break the
    logs. How: N1 of three becomes read-only, then N2 is to; writes never stop, and N1 returns."""
    servers.write("before")
    said = servers.shown(SET.format(1, "read-only"))
    assert "Warning: availability is compromised" in said
    wait_for_nodesets(servers, {"N2", "N3"})
    servers.write("without N1")
    refused = servers.page(SET.format(2, "read-only"))
    assert refused.code == 1
    assert NO_NODESETS in refused.err
    assert refused.err.count("\n") == 1
    assert servers.states()["N2"] == "read-write"
    described = servers.shown("restatectl logs describe 0")
    assert "{node: 2}" in described
    servers.shown(SET.format(1, "read-write"))
    wait_for_nodesets(servers, EVERYBODY)
    servers.write("with N1")


@pytest.mark.slow
def test_o13_appends_stop_below_the_replication(servers: OperatedCluster) -> None:
    """Goal: a record is acknowledged with all its copies or not at all. How: by force only one log
    server is left; a write is not acknowledged, and goes through when a second one is back."""
    servers.shown(SET.format("1,2", "disabled --force"))
    node = servers.nodes[2]
    assert node.patch_state("stopped", b"1", within_s=NOT_WITHIN_S) != 202
    servers.shown(SET.format("1,2", "read-write --force"))
    eventually(lambda: node.patch_state("on", b"1") == 202, 30, "appends go on", servers.nodes)


def test_o15_transitions_that_need_force(servers: OperatedCluster) -> None:
    """Goal: nothing dangerous by a slip. How: every change that is not one of the safe ones is
    refused with the reason and changes nothing; --force does it."""
    for state in ("disabled", "data-loss", "gone", "provisioning"):
        refused = servers.page(SET.format(3, state))
        assert refused.code == 1
        assert f"N3 {UNSAFE.format('read-write', state)}" in refused.err
        assert servers.states()["N3"] == "read-write"
    servers.shown(SET.format(3, "data-loss --force"))
    for state in ("read-write", "read-only", "disabled"):
        refused = servers.page(SET.format(3, state))
        assert f"N3 {UNSAFE.format('data-loss', state)}" in refused.err
        assert servers.states()["N3"] == "data-loss"
    servers.shown(SET.format(3, "read-write --force"))
    assert servers.states()["N3"] == "read-write"
