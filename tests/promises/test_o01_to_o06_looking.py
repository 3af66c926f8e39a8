"""Promises O1 to O6 and O9 of the operations page: what an operator sees of a healthy cluster.

The titles and texts are those of the page; one cluster serves them all.
"""

from __future__ import annotations

import re

import pytest

from tests.process.node_processes import run
from tests.promises.operations_cluster import LOGS, NODES, PARTITIONS, SERVERS, OperatedCluster
from tests.promises.page_tables import members, table

pytestmark = pytest.mark.process

ROLES = "admin | http-ingress | log-server | metadata-server | worker"
EVERYBODY = ["N1", "N2", "N3"]
HEADER = [" Logs Provider: replicated", " Log replication: {node: 2}", " Nodeset size: 0"]


def test_o1_status_is_one_overview(calm: OperatedCluster) -> None:
    """Goal: one command shows nodes, roles, leaders, log membership and metadata. How: compare its
    counts with those that the partitions and the nodesets imply."""
    titles = "NODE-ID  NAME  UPTIME  METADATA  LEADER  FOLLOWER  NODESET-MEMBER  SEQUENCER  ROLES"
    rows = table(calm.shown("restatectl status"), titles)
    assert sorted(row["NAME"] for row in rows) == ["node-1", "node-2", "node-3"]
    assert [row["NODE-ID"].split(":")[0] for row in rows] == EVERYBODY
    assert {row["METADATA"] for row in rows} == {"Member"}
    assert {row["ROLES"] for row in rows} == {ROLES}
    counts = {title: sum(int(row[title]) for row in rows) for title in titles.split()[4:8]}
    assert counts == {"LEADER": 2, "FOLLOWER": 2, "NODESET-MEMBER": 6, "SEQUENCER": 2}


@pytest.mark.parametrize("option", ["--address", "--addresses", "--server", "-s"])
def test_o2_addresses_in_every_spelling(calm: OperatedCluster, option: str) -> None:
    """Goal: the page's option and its other names. How: each names one node, alone behind the
    command and beside a dead address before it; the variable would lead nowhere."""
    port = calm.nodes[1].fabric_port
    one, both = f"http://localhost:{port}/", f"localhost:1,127.0.0.1:{port}"
    for line in (["nodes", "list", option, one], [option, both, "nodes", "list"]):
        outcome = run(["restatectl", *line], variables={"RESTATECTL_ADDRESS": "127.0.0.1:1"})
        assert outcome.code == 0, outcome
        assert [row["NODE"] for row in table(outcome.out, NODES)] == EVERYBODY


def test_o2_addresses_of_sockets_and_variables(calm: OperatedCluster) -> None:
    """Goal: a node is reached without a port, and without an option. How: its Unix socket; the
    variable; and an address where nobody listens, which must be named."""
    socket = calm.nodes[0].data / "node-1" / "fabric.sock"
    outcome = run(["restatectl", "nodes", "list", "--addresses", f"unix:{socket}"])
    assert outcome.code == 0, outcome
    assert len(table(outcome.out, NODES)) == 3
    variables = {"RESTATECTL_ADDRESS": calm.nodes[2].address}
    outcome = run(["restatectl", "nodes", "list"], variables=variables)
    assert len(table(outcome.out, NODES)) == 3
    nobody = run(["restatectl", "nodes", "list", "--addresses", "http://127.0.0.1:1/"])
    assert "127.0.0.1:1" in nobody.refused()


def test_o3_nodes_list(calm: OperatedCluster) -> None:
    """Goal: who is in the cluster, in which life, where, with which roles. How: compare with what
    was started; the founder is in its second life."""
    shown = calm.shown("restatectl nodes list")
    assert re.fullmatch(r"Node Configuration \(v\d+\)", shown.splitlines()[0])
    rows = table(shown, NODES)
    assert [(row["NODE"], row["GEN"]) for row in rows] == [("N1", "2"), ("N2", "1"), ("N3", "1")]
    assert rows[0]["NAME"] == "node-1"
    assert {row["NAME"]: row["ADDRESS"] for row in rows} == {
        node.name: node.address for node in calm.nodes
    }
    assert {row["ROLES"] for row in rows} == {ROLES}


def test_o4_logs_list(calm: OperatedCluster) -> None:
    """Goal: the header of the page, and each log's open segment. How: what two logs that are kept
    twice among three log servers must show."""
    lines = calm.shown("restatectl logs list").splitlines()
    assert re.fullmatch(r"Log chain v\d+", lines[0])
    assert lines[1:4] == HEADER
    rows = calm.logs()
    assert [row["L-ID"] for row in rows] == ["0", "1"]
    assert {row["KIND"] for row in rows} == {"Replicated"}
    assert {row["REPLICATION"] for row in rows} == {"{node: 2}"}
    for row in rows:
        assert re.fullmatch(rf"{row['L-ID']}_\d+", row["LOGLET-ID"])
        assert row["SEQUENCER"].split(":")[0] == calm.leaders()[row["L-ID"]]
        assert members(row["NODESET"]) == set(EVERYBODY)
        assert int(row["FROM-LSN"]) >= 1


def test_o4_logs_describe(calm: OperatedCluster) -> None:
    """Goal: the same table without arguments, and the whole chain of a log by its id. How: compare
    with the list; the marked segment is the open one."""
    shown = calm.shown("restatectl logs describe")
    assert shown.splitlines()[1:4] == HEADER
    assert table(shown, LOGS) == calm.logs()
    chain = calm.shown("restatectl logs describe 0")
    assert re.search(r"^Log Id: 0 \(v\d+\)$", chain, re.MULTILINE)
    marked = [line.split() for line in chain.splitlines() if line.startswith("▶")]
    assert [words[4] for words in marked] == [calm.logs()[0]["LOGLET-ID"]]


def test_o5_partitions_list(calm: OperatedCluster) -> None:
    """Goal: each replica, what it does and how far it is. How: one leader and one follower for each
    partition, without lag, in the leader's epoch."""
    shown = calm.shown("restatectl partitions list")
    title = r"Alive partition processors \(nodes config v\d+, partition table v\d+\)"
    assert re.fullmatch(title, shown.splitlines()[0])
    rows = table(shown, PARTITIONS)
    assert [row["ID"] for row in rows] == ["0", "0", "1", "1"]
    assert {row["STATUS"] for row in rows} == {"Active"}
    assert {row["LSN-LAG"] for row in rows} == {"0"}
    for partition in ("0", "1"):
        mine = [row for row in rows if row["ID"] == partition]
        assert sorted(row["MODE"] for row in mine) == ["Follower", "Leader"]
        leader = next(row["NODE"] for row in mine if row["MODE"] == "Leader")
        assert {row["EPOCH"] for row in mine} == {leader}
        assert all(int(row["APPLIED"]) >= 1 for row in mine)
        assert all(row["UPDATED"].endswith(" ago") for row in mine)
    assert "Dead nodes" not in shown


def test_o6_config_get(calm: OperatedCluster) -> None:
    """Goal: what the cluster is told to be, as the page prints it. How: the whole text."""
    assert calm.shown("restatectl config get").splitlines() == [
        "⚙️ Cluster Configuration",
        " Number of partitions: 2",
        " Partition replication: {node: 2}",
        *HEADER,
    ]


@pytest.mark.parametrize("spelling", ["list-servers", "servers"])
def test_o9_replicated_loglet_servers(calm: OperatedCluster, spelling: str) -> None:
    """Goal: the log servers, their state, their loglets, under both names. How: compare with the
    nodesets of `logs list`."""
    shown = calm.shown(f"restatectl replicated-loglet {spelling}")
    assert re.fullmatch(r"Node configuration v\d+", shown.splitlines()[0])
    assert re.fullmatch(r"Log chain v\d+", shown.splitlines()[1])
    rows = table(shown, SERVERS)
    assert [row["NODE"] for row in rows] == EVERYBODY
    assert [row["GEN"] for row in rows] == ["N1:2", "N2:1", "N3:1"]
    assert {row["STORAGE-STATE"] for row in rows} == {"read-write"}
    assert {row["ACTIVE LOGLETS"] for row in rows} == {"2"}
    assert all(int(row["HISTORICAL LOGLETS"]) >= 2 for row in rows)
