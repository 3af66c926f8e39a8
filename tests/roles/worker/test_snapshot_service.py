"""What operators hear of the snapshot repository: lists, verdicts, and why there are none."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable
from typing import Any

import pytest

from restate_node.roles.worker.control_plane import SnapshotsSvc
from restate_node.roles.worker.snapshot_repository import RepositoryIdentity
from restate_node.sim.objects import ObjectFaults
from restate_node.types.grpc_status import GrpcError, StatusCode
from restate_node.types.snapshots import SnapshotId
from restate_node.wire.pb import operator_pb2 as messages
from tests.roles.worker.snapshot_world import DAMAGE, Nodes, damage, publish, simulated

UNKNOWN = str(SnapshotId.create(1, 1))


async def status_of(call: Awaitable[Any]) -> StatusCode:
    with pytest.raises(GrpcError) as raised:
        await call
    return raised.value.code


async def listed(service: SnapshotsSvc, partition: int = 0) -> list[messages.RetainedSnapshot]:
    request = messages.ListSnapshotsRequest(partition_id=partition)
    return list((await service.list_snapshots(request)).snapshots)


async def verified(service: SnapshotsSvc, snapshot: str) -> list[messages.VerifySnapshotResponse]:
    request = messages.VerifySnapshotRequest(partition_id=0, snapshot_id=snapshot)
    return [response async for response in service.verify_snapshot(request)]


def test_a_list_tells_what_the_manifests_say() -> None:
    """Goal: newest first, with sizes; a lost manifest is named, its snapshot stays in the list.
    Method: publish two, remove the older one's manifest."""

    async def scenario() -> None:
        nodes = Nodes()
        repository = nodes.node(retained=2)
        service = SnapshotsSvc(repository, nodes.tasks)
        assert await listed(service) == []
        older = (await publish(repository, 10)).snapshot
        newer = (await publish(repository, 20)).snapshot
        await damage(nodes, f"pre/fix/0/{older.path}", "no manifest")
        first, second = await listed(service)
        assert (first.snapshot_id, first.min_applied_lsn) == (str(newer.snapshot_id), 20)
        assert (first.files, first.log_id, first.node_name) == (3, 0, "node-1")
        assert first.size_bytes == 700 * 3 * len("20/n ") and not first.HasField("problem")
        assert second.problem == "metadata.json is missing"
        assert not second.HasField("size_bytes")

    simulated(1, scenario)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_verification_names_the_bad_file(kind: str) -> None:
    """Goal: progress, then a verdict with the file in it; the good one is good. Method: every kind
    of damage to the newer of two."""

    async def scenario() -> None:
        nodes = Nodes()
        repository = nodes.node(retained=2)
        service = SnapshotsSvc(repository, nodes.tasks)
        older = (await publish(repository, 10)).snapshot
        newer = (await publish(repository, 20)).snapshot
        await damage(nodes, f"pre/fix/0/{newer.path}", kind)
        *reports, last = await verified(service, str(newer.snapshot_id))
        assert reports and all(report.HasField("read_bytes") for report in reports)
        assert re.match(r"000002\.sst|metadata\.json", last.verdict.problem)
        *_, last = await verified(service, str(older.snapshot_id))
        assert last.HasField("verdict") and not last.verdict.HasField("problem")

    simulated(1, scenario)


def test_a_slow_store_is_reported_every_second() -> None:
    """Goal: whoever waits hears something. Method: requests of ten seconds, count the reports."""

    async def scenario() -> None:
        nodes = Nodes()
        published = await publish(nodes.node(), 10)
        nodes.bucket.extra_seconds = 10.0
        service = SnapshotsSvc(nodes.node(2), nodes.tasks)
        *reports, last = await verified(service, str(published.snapshot.snapshot_id))
        assert len(reports) >= 20 and not last.verdict.HasField("problem")

    simulated(1, scenario)


def test_who_hangs_up_ends_the_reading() -> None:
    """Goal: nothing is read for nobody. Method: close the stream after its first report."""

    async def scenario() -> None:
        nodes = Nodes()
        published = await publish(nodes.node(), 10)
        service = SnapshotsSvc(nodes.node(2), nodes.tasks)
        request = messages.VerifySnapshotRequest(
            partition_id=0, snapshot_id=str(published.snapshot.snapshot_id)
        )
        stream = service.verify_snapshot(request)
        await anext(stream)
        await stream.aclose()  # type: ignore[attr-defined]
        await nodes.settled()
        requests = nodes.bucket.requests
        await asyncio.sleep(60)
        assert nodes.bucket.requests == requests

    simulated(1, scenario)


def test_a_snapshot_that_was_replaced_is_not_bad() -> None:
    """Goal: pruned under the reader means gone. Method: publish another one meanwhile."""

    async def scenario() -> None:
        nodes = Nodes()
        repository = nodes.node(retained=1)
        older = (await publish(repository, 10)).snapshot
        nodes.bucket.extra_seconds = 5.0
        service = SnapshotsSvc(nodes.node(2), nodes.tasks)
        reading = asyncio.ensure_future(verified(service, str(older.snapshot_id)))
        await asyncio.sleep(6)
        nodes.bucket.extra_seconds = 0.0
        await publish(repository, 20)
        assert await status_of(reading) is StatusCode.NOT_FOUND

    simulated(1, scenario)


def test_refusals() -> None:
    """Goal: each reason has its status: what is wrong everywhere ends the search of a tool, what
    only this node lacks does not. Method: no repository, wrong ids, another cluster, an outage."""

    async def scenario() -> None:
        nodes = Nodes()
        await publish(nodes.node(), 10)
        bare = SnapshotsSvc(None, nodes.tasks)
        assert await status_of(listed(bare)) is StatusCode.FAILED_PRECONDITION
        assert await status_of(verified(bare, UNKNOWN)) is StatusCode.FAILED_PRECONDITION
        service = SnapshotsSvc(nodes.node(), nodes.tasks)
        assert await status_of(verified(service, "snap_odd")) is StatusCode.INVALID_ARGUMENT
        assert await status_of(verified(service, UNKNOWN)) is StatusCode.NOT_FOUND
        stranger = nodes.node(identity=RepositoryIdentity("other", 1, "node-1"))
        foreign = SnapshotsSvc(stranger, nodes.tasks)
        assert await status_of(listed(foreign)) is StatusCode.FAILED_PRECONDITION
        assert await status_of(verified(foreign, UNKNOWN)) is StatusCode.FAILED_PRECONDITION
        nodes.bucket.faults = ObjectFaults(refused_probability=1.0)
        assert await status_of(listed(service)) is StatusCode.INTERNAL
        assert await status_of(verified(service, UNKNOWN)) is StatusCode.INTERNAL

    simulated(1, scenario)
