"""Promise O20 of the operations page: dead nodes are shown, and what they led moves."""

from __future__ import annotations

import re

import pytest

from tests.promises.operations_cluster import DEAD, OperatedCluster
from tests.promises.page_tables import table

pytestmark = pytest.mark.process

LONG_AGO = re.compile(r"(\d+ \w+, )*(\d+ seconds? and )?\d+ (ms|seconds?|minutes?) ago")


def test_o20_a_dead_node_is_listed_and_its_leaders_move(trio: OperatedCluster) -> None:
    """Goal: an operator sees who is gone for how long, and the cluster goes on. How: kill -9 a node
    that leads; watch the list, the leaders, `status`; start it again."""
    led = trio.leaders()
    victim = next(node for node in trio.nodes if trio.id_of(node) in led.values())
    name = trio.id_of(victim)
    victim.kill()

    def listed() -> bool:
        return "☠️ Dead nodes" in trio.shown("restatectl partitions list")

    trio.until(listed, f"{name} is listed as dead")
    rows = table(trio.shown("restatectl partitions list"), DEAD)
    assert [row["NODE"] for row in rows] == [name]
    assert LONG_AGO.fullmatch(rows[0]["LAST-SEEN"]), rows

    def moved() -> bool:
        leaders = trio.leaders()
        return len(leaders) == trio.partitions and name not in leaders.values()

    trio.until(moved, f"leaders leave {name}")
    trio.write("without it")
    status = trio.shown("restatectl status")
    assert re.search(rf"^{name}\b.*offline", status, re.MULTILINE), status
    victim.start()
    trio.until(lambda: not listed(), f"{name} is alive")
    trio.settle().write("with it")
