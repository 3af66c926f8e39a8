"""A cluster whose metadata majority is away: for a while, and for ever."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.process.node_processes import NodeProcess, Outcome, clean_environment, end, eventually

pytestmark = pytest.mark.process

PARTITIONS = 2


def cluster_of(directory: Path) -> list[NodeProcess]:
    """One node does the work; two more only keep metadata. The last one is not started yet."""
    roles = [(), *[("metadata-server",)] * 3]
    nodes = [
        NodeProcess(directory, f"node-{number}", roles=list(role))
        for number, role in enumerate(roles, start=1)
    ]
    addresses = ", ".join(f'"{node.address}"' for node in nodes[:3])
    for number, node in enumerate(nodes, start=1):
        node.keys = [
            f"force-node-id = {number}",
            f"default-num-partitions = {PARTITIONS}",
            f"auto-provision = {str(node is nodes[0]).lower()}",
            f"metadata-client.addresses = [{addresses}]",
        ]
    return nodes


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[NodeProcess]]:
    """Three members of the metadata cluster, one of which leads the partitions."""
    clean_environment()
    nodes = cluster_of(tmp_path)
    try:
        for node in nodes[:3]:
            node.start()
        for node in nodes[:3]:
            node.wait_ready()
        eventually(lambda: members(nodes[0]) == {"N1", "N2", "N3"}, 60, "members", nodes)
        eventually(lambda: writes(nodes[0]), 60, "a first write", nodes)
        yield nodes
    finally:
        end(nodes)


def members(node: NodeProcess) -> set[str]:
    """The members of the metadata cluster, as the leader has them; empty without a leader."""
    outcome = node.ctl_json("metadata-server", "list-servers")
    led = [row for row in outcome["servers"] if row["leader"] is not None]
    return set(led[0]["members"]) if led else set()


def writes(node: NodeProcess) -> bool:
    """Whether a record is committed on every partition."""
    return all(node.patch_state(f"key-{index}", b"1") == 202 for index in range(8))


def set_replication(node: NodeProcess, copies: int) -> Outcome:
    """Any change of the configuration is a write of metadata."""
    return node.ctl("config", "set", "--partition-replication", str(copies), "--force")


def refuses_writes(nodes: Sequence[NodeProcess]) -> bool:
    """Whether a change fails, with the reason."""
    outcome = set_replication(nodes[0], 2)
    return outcome.code == 1 and "metadata store" in outcome.err


def check_reads(node: NodeProcess) -> None:
    """What needs no metadata write goes on: inspection, and appends."""
    for command in (
        ("nodes", "list"),
        ("logs", "list"),
        ("partitions", "list"),
        ("status",),
        ("config", "get"),
    ):
        outcome = node.ctl(*command)
        assert outcome.code == 0, outcome
    assert writes(node)


def test_reads_go_on_without_a_majority(nodes: list[NodeProcess]) -> None:
    """Goal: reads and appends go on, writes of metadata are refused with the reason, and work when
    the majority is back. How: kill two of three members, look, start one of them again."""
    for node in nodes[1:3]:
        node.kill()
    eventually(lambda: refuses_writes(nodes), 60, "writes are refused", nodes[:1])
    check_reads(nodes[0])
    nodes[1].start()
    eventually(lambda: set_replication(nodes[0], 2).code == 0, 60, "writes work", nodes[:2])
    check_reads(nodes[0])


def test_a_majority_that_is_lost_for_ever(nodes: list[NodeProcess], tmp_path: Path) -> None:
    """Goal: the cluster goes on from one member: nothing without --accept-loss, afterwards writes,
    new members, and no harm from an old one that comes back. How: kill two, wipe one of them, and
    start the third anew, so that it knows nobody; recover by its address."""
    survivor, returning, lost, fresh = nodes
    before = survivor.ctl_json("config", "get")
    refused = survivor.ctl("metadata-server", "recover", "--from", "N1", "--accept-loss")
    assert refused.code == 1 and "nothing is lost" in refused.err, refused
    for node in (returning, lost, survivor):
        node.kill()
    shutil.rmtree(lost.data / lost.name)
    survivor.start()

    def told() -> Outcome | None:
        outcome = survivor.ctl("metadata-server", "recover", "--from", "N1")
        return outcome if "nothing was changed" in outcome.err else None

    outcome = eventually(told, 60, "the survivor answers", [survivor])
    assert outcome.code == 1 and "members N1, N2, N3" in outcome.out, outcome
    assert "nodes_config" in outcome.out and "What may be lost" in outcome.out
    done = survivor.ctl("metadata-server", "recover", "--from", "N1", "--accept-loss")
    assert done.code == 0 and "N1 is the only member" in done.out, done
    survivor.wait_ready()
    eventually(lambda: writes(survivor), 60, "appends", [survivor])
    assert survivor.ctl("metadata", "get", "--key", "nodes_config").code == 0
    assert survivor.ctl_json("config", "get") == before
    eventually(lambda: set_replication(survivor, 2).code == 0, 60, "a change", [survivor])

    returning.start().wait_ready()

    def told_off() -> bool:
        """Until it has heard of the others, it takes itself for the member that it was."""
        outcome = returning.ctl("metadata-server", "add-node", "N2")
        return outcome.code == 1 and "continued without it" in outcome.err

    eventually(told_off, 60, "the former member is told off", [returning])
    assert members(survivor) == {"N1"}
    fresh.start().wait_ready()
    eventually(lambda: members(survivor) == {"N1", "N4"}, 60, "a new member", nodes)
    lost.start().wait_ready()

    def added() -> bool:
        """It may have to hear first that it has joined."""
        return survivor.ctl("metadata-server", "add-node", "N3").code == 0

    eventually(added, 60, "N3 is added", nodes)
    eventually(lambda: members(survivor) == {"N1", "N3", "N4"}, 60, "an old member, blank", nodes)
    fresh.kill()
    eventually(lambda: set_replication(survivor, 1).code == 0, 60, "two of three suffice", nodes)
