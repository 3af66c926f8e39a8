"""One node without a cluster around it: what a newcomer sees in the first minute."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator

import pytest

from tests.process.node_processes import (
    COMMAND_WITHIN_S,
    HOST,
    STOPPED_WITHIN_S,
    NodeProcess,
    clean_environment,
    end,
    eventually,
    free_ports,
    http,
    run,
)

pytestmark = pytest.mark.process

PARTITIONS = 2
TLS_HELLO = bytes.fromhex("1603010200010001fc0303")
MAGIC, VERSION = b"RSTN", 1
GARBAGE = {
    "nothing": b"",
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "text": b"hello\r\n\r\n",
    "half a request": b"GET /health HTT",
    "a request without end": b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 200_000,
    "no such method": b"BREW /pot HTTP/1.1\r\nhost: x\r\n\r\n",
    "a length that lies": b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n{}",
    "HTTP/2 and then noise": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xfe" * 500,
    "an HTTP/2 frame of 16 MiB": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x00\x00",
    "TLS": TLS_HELLO + bytes(200),
}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    """One node for all tests of this file; none of them may hurt it."""
    clean_environment()
    directory = tmp_path_factory.mktemp("single")
    started = NodeProcess(directory, "alone", [f"default-num-partitions = {PARTITIONS}"]).start()
    try:
        started.wait_ready()
        eventually(lambda: len(leaders(started)) == PARTITIONS, 30, "leaders", [started])
        yield started
    finally:
        end([started])


def leaders(node: NodeProcess) -> dict[int, str]:
    """The leader of each partition that has one which has caught up."""
    return {
        row["partition"]: row["node"]
        for row in node.ctl_json("partitions", "list")["processors"]
        if row["mode"] == "Leader" and row["status"] == "Active"
    }


def applied(node: NodeProcess) -> int:
    """The sum of applied positions over all partitions, from the page of metrics."""
    status, page = http(f"{node.address}metrics")
    assert status == 200
    found = re.findall(rb"^restate_partition_applied_lsn\{[^}]*\} (\S+)$", page, re.MULTILINE)
    return int(sum(map(float, found)))


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("status", r"^N1:\d+ +alone .* Member +2 +0 +2 +2 +admin \|"),
        ("status --extra", r"alone"),
        ("nodes list", r"^N1 +\d+ +alone +http://127\.0\.0\.1:\d+/ +admin \|"),
        ("nodes list --extra", r"alone"),
        ("logs list", r"^1 +1 +Replicated +1_0 +\{node: 1\} +N1:\d+ +\[N1\]"),
        ("logs describe 0", r"0_0"),
        ("logs find-tail 0", r"0"),
        ("partitions list", r"^1 +N1:\d+ +Leader +Active +"),
        ("config get", r"^ Number of partitions: 2$"),
        ("metadata get --key nodes_config", r"alone"),
        ("metadata-server list-servers", r"Member"),
        ("replicated-loglet list-servers", r"read-write"),
        ("replicated-loglet servers", r"read-write"),
        ("replicated-loglet info 0_0", r"0_0"),
        ("replicated-loglet digest 0_0", r"N1"),
        ("logs list --json", r'"logs"'),
        ("part li", r"^1 +N1:\d+ +Leader"),
    ],
)
def test_restatectl_answers(node: NodeProcess, command: str, shown: str) -> None:
    """Goal: every look at a cluster works on one node. How: tables of our restatectl."""
    outcome = node.ctl(*command.split())
    assert outcome.code == 0, outcome
    assert re.search(shown, outcome.out, re.MULTILINE), outcome.out


@pytest.mark.parametrize(
    "command", ["status", "nodes list", "logs list", "partitions list", "config get"]
)
def test_json_is_one_document(node: NodeProcess, command: str) -> None:
    """Goal: scripts can read what people read. How: parse the whole output."""
    assert isinstance(node.ctl_json(*command.split()), dict)


def test_the_cluster_can_be_queried(node: NodeProcess) -> None:
    """Goal: SQL from the command line to the node and back. How: a join, its types in JSON, and a
    query that is wrong.
    """
    leading = "n.name, p.partition_id from nodes n join partition_state p using (gen_node_id)"
    rows = node.ctl_json("sql", f"select {leading} where p.effective_mode = 'Leader' order by 2")
    assert rows == [{"name": "alone", "partition_id": p} for p in range(PARTITIONS)]
    outcome = node.ctl("sql", "select * from nope")
    assert outcome.code == 1 and "table 'restate.public.nope' not found" in outcome.err


def test_health_and_metrics_are_on_the_fabric_port(node: NodeProcess) -> None:
    """Goal: one port for monitoring. How: both pages, and /health of the admin port."""
    status, page = http(f"{node.address}health")
    health = json.loads(page)
    assert (status, health["status"], health["node_id"][:3]) == (200, "Alive", "N1:")
    assert health["log_server_status"] == "Ready"
    assert b"restate_num_active_partition_leaders" in http(f"{node.address}metrics")[1]
    assert http(f"{node.admin}/health")[0] == 200


def test_ingress_speaks_both_protocols(node: NodeProcess) -> None:
    """Goal: clients of either kind reach it. How: one request each, HTTP/2 with prior knowledge."""
    status, answer = http(f"{node.ingress}/nowhere/greet", b"1")
    assert status == 404
    assert b"not found" in answer
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
    with socket.create_connection((HOST, node.ingress_port), timeout=5) as connection:
        connection.sendall(preface)
        assert connection.recv(9)[3] == 4, "the first frame is SETTINGS"


def test_services_are_registered(node: NodeProcess) -> None:
    """Goal: discovered, stored, and known after the answer; the ingress knows them too."""
    assert node.register_counter() in (200, 201)
    status, answer = http(f"{node.admin}/services/counter")
    assert (status, json.loads(answer)["ty"]) == (200, "VirtualObject")
    assert json.loads(http(f"{node.ingress}/restate/health")[1]) == {"services": ["counter"]}


def test_state_is_accepted_and_applied(node: NodeProcess) -> None:
    """Goal: 202 means committed, and it is applied. How: the applied position grows by one each."""
    before = applied(node)
    assert [node.patch_state(f"key-{index}", b"1") for index in range(5)] == [202] * 5
    eventually(lambda: applied(node) >= before + 5, 10, "five records applied", [node])


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"object_key": 1}', b'{"new_state": {}}'])
def test_state_that_makes_no_sense_is_refused(node: NodeProcess, body: bytes) -> None:
    """Goal: 4xx with a reason, never a crash. How: bodies that are not a state patch."""
    status, answer = http(f"{node.admin}/services/counter/state", body)
    assert 400 <= status < 500
    assert answer


@pytest.mark.parametrize("noise", GARBAGE.values(), ids=GARBAGE.keys())
@pytest.mark.parametrize("port", ["fabric", "admin", "ingress"])
def test_garbage_hurts_nobody(node: NodeProcess, port: str, noise: bytes) -> None:
    """Goal: bytes from anywhere cost one connection. How: send noise and go; it still answers."""
    number = getattr(node, f"{port}_port")
    with socket.create_connection((HOST, number), timeout=5) as connection:
        connection.settimeout(0.2)
        send_what_is_taken(connection, noise)
    assert http(f"{node.address}health")[0] == 200
    assert node.running.poll() is None


def send_what_is_taken(connection: socket.socket, noise: bytes) -> None:
    """The other side may close at any byte, or answer, or wait for more."""
    try:
        connection.sendall(noise)
        connection.recv(1024)
    except (TimeoutError, ConnectionError):
        return


def test_frames_that_lie_cost_no_memory(node: NodeProcess) -> None:
    """Goal: no memory ahead of a length check. How: our preface, then lengths up to 4 GiB."""
    before = resident_kib(node)
    for length in (0, 1, 64, 33 << 20, 0x7FFFFFFF, 0xFFFFFFFF):
        for version in (VERSION, VERSION + 1):
            with socket.create_connection((HOST, node.fabric_port), timeout=5) as connection:
                connection.settimeout(0.2)
                frame = length.to_bytes(4, "little") + bytes(range(256))
                send_what_is_taken(connection, MAGIC + bytes((version,)) + frame)
    assert http(f"{node.address}health")[0] == 200
    assert resident_kib(node) < before + 64 * 1024


def resident_kib(node: NodeProcess) -> int:
    """Memory of the process."""
    with open(f"/proc/{node.running.pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("logs describe 99", "99"),
        ("logs find-tail 99", "99"),
        ("replicated-loglet info 99_0", "99"),
        ("logs frobnicate 0", "frobnicate"),
        ("nodes frobnicate", "frobnicate"),
    ],
)
def test_unknown_ids_are_an_error(node: NodeProcess, command: str, reason: str) -> None:
    """Goal: a script notices, a person understands. How: exit code and words."""
    outcome = node.ctl(*command.split())
    assert outcome.code != 0
    assert reason in outcome.err


def test_wrong_ports_are_an_error(node: NodeProcess) -> None:
    """Goal: a wrong address is told from a broken node. How: a closed port, the admin port."""
    closed = run(["restatectl", "--address", f"http://{HOST}:{free_ports(1)[0]}", "status"])
    assert closed.code == 1
    assert "cannot reach the cluster" in closed.err
    wrong = run(["restatectl", "--address", node.admin, "status"])
    assert wrong.code == 1
    assert "5122" in wrong.err
    assert wrong.seconds < COMMAND_WITHIN_S / 2


def test_one_directory_has_one_process(node: NodeProcess) -> None:
    """Goal: two processes never share a directory. How: start a second one on other ports."""
    ports = free_ports(3)
    second = NodeProcess(node.directory, node.name, node.keys, (), (), *ports)
    second.write_config()
    refused = run(["restate-node", "--config", str(second.config)]).refused()
    assert "another process uses" in refused
    assert http(f"{node.address}health")[0] == 200


def test_sigterm_is_an_orderly_end(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Goal: exit 0 in less than five seconds, and a higher generation afterwards.

    How: write, stop, start again; what was applied is still there.
    """
    clean_environment()
    directory = tmp_path_factory.mktemp("again")
    node = NodeProcess(directory, "again", ["default-num-partitions = 1"]).start().wait_ready()
    try:
        eventually(lambda: node.patch_state("key", b"1") == 202, 20, "a write", [node])
        before = generation(node)
        stopped = node.terminate()
        assert (stopped.code, stopped.seconds < STOPPED_WITHIN_S) == (0, True), stopped
        node.start().wait_ready()
        assert generation(node) == before + 1
        eventually(lambda: applied(node) >= 2, 20, "what was committed is applied", [node])
    finally:
        end([node])


def generation(node: NodeProcess) -> int:
    """Of the only member."""
    return int(node.ctl_json("nodes", "list")["nodes"][0]["generation"])
