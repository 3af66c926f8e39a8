"""Repairs as operators ask for them: one at a time, by the node itself, watched by anybody."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from restate_node.bifrost.repair_progress import Phase, PlannedCopy, RepairProgress
from restate_node.bifrost.server_repair import ServerRepair
from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.protocol.server_repair import CopyStep
from restate_node.roles.admin.repair_service import RepairService
from restate_node.runtime.tasks import TaskCenter
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.ids import LogId, LogletId, PlainNodeId
from restate_node.types.metadata import MetadataKind
from restate_node.types.nodes import StorageState
from restate_node.types.offsets import LogletOffset
from restate_node.wire.pb.operator_pb2 import GetRepairRequest, StartRepairRequest
from tests.roles.admin.admin_world import life, member, members

STEP = CopyStep(LogletOffset(3), LogletOffset(8), (PlainNodeId(2),))


class HandDriven:
    """A repair that ends when it is told to."""

    def __init__(self, dry_run: bool) -> None:
        self.progress = RepairProgress(dry_run, StorageState.DATA_LOSS)
        self.end = asyncio.Event()
        self.error: Exception | None = None

    async def run(self) -> None:
        self.progress.phase = Phase.COPYING
        self.progress.plan(PlannedCopy(LogId(0), LogletId(1), STEP))
        await self.end.wait()
        self.progress.phase = Phase.DONE
        if self.error is not None:
            raise self.error


class Bench:
    """The service of N1, and the repairs that it made."""

    def __init__(self) -> None:
        self.made: list[HandDriven] = []
        self.tasks = TaskCenter()
        cache = MetadataCache("test")
        cache.joined_as(life(1))
        cache.install(MetadataKind.NODES_CONFIGURATION, members(member(1), member(2)))
        self.service = RepairService(cache, self.tasks, self._make)

    def _make(self, dry_run: bool) -> ServerRepair:
        self.made.append(HandDriven(dry_run))
        return cast(ServerRepair, self.made[-1])

    async def end(self) -> None:
        """The last repair ends, and its task with it."""
        self.made[-1].end.set()
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(self.tasks) == 0


def start(node: int = 1, dry_run: bool = False) -> StartRepairRequest:
    return StartRepairRequest(node=node, dry_run=dry_run)


async def refusal(bench: Bench, request: StartRepairRequest | GetRepairRequest) -> GrpcError:
    with pytest.raises(GrpcError) as raised:
        if isinstance(request, StartRepairRequest):
            await bench.service.start_repair(request)
        else:
            await bench.service.get_repair(request)
    return raised.value


async def test_one_repair_at_a_time() -> None:
    """Goal: who starts again watches the one that runs; a dry run is not taken for a repair; when
    it is over the next one may begin."""
    bench = Bench()
    await bench.service.start_repair(start())
    await asyncio.sleep(0)
    joined = await bench.service.start_repair(start())
    assert (joined.phase, len(bench.made)) == ("copying", 1)
    assert (
        "a repair of this log server is under way"
        in (await refusal(bench, start(dry_run=True))).message
    )
    await bench.end()
    done = await bench.service.get_repair(GetRepairRequest(node=1))
    assert (done.phase, done.storage_state_before) == ("done", "data-loss")
    assert [(m.from_offset, m.to_offset, list(m.sources)) for m in done.missing] == [(3, 7, [2])]
    assert done.records_copied == 5
    await bench.service.start_repair(start(dry_run=True))
    assert [one.progress.dry_run for one in bench.made] == [False, True]
    await bench.end()


async def test_wrong_questions() -> None:
    """Goal: no other node is repaired by mistake; a repair that nobody knows of is no success."""
    bench = Bench()
    for request in (start(2), GetRepairRequest(node=2)):
        error = await refusal(bench, request)
        assert error.code is StatusCode.INVALID_ARGUMENT and "N2 itself" in error.message
    error = await refusal(bench, GetRepairRequest(node=1))
    assert error.code is StatusCode.FAILED_PRECONDITION and "start it again" in error.message
    assert bench.made == []


async def test_a_repair_that_fails_leaves_the_node_alone() -> None:
    """Goal: an error that nobody expected ends the repair and nothing else."""
    bench = Bench()
    await bench.service.start_repair(start())
    bench.made[0].error = RuntimeError("unforeseen")
    await bench.end()
    assert not bench.tasks.is_stopping
    await bench.service.start_repair(start())
    assert len(bench.made) == 2
    await bench.end()
