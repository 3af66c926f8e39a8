"""Promises O7, O8 and O10 of the operations page: a cluster grows, and is told what it is to be."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest

from tests.process.node_processes import eventually, guarded
from tests.promises.operations_cluster import NODES, OperatedCluster
from tests.promises.page_tables import members, table

pytestmark = pytest.mark.process

TWO = "{node: 2}"
RAISE = "restatectl config set --log-replication 2 --partition-replication 2"


@pytest.fixture
def single(empty: OperatedCluster) -> OperatedCluster:
    """One node, everything once."""
    empty.replication = 1
    return empty.start(1)


def difference(before: int, after: int) -> list[str]:
    """What the page shows before it asks."""
    return [
        "⚙️ Cluster Configuration",
        " Number of partitions: 2",
        f"-├ Partition replication: {{node: {before}}}",
        f"+├ Partition replication: {{node: {after}}}",
        " Logs Provider: replicated",
        f"- Log replication: {{node: {before}}}",
        f"+ Log replication: {{node: {after}}}",
        " Nodeset size: 0",
    ]


def grow(cluster: OperatedCluster, count: int) -> None:
    """Start more nodes, one after the other, and wait until their log servers may be used."""
    for _ in range(count):
        cluster.add().start().wait_ready()
    wanted = {f"N{number}": "read-write" for number in range(1, len(cluster.nodes) + 1)}
    cluster.until(lambda: cluster.states() == wanted, "all log servers are read-write")


def typed(command: list[str], variables: dict[str, str], answer: bytes) -> tuple[int, str]:
    """A command on a terminal of its own, on which somebody types; its code, and the screen."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        guarded(command),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, **variables},
    )
    os.close(theirs)
    screen = b""
    try:
        while chunk := _read(ours):
            screen += chunk
            if screen.endswith("(y/n) › ".encode()):
                os.write(ours, answer)
        return child.wait(30), screen.decode()
    finally:
        os.close(ours)
        child.kill()
        child.wait()


def _read(descriptor: int) -> bytes:
    """The next bytes on the terminal; none when the program has left it."""
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return b""


def test_o7_config_set_asks_with_a_difference(trio: OperatedCluster) -> None:
    """Goal: nothing is changed before a person has seen what, and said yes. How: on a terminal
    answer no, with `--log-replication 3`; then with nobody to answer; then yes, and watch the logs
    and partitions follow while writes go on."""
    variables = {"RESTATECTL_ADDRESS": trio.nodes[0].address, "CI": "", "NO_COLOR": "1"}
    line = ["restatectl", "config", "set", "--log-replication", "3", "--partition-replication", "3"]
    code, screen = typed(line, variables, b"n\n")
    lines = screen.replace("\r\n", "\n").split("\n")
    assert code == 1
    assert lines[:8] == difference(2, 3)
    assert "? Apply changes? (y/n) › n" in lines
    assert "Log replication: {node: 2}" in trio.shown("restatectl config get")
    nobody = trio.page(" ".join(line))
    assert nobody.code == 1
    assert "--yes" in nobody.err
    trio.write("before")
    code, screen = typed(line, variables, b"y\n")
    assert (code, "Configuration updated" in screen) == (0, True), screen
    trio.write("meanwhile")
    trio.replication = 3

    def followed() -> bool:
        return all(row["REPLICATION"] == "{node: 3}" for row in trio.logs())

    trio.until(followed, "all logs have three copies")
    trio.settle().write("after")


def test_o7_config_set_refuses_what_cannot_be(calm: OperatedCluster) -> None:
    """Goal: no log is stopped by a slip. How: more copies than nodes, values that are none, a
    number of partitions that is fixed; nothing may change."""
    before = calm.shown("restatectl config get")
    refused = {
        "--log-replication 7": "{node: 7} cannot be met by 3 log servers in read-write",
        "--partition-replication 7": "{node: 7} cannot be met by 3 active workers",
        "--log-replication '{zone: 2}'": "zone",
        "--num-partitions 9": "partitions",
    }
    for option, words in refused.items():
        outcome = calm.page(f"restatectl config set {option} --yes")
        assert outcome.code == 1, outcome
        assert words in outcome.err, outcome
        assert outcome.err.count("\n") == 1, outcome
    for option in ("--log-replication 0", "--log-replication many", "--log-provider papyrus", ""):
        outcome = calm.page(f"restatectl config set {option} --yes")
        assert outcome.code == 2, outcome
    assert calm.shown("restatectl config get") == before


def test_o8_growing_from_one_node(single: OperatedCluster) -> None:
    """Goal: the page's three steps. How: one node with data; two more that know its address join
    under ids of their own; raising the replication spreads logs and partitions, and the first node
    may then fail without a loss."""
    single.write("alone")
    assert {row["NODESET"] for row in single.logs()} == {"[N1]"}
    grow(single, 2)
    rows = table(single.shown("restatectl nodes list"), NODES)
    assert [(row["NODE"], row["NAME"]) for row in rows] == [
        ("N1", "node-1"),
        ("N2", "node-2"),
        ("N3", "node-3"),
    ]
    shown = single.shown(RAISE, answers="y\n")
    assert shown.splitlines()[:8] == difference(1, 2)
    assert "? Apply changes? (y/n) › " in shown
    single.replication = 2

    def spread() -> bool:
        return all(
            row["REPLICATION"] == TWO and len(members(row["NODESET"])) >= 2 for row in single.logs()
        )

    single.until(spread, "every log has two copies")
    single.settle().write("spread")
    single.nodes[0].kill()
    single.until(lambda: len(single.leaders()) == 2, "the others lead")
    single.write("without the first")


def test_o10_log_servers_become_read_write_by_themselves(calm: OperatedCluster) -> None:
    """Goal: nobody has to admit a new log server. How: one whose log store cannot be made has
    joined and stays provisioning; without the obstacle it becomes read-write on its next start."""
    node = calm.add(roles=["log-server"], name="late")
    store = node.data / "late" / "log-store"
    store.parent.mkdir(parents=True)
    store.write_text("in the way")
    try:
        assert node.start().ended() == 1
        assert calm.states()[calm.id_of(node)] == "provisioning"
        store.unlink()
        node.start()
        name = calm.id_of(node)
        eventually(lambda: calm.states()[name] == "read-write", 30, "it serves", [node])
    finally:
        node.running.kill()
        node.running.wait()
        calm.nodes.remove(node)
