"""What operators may do to a node's state without force, as tables."""

from __future__ import annotations

from dataclasses import replace

import pytest

from restate_node.types.ids import GenerationalNodeId, LogId, PlainNodeId, SegmentIndex, Version
from restate_node.types.ids import loglet_id as loglet
from restate_node.types.logs import (
    Chain,
    InMemorySegment,
    Logs,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
    SealMarker,
)
from restate_node.types.nodes import (
    MetadataServerState,
    Node,
    NodeLocation,
    Role,
    StorageState,
    WorkerState,
)
from restate_node.types.offsets import Lsn
from restate_node.types.replication import ReplicationProperty
from restate_node.types.storage_rules import (
    new_nodeset_candidates,
    new_replica_candidates,
    shortage,
    unsafe_removal,
    unsafe_storage_change,
    unsafe_worker_change,
)

ONE = ReplicationProperty.of_nodes(1)
REPLICATED = ProviderConfiguration(ProviderKind.REPLICATED, ONE)


def node(number: int = 1, location: str = "", roles: frozenset[Role] = frozenset(Role)) -> Node:
    return Node(
        f"node-{number}",
        GenerationalNodeId(PlainNodeId(number), 1),
        "http://node/",
        roles,
        storage_state=StorageState.READ_WRITE,
        worker_state=WorkerState.ACTIVE,
        location=NodeLocation.parse(location),
    )


def logs(*segments: object, provider: ProviderConfiguration = REPLICATED) -> Logs:
    return Logs(Version(1), {LogId(0): Chain(tuple(segments))}, provider)  # type: ignore[arg-type]


def segment(*members: int) -> ReplicatedSegment:
    nodeset = tuple(PlainNodeId(n) for n in members)
    params = ReplicatedParams(
        loglet(LogId(0), SegmentIndex(0)), GenerationalNodeId(nodeset[0], 1), ONE, nodeset
    )
    return ReplicatedSegment(Lsn(1), SegmentIndex(0), params)


SAFE_STORAGE = {
    ("provisioning", "disabled"),
    ("read-only", "read-write"),
    ("read-write", "read-only"),
}
SAFE_WORKER = {("active", "draining"), ("draining", "active"), ("disabled", "active")}


@pytest.mark.parametrize("before", StorageState)
@pytest.mark.parametrize("after", StorageState)
def test_storage_changes(before: StorageState, after: StorageState) -> None:
    """Goal: exactly the safe changes pass, and a refusal names both states. How: all pairs."""
    reason = unsafe_storage_change(replace(node(), storage_state=before), after)
    if before is after or (before.value, after.value) in SAFE_STORAGE:
        assert reason is None
    else:
        assert reason and f"`{before.value}`" in reason and f"`{after.value}` is unsafe" in reason


@pytest.mark.parametrize("before", WorkerState)
@pytest.mark.parametrize("after", WorkerState)
def test_worker_changes(before: WorkerState, after: WorkerState) -> None:
    """Goal: the same for workers, where provisioning may become anything. How: all pairs."""
    reason = unsafe_worker_change(replace(node(), worker_state=before), after)
    safe = before in (after, WorkerState.PROVISIONING)
    assert (reason is None) == (safe or (before.value, after.value) in SAFE_WORKER)


def test_the_role_is_needed() -> None:
    """Goal: states of roles that a node has not cannot be set. How: a node without either."""
    admin = node(roles=frozenset({Role.ADMIN}))
    assert "role log-server" in (unsafe_storage_change(admin, StorageState.READ_WRITE) or "")
    assert "role worker" in (unsafe_worker_change(admin, WorkerState.ACTIVE) or "")


@pytest.mark.parametrize(
    ("changes", "held", "expected"),
    [
        ({"metadata_server_state": MetadataServerState.MEMBER}, logs(segment(2)), "metadata clus"),
        ({}, logs(segment(2)), "is in read-write"),
        ({"storage_state": StorageState.DISABLED}, logs(segment(1)), None),
        ({"storage_state": StorageState.READ_ONLY}, logs(segment(1, 2)), "segment 0 of log 0"),
        ({"storage_state": StorageState.GONE}, logs(segment(1, 2)), "segment 0 of log 0"),
        ({"storage_state": StorageState.READ_ONLY}, logs(segment(2, 3)), None),
        ({"storage_state": StorageState.DATA_LOSS}, logs(segment(2)), None),
        (
            {"storage_state": StorageState.READ_ONLY},
            logs(segment(2), SealMarker(Lsn(5), SegmentIndex(0), 1)),
            None,
        ),
        (
            {"storage_state": StorageState.READ_ONLY},
            logs(InMemorySegment(Lsn(1), SegmentIndex(0), 7)),
            "in-memory",
        ),
        (
            {"storage_state": StorageState.READ_ONLY},
            logs(segment(2), provider=ProviderConfiguration(ProviderKind.LOCAL)),
            "log provider",
        ),
    ],
)
def test_removal(changes: dict[str, object], held: Logs, expected: str | None) -> None:
    """Goal: a node goes only when nothing needs it, and the refusal says what does."""
    reason = unsafe_removal(replace(node(), **changes), held)  # type: ignore[arg-type]
    assert reason is None if expected is None else expected in (reason or "")


@pytest.mark.parametrize(
    ("replication", "locations", "expected"),
    [
        ("2", ["", ""], None),
        ("2", [""], "available=1 nodes but replication=2"),
        ("{node: 3, zone: 2}", ["r.a", "r.a", "r.a"], "available=1 zones but replication=2"),
        ("{node: 3, zone: 2}", ["r.a", "r.a", "r.b"], None),
        ("{node: 2, region: 2}", ["r.a", "r.b"], "available=1 regions but replication=2"),
        ("{node: 2, region: 2}", ["r.a", "s.a"], None),
    ],
)
def test_shortage(replication: str, locations: list[str], expected: str | None) -> None:
    """Goal: the scope that lacks places is named. How: nodes at these locations."""
    nodes = [node(number, location) for number, location in enumerate(locations, start=1)]
    assert shortage(ReplicationProperty.parse(replication), nodes) == expected


def test_candidates_are_fit() -> None:
    """Goal: only read-write log servers and active workers take new work."""
    fit = node(1)
    unfit = replace(
        node(2), storage_state=StorageState.READ_ONLY, worker_state=WorkerState.DRAINING
    )
    other = node(3, roles=frozenset({Role.ADMIN}))
    assert new_nodeset_candidates([fit, unfit, other]) == [fit]
    assert new_replica_candidates([fit, unfit, other]) == [fit]
