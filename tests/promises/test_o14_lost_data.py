"""Promise O14 of the operations page: a log server that finds no data does not pretend it never
had any, and neither does the node whose id was taken.

The whole procedure, command by command, is `procedures/reused-node-id.sh`.
"""

from __future__ import annotations

import re

import pytest

from tests.process.node_processes import NodeProcess
from tests.promises.operations_cluster import SERVERS, OperatedCluster
from tests.promises.page_tables import members, table

pytestmark = [pytest.mark.process, pytest.mark.slow]

LINE = (
    r"ERROR restate_core::task_center: Shutting down: task \d+ failed with: Node cannot start a "
    r"log-server on {}, it has detected that it has lost its data. storage-state is `data-loss`$"
)
TAKEN = "another process runs as {} (generation 2, this is 1); give one of them another node-name"
FORCE = "restatectl replicated-loglet set-storage-state --node {} --storage-state 'read-write' "


def aborts(node: NodeProcess, name: str) -> None:
    """The node ends by itself, with the line of the page."""
    before = node.log.stat().st_size if node.log.exists() else 0
    assert node.start().ended() == 1
    said = node.log.read_bytes()[before:].decode()
    assert re.search(LINE.format(name), said, re.MULTILINE), said


def test_o14_a_node_id_that_was_used_again(trio: OperatedCluster) -> None:
    """Goal: records are never taken for read by a server that lost them, and an operator who knows
    better gets the node back. How: a second node of the same name with an empty directory, while
    the first runs; both stop, and stop again with the page's line, until --force; nothing is
    lost."""
    victim = trio.nodes[2]
    name = trio.id_of(victim)
    trio.write("before")
    impostor = trio.add(name=victim.name, directory=trio.directory / "elsewhere")
    trio.nodes.remove(impostor)
    try:
        aborts(impostor, name)
    finally:
        impostor.kill()
    assert victim.ended() == 1
    assert TAKEN.format(name) in victim.last_lines().splitlines()[-1]
    assert "Traceback" not in victim.log.read_text("utf-8")
    aborts(victim, name)
    rows = table(trio.shown("restatectl replicated-loglet servers"), SERVERS)
    shown = {row["NODE"]: row["STORAGE-STATE"] for row in rows}
    assert shown == {**dict.fromkeys(("N1", "N2", "N3"), "read-write"), name: "data-loss"}

    def left() -> bool:
        return all(name not in members(row["NODESET"]) for row in trio.logs())

    trio.until(left, f"no nodeset has {name}")
    trio.write("meanwhile")
    refused = trio.page(FORCE.format(name[1:]))
    assert (refused.code, "is unsafe" in refused.err) == (1, True), refused
    done = trio.shown(f"{FORCE.format(name[1:])} --force")
    assert f"Node {name} storage-state updated from data-loss to read-write\n" in done
    victim.start()
    trio.until(lambda: not left(), f"{name} is used again")
    trio.settle().write("after")
