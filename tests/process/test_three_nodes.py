"""Three nodes as three processes: what happens to the others when one is killed, stopped, or comes
back without its data.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.process.node_processes import (
    STOPPED_WITHIN_S,
    NodeProcess,
    clean_environment,
    end,
    eventually,
    http,
    run,
)

pytestmark = pytest.mark.process

PARTITIONS = 3
CLUSTER = [
    'cluster-name = "trio"',
    f"default-num-partitions = {PARTITIONS}",
    "default-replication = 2",
    'bifrost.default-provider = "replicated"',
]
LOST = (
    "Node cannot start a log-server on {id}, it has detected that it has lost its data. "
    "storage-state is `data-loss`"
)


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[NodeProcess]]:
    """Three ready nodes with every role; each partition has a leader and a follower."""
    clean_environment()
    started = trio(tmp_path)
    try:
        for node in started:
            node.start()
        for node in started:
            node.wait_ready()
        eventually(lambda: len(leaders(started)) == PARTITIONS, 60, "leaders", started)
        yield started
    finally:
        end(started)


def trio(directory: Path) -> list[NodeProcess]:
    """Three nodes that know each other; the first founds the cluster."""
    nodes = [NodeProcess(directory, f"node-{number}") for number in (1, 2, 3)]
    addresses = ", ".join(f'"{node.address}"' for node in nodes)
    for node in nodes:
        node.keys = [
            *CLUSTER,
            f"auto-provision = {str(node is nodes[0]).lower()}",
            f"metadata-client.addresses = [{addresses}]",
        ]
    return nodes


def alive(nodes: Sequence[NodeProcess]) -> list[NodeProcess]:
    """Those that run."""
    return [node for node in nodes if node.running.poll() is None]


def leaders(nodes: Sequence[NodeProcess]) -> dict[int, str]:
    """The node that leads each partition; what a node that answers knows."""
    outcome = alive(nodes)[0].ctl_json("partitions", "list")
    return {
        row["partition"]: row["node"].split(":")[0]
        for row in outcome["processors"]
        if row["mode"] == "Leader" and row["status"] == "Active"
    }


def identity(nodes: Sequence[NodeProcess], node: NodeProcess) -> tuple[str, int]:
    """`N2` and its generation."""
    for row in alive(nodes)[0].ctl_json("nodes", "list")["nodes"]:
        if row["name"] == node.name:
            return row["id"], row["generation"]
    raise AssertionError(f"{node.name} is no member")


def storage_state(nodes: Sequence[NodeProcess], name: str) -> str:
    """What the cluster knows of a log server, by its id."""
    servers = alive(nodes)[0].ctl_json("replicated-loglet", "servers")["servers"]
    return next(row["storage_state"] for row in servers if row["node"] == name)


def write_to_all_partitions(node: NodeProcess, prefix: str) -> None:
    """Twelve keys; each write is tried until it is committed."""
    for index in range(12):
        key = f"{prefix}-{index}"
        eventually(lambda key=key: node.patch_state(key, b"1") == 202, 30, f"{key} written", [node])


def applied(node: NodeProcess) -> dict[int, int]:
    """The applied position of each partition on each node that has it, highest first."""
    found: dict[int, int] = {}
    for row in node.ctl_json("partitions", "list")["processors"]:
        found[row["partition"]] = max(found.get(row["partition"], 0), row["applied_lsn"] or 0)
    return found


def test_a_killed_leader_is_replaced_and_comes_back(nodes: list[NodeProcess]) -> None:
    """Goal: any one node may fail. How: kill -9 one that leads, write, start it again."""
    write_to_all_partitions(nodes[0], "before")
    led = leaders(nodes)
    victim = next(n for n in nodes if identity(nodes, n)[0] in led.values())
    name, generation = identity(nodes, victim)
    position = sum(applied(victim).values())
    victim.kill()
    others = alive(nodes)

    def moved() -> bool:
        now = leaders(others)
        return len(now) == PARTITIONS and name not in now.values()

    eventually(moved, 30, f"leaders move off {name}", others)
    write_to_all_partitions(others[-1], "meanwhile")
    victim.start().wait_ready()
    assert identity(nodes, victim) == (name, generation + 1)
    write_to_all_partitions(victim, "after")

    def applied_all() -> bool:
        return sum(applied(victim).values()) >= position + 2 * 12

    eventually(applied_all, 30, "what was committed is applied", nodes)
    stopped = [node.terminate() for node in nodes]
    assert [(s.code, s.seconds < STOPPED_WITHIN_S) for s in stopped] == [(0, True)] * 3, stopped


def test_a_log_server_that_lost_its_data(nodes: list[NodeProcess]) -> None:
    """Goal: lost copies are never taken for read. How: wipe the log store of a stopped member.

    The node says so and stops, as often as it is started; the cluster knows and goes on.
    """
    victim = nodes[2]
    write_to_all_partitions(nodes[0], "before")
    name, _ = identity(nodes, victim)
    assert storage_state(nodes, name) == "read-write"
    assert victim.terminate().code == 0
    shutil.rmtree(victim.data / victim.name / "log-store")
    for _ in range(2):
        assert victim.start().ended() == 1
        assert victim.log.read_text("utf-8").splitlines()[-1].endswith(LOST.format(id=name))
        assert storage_state(nodes, name) == "data-loss"
    said = victim.log.read_text("utf-8")
    assert f"Detected data loss for log-server of my node {name}." in said
    cause = re.escape(LOST.format(id=name))
    line = rf"ERROR restate_core::task_center: Shutting down: task \d+ failed with: {cause}$"
    assert re.search(line, said, re.MULTILINE)
    write_to_all_partitions(nodes[1], "after")


def test_a_log_server_is_repaired_from_its_peers(nodes: list[NodeProcess]) -> None:
    """Goal: O14 and the way back: lost data stops the node with the line of the operations page;
    with the option it starts, is repaired by one command, and is a whole log server again.

    How: wipe the log store of a stopped member, follow the procedure of the README, then let the
    repaired node show all records, and start it without the option.
    """
    first, victim = nodes[0], nodes[2]
    write_to_all_partitions(first, "before")
    name, _ = identity(nodes, victim)
    assert victim.terminate().code == 0
    shutil.rmtree(victim.data / victim.name / "log-store")
    assert victim.start().ended() == 1
    assert victim.log.read_text("utf-8").splitlines()[-1].endswith(LOST.format(id=name))
    repair = ("replicated-loglet", "repair", "--node", name)
    stopped = first.ctl(*repair)
    assert stopped.code == 1 and "repair-after-data-loss" in stopped.err
    victim.tables = ["log-server.repair-after-data-loss = true"]
    victim.starts -= 1  # the life that ended had no ready line
    victim.start().wait_ready()
    write_to_all_partitions(first, "meanwhile")
    assert storage_state(nodes, name) == "data-loss"
    missing = first.ctl_json(*repair, "--dry-run")
    assert missing["outcome"] == "done" and missing["copied"] > 0
    done = first.ctl_json(*repair)
    assert (done["outcome"], done["before"], done["after"]) == ("done", "data-loss", "read-write")
    assert done["copied"] >= missing["copied"] and done["problems"] == []
    assert storage_state(nodes, name) == "read-write"
    copies = copies_on(first, name)
    assert copies and all(copies.values()), copies
    write_to_all_partitions(victim, "after")
    victim.tables = []
    assert victim.terminate().code == 0
    victim.start().wait_ready()
    again = first.ctl(*repair)
    assert (again.code, again.out) == (0, f"{name} is read-write already: nothing to repair\n")
    write_to_all_partitions(victim, "restarted")


def copies_on(node: NodeProcess, name: str) -> dict[str, bool]:
    """Ended loglets that name the log server, and whether it has all of their records."""
    found: dict[str, bool] = {}
    for log in node.ctl_json("logs", "describe", "--all")["logs"]:
        for segment in log["segments"][:-1]:
            loglet = segment["loglet_id"]
            if name in segment["nodeset"]:
                runs = node.ctl_json("replicated-loglet", "digest", loglet)["runs"]
                found[loglet] = all(run["nodes"].get(name) == "exists" for run in runs)
    return found


def test_a_foreign_node_is_refused(nodes: list[NodeProcess], tmp_path: Path) -> None:
    """Goal: clusters do not mix. How: a node of another cluster that is given our addresses."""
    stranger = NodeProcess(
        tmp_path / "elsewhere",
        "stranger",
        [
            'cluster-name = "quartet"',
            "auto-provision = false",
            f'metadata-client.addresses = ["{nodes[0].address}"]',
        ],
        roles=["worker"],
    )
    stranger.write_config()
    line = run(["restate-node", "--config", str(stranger.config)]).refused()
    assert "cluster name mismatch" in line
    names = {row["name"] for row in nodes[0].ctl_json("nodes", "list")["nodes"]}
    assert names == {"node-1", "node-2", "node-3"}
    assert [http(f"{node.address}health")[0] for node in nodes] == [200] * 3
    assert alive(nodes) == nodes
