"""Pages from the leaders of partitions, over the simulated network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from restate_node.roles.admin.sql.partition_rows import PAGES_AT_ONCE_MAX, PartitionRows
from restate_node.roles.admin.sql.sources import UNRESTRICTED, Restriction, RowsUnavailable
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.fabric import Peer, RpcCode, RpcFailure
from restate_node.types.gossip import Leadership
from restate_node.types.gossip import NodeState as Believed
from restate_node.types.ids import LeaderEpoch, PartitionId
from restate_node.types.introspection import SYS_KEYED_SERVICE_STATUS, Table
from restate_node.types.invocation_messages import ReadRows, Rows
from tests.roles.admin.admin_world import HandLiveness, World, life

TABLE = SYS_KEYED_SERVICE_STATUS
PARTITIONS = PAGES_AT_ONCE_MAX + 2


def row(partition: int, number: int) -> list[Any]:
    return [partition, "Counter", str(number), None]


@dataclass
class Workers:
    """Two workers and an admin node. Each partition has five rows, given out two at a time."""

    world: World
    liveness: HandLiveness = field(default_factory=lambda: HandLiveness(*map(life, (1, 2, 3))))
    asked: list[tuple[int, ReadRows]] = field(default_factory=list[tuple[int, ReadRows]])
    under_way: int = 0
    most_under_way: int = 0
    failures: list[RpcFailure] = field(default_factory=list[RpcFailure])
    stuck: bool = False

    def __post_init__(self) -> None:
        for node in (1, 2, 3):
            self.world.start(node)
        self.world.partition(PARTITIONS, 1)
        for node in (2, 3):
            self.world.hosts[node].fabric.router.serve(ReadRows, self.serving(node))
        host = self.world.hosts[1]
        self.rows = PartitionRows(host.cache, self.liveness, host.fabric)

    def serving(self, node: int) -> Callable[[Peer, ReadRows], Awaitable[Rows]]:
        async def serve(_: Peer, request: ReadRows) -> Rows:
            self.asked.append((node, request))
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            self.under_way -= 1
            if self.failures:
                raise self.failures.pop(0)
            at = int.from_bytes(request.after, "big")
            page = [row(request.partition, number) for number in range(at, min(at + 2, 5))]
            following = at if self.stuck else at + 2
            return Rows(page, following.to_bytes(1, "big") if at + 2 < 5 else None)

        return serve

    def lead(self, node: int) -> None:
        self.liveness.leaders.set(
            {
                PartitionId(p): Leadership(PartitionId(p), LeaderEpoch(1), life(node))
                for p in range(PARTITIONS)
            }
        )

    async def read(self, restriction: Restriction = UNRESTRICTED) -> list[list[Any]]:
        scan = self.rows.open(TABLE, restriction)
        found: list[list[Any]] = []
        while (rows := await scan.next_rows()) is not None:
            assert rows, "a portion has at least one row"
            found += rows
        assert await scan.next_rows() is None
        return found


def workers(scenario: Callable[[Workers], Awaitable[None]]) -> None:
    async def main(loop: SimLoop) -> None:
        await scenario(Workers(World(loop)))

    simulate(1, main)


def everything() -> list[list[Any]]:
    return [row(partition, number) for partition in range(PARTITIONS) for number in range(5)]


def test_all_pages_of_all_partitions_are_read_once() -> None:
    """Goal: every row once, from the leader, page by page. How: more partitions than are asked at
    once, each of three pages.
    """

    async def scenario(bench: Workers) -> None:
        bench.lead(2)
        assert sorted(await bench.read()) == everything()
        assert len(bench.asked) == 3 * PARTITIONS
        assert {node for node, _ in bench.asked} == {2}
        assert {request.table for _, request in bench.asked} == {TABLE.name}

    workers(scenario)


def test_few_pages_are_under_way_and_none_that_nobody_wants() -> None:
    """Goal: bounded memory; a reader that stops stops the reading. How: take one portion."""

    async def scenario(bench: Workers) -> None:
        bench.lead(2)
        scan = bench.rows.open(TABLE, UNRESTRICTED)
        first = await scan.next_rows()
        assert first is not None and len(first) == 2 * PAGES_AT_ONCE_MAX
        assert len(bench.asked) == PAGES_AT_ONCE_MAX

    workers(scenario)


def test_one_key_asks_one_partition() -> None:
    """Goal: the restriction reaches the worker. How: a key and a service."""

    async def scenario(bench: Workers) -> None:
        bench.lead(2)
        wanted = Restriction(keys=frozenset({"mine"}), services=frozenset({"Counter"}))
        found = await bench.read(wanted)
        partitions = {request.partition for _, request in bench.asked}
        assert len(partitions) == 1 and {values[0] for values in found} == partitions
        assert {(r.key, r.service) for _, r in bench.asked} == {("mine", "Counter")}

    workers(scenario)


def test_a_moving_leader_costs_time_only() -> None:
    """Goal: reading goes on behind the same row. How: nobody leads, then one who refuses, then
    another leads halfway.
    """

    async def scenario(bench: Workers) -> None:
        bench.failures = [RpcFailure(RpcCode.NOT_READY, "not I")] * 3
        bench.lead(2)
        scan = bench.rows.open(TABLE, UNRESTRICTED)
        found = await scan.next_rows() or []
        bench.liveness.set(life(2), Believed.DEAD)
        bench.lead(3)
        while (rows := await scan.next_rows()) is not None:
            found += rows
        assert sorted(found) == everything()
        assert {node for node, _ in bench.asked} == {2, 3}

    workers(scenario)


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda bench: None, "it has no leader"),
        (lambda bench: (bench.lead(2), bench.liveness.set(life(2), Believed.DEAD)), "no leader"),
        (lambda bench: (bench.lead(2), setattr(bench, "stuck", True)), "does not get on"),
        (
            lambda bench: (
                bench.lead(2),
                bench.failures.extend([RpcFailure(RpcCode.FAILED, "broken")] * 10_000),
            ),
            "broken",
        ),
    ],
)
def test_a_partition_that_cannot_be_read_fails_the_scan(
    prepare: Callable[[Workers], Any], reason: str
) -> None:
    """Goal: rows are never missing in silence, and nothing is tried for ever. How: no leader, a
    dead one, one whose pages go in circles, one that fails.
    """

    async def scenario(bench: Workers) -> None:
        prepare(bench)
        with pytest.raises(RowsUnavailable, match=reason):
            await bench.read()

    workers(scenario)


def test_before_provisioning_there_is_nothing_to_ask() -> None:
    """Goal: an empty cluster says so. How: no partition table."""

    async def main(loop: SimLoop) -> None:
        world = World(loop)
        host = world.start(1)
        rows = PartitionRows(host.cache, HandLiveness(life(1)), host.fabric)
        with pytest.raises(RowsUnavailable, match="not provisioned"):
            rows.open(table(), UNRESTRICTED)

    def table() -> Table:
        return TABLE

    simulate(1, main)
