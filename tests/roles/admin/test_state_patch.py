"""The way of a state patch to the leader of its partition."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from restate_node.roles.admin.state_patch import NoLeader, OutcomeUnknown, StatePatcher
from restate_node.sim.loop import SimLoop, simulate
from restate_node.types.fabric import Peer, RpcCode, RpcFailure
from restate_node.types.gossip import Leadership
from restate_node.types.gossip import NodeState as Believed
from restate_node.types.ids import LeaderEpoch, PartitionId
from restate_node.types.offsets import Lsn
from restate_node.types.partition_keys import partition_key_of_key
from restate_node.types.processor_messages import PatchState, Proposed
from tests.roles.admin.admin_world import HandLiveness, World, life


@dataclass
class Leading:
    """Two nodes and two partitions; node 2 answers patches as told."""

    world: World
    liveness: HandLiveness = field(default_factory=lambda: HandLiveness(life(1), life(2)))
    asked: list[PatchState] = field(default_factory=list[PatchState])
    failures: list[RpcFailure] = field(default_factory=list[RpcFailure])

    def __post_init__(self) -> None:
        for node in (1, 2):
            self.world.start(node)
        self.world.partition(2, 1)
        self.world.hosts[2].fabric.router.serve(PatchState, self.answer)
        host = self.world.hosts[1]
        self.patcher = StatePatcher(host.cache, self.liveness, host.fabric)

    async def answer(self, _: Peer, request: PatchState) -> Proposed:
        self.asked.append(request)
        if self.failures:
            raise self.failures.pop(0)
        return Proposed(Lsn(5))

    def lead(self, node: int) -> None:
        self.liveness.leaders.set(
            {
                PartitionId(p): Leadership(PartitionId(p), LeaderEpoch(1), life(node))
                for p in range(2)
            }
        )


def leading(scenario: Callable[[Leading], Awaitable[None]]) -> None:
    async def main(loop: SimLoop) -> None:
        await scenario(Leading(World(loop)))

    simulate(1, main)


def test_patch_goes_to_the_leader_of_the_keys_partition() -> None:
    """Goal: the key alone decides the partition. Method: keys of both halves."""

    async def scenario(bench: Leading) -> None:
        bench.lead(2)
        for key in ("a", "b", "c", "d"):
            assert await bench.patcher.patch("Box", key, {"v": b"1"}, None) == 5
            half = PartitionId(partition_key_of_key(key) >> 63)
            assert bench.asked[-1] == PatchState(half, "Box", key, {"v": b"1"}, None)
        assert {request.partition for request in bench.asked} == {0, 1}

    leading(scenario)


def test_patch_waits_for_a_leader_and_tries_again_while_nothing_happened() -> None:
    """Goal: a failover costs time, not the request. Method: the leader is dead, then another one is
    not ready once, then it answers.
    """

    async def scenario(bench: Leading) -> None:
        bench.lead(3)
        bench.failures.append(RpcFailure(RpcCode.NOT_READY, "not yet"))
        patch = asyncio.ensure_future(bench.patcher.patch("Box", "k", {}, None))
        await asyncio.sleep(1)
        assert not patch.done() and bench.asked == []
        bench.lead(2)
        assert await patch == 5
        assert len(bench.asked) == 2

    leading(scenario)


def test_patch_without_a_leader_ends_at_its_deadline() -> None:
    """Goal: bounded, and it says that nothing was written."""

    async def scenario(bench: Leading) -> None:
        bench.lead(2)
        bench.liveness.set(life(2), Believed.DEAD)
        started = asyncio.get_running_loop().time()
        with pytest.raises(NoLeader, match="nothing was written"):
            await bench.patcher.patch("Box", "k", {}, None)
        assert 9.9 < asyncio.get_running_loop().time() - started < 10.5
        assert bench.asked == []

    leading(scenario)


def test_patch_that_may_have_been_applied_is_not_repeated() -> None:
    """Goal: no patch is applied twice. Method: the leader fails after it was asked."""

    async def scenario(bench: Leading) -> None:
        bench.lead(2)
        bench.failures.append(RpcFailure(RpcCode.FAILED, "disk"))
        with pytest.raises(OutcomeUnknown, match="may have been applied"):
            await bench.patcher.patch("Box", "k", {}, None)
        assert len(bench.asked) == 1

    leading(scenario)
