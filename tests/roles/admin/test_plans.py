"""Plans: what would become of logs and partitions, and which changes are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from restate_node.roles.admin.plans import plan_logs, plan_partitions
from restate_node.roles.admin.storage_states import plan_storage_states
from restate_node.roles.admin.worker_states import plan_worker_states
from restate_node.types.ids import LogId, PartitionId, PlainNodeId, SegmentIndex, Version, loglet_id
from restate_node.types.logs import (
    Chain,
    Logs,
    ProviderConfiguration,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
    SealMarker,
)
from restate_node.types.nodes import StorageState, WorkerState
from restate_node.types.offsets import Lsn
from restate_node.types.partitions import EpochMetadata, PartitionTable, PlacementPolicy
from restate_node.types.replication import ReplicationProperty
from tests.roles.admin.admin_world import life, member, members

THREE = members(member(1), member(2), member(3))
ALIVE = frozenset(life(n) for n in (1, 2, 3))


def copies(count: int) -> ReplicationProperty:
    return ReplicationProperty.of_nodes(count)


def ids(*nodes: int) -> tuple[PlainNodeId, ...]:
    return tuple(PlainNodeId(n) for n in nodes)


def logs(nodeset: tuple[int, ...], now: int, wanted: int, sealed: bool = False) -> Logs:
    """Log 0 with `now` copies, in a cluster that wants `wanted`."""
    number = loglet_id(LogId(0), SegmentIndex(0))
    params = ReplicatedParams(number, life(nodeset[0]), copies(now), ids(*nodeset))
    segments: list[object] = [ReplicatedSegment(Lsn(1), SegmentIndex(0), params)]
    if sealed:
        segments.append(SealMarker(Lsn(4), SegmentIndex(0), 1))
    provider = ProviderConfiguration(ProviderKind.REPLICATED, copies(wanted))
    return Logs(Version(1), {LogId(0): Chain(tuple(segments))}, provider)  # type: ignore[arg-type]


def placed(*replicas: int, want: int = 2) -> EpochMetadata:
    return EpochMetadata(Version(0)).set_initial_current(copies(want), ids(*replicas), 0)


@pytest.mark.parametrize(
    ("before", "present", "following", "reason"),
    [
        (
            logs((1, 2), 1, 2),
            "{node: 1} on [N1, N2]",
            "{node: 2} on [N1, N2, N3]",
            "replication ch",
        ),
        (logs((1, 2, 3), 2, 2), "{node: 2} on [N1, N2, N3]", None, "nothing would be better"),
        (logs((1, 2), 1, 1, sealed=True), "sealed", None, "sealed until the next append"),
        (logs((1, 2, 3), 2, 5), "{node: 2} on [N1, N2, N3]", None, "cannot be met"),
    ],
)
def test_logs(before: Logs, present: str, following: str | None, reason: str) -> None:
    """Goal: the plan of a log is what its writer would do. How: by configuration."""
    plan = plan_logs(before, THREE)[LogId(0)]
    assert (plan.present, plan.next) == (present, following)
    assert reason in plan.reason


def test_partitions() -> None:
    """Goal: placed, frozen, unplaced and unplaceable partitions each say what becomes of them."""
    table = PartitionTable.equal_ranges(3, copies(2))
    frozen = placed(1, 2).with_placement_policy(PlacementPolicy("migration"))
    epochs = {PartitionId(0): placed(1, want=1), PartitionId(1): frozen}
    plans = plan_partitions(table, THREE, epochs, ALIVE)
    raised = plans[PartitionId(0)]
    assert raised.present == "{node: 1} on [N1]"
    assert raised.next is not None and raised.next.startswith("{node: 2} on [N1, ")
    assert raised.reason == "replication changes from {node: 1} to {node: 2}"
    assert (plans[PartitionId(1)].next, plans[PartitionId(1)].reason) == (None, "frozen: migration")
    assert plans[PartitionId(2)].present == "nowhere" and plans[PartitionId(2)].next
    lonely = plan_partitions(table, THREE, epochs, ALIVE - {life(2), life(3)})
    assert "not enough" in lonely[PartitionId(0)].reason


@pytest.mark.parametrize(
    ("nodeset", "wanted", "changed", "state", "refusal", "warning"),
    [
        ((1, 2, 3), 2, (3,), "read-only", None, "one of [N1, N2] fails"),
        ((1, 2, 3), 2, (2, 3), "read-only", "lost the ability to generate nodesets", None),
        ((1, 2, 3), 1, (3,), "read-only", None, None),
        ((1, 2), 1, (1,), "data-loss", "may have no other copy", None),
        ((1, 2, 3), 2, (3,), "gone", None, "one of [N1, N2] fails"),
        ((2, 3), 1, (1,), "disabled", None, None),
    ],
)
def test_storage_states(
    nodeset: tuple[int, ...],
    wanted: int,
    changed: tuple[int, ...],
    state: str,
    refusal: str | None,
    warning: str | None,
) -> None:
    """Goal: new nodesets stay possible, old records keep a copy, a thin cluster is named."""
    plan = plan_storage_states(
        THREE, logs(nodeset, wanted, wanted), ids(*changed), StorageState(state)
    )
    assert (plan.refusal is None) == (refusal is None)
    assert refusal is None or refusal in (plan.refusal or "")
    assert bool(plan.warnings) == (warning is not None)
    assert warning is None or warning in plan.warnings[0]


def test_storage_state_of_a_bad_cluster_may_be_changed() -> None:
    """Goal: a refusal only for what the change itself breaks. How: one log server of two is left
    for two copies already, then a third node, unfit, is disabled."""
    unfit = replace(member(3), storage_state=StorageState.READ_ONLY)
    other = replace(member(2), storage_state=StorageState.READ_ONLY)
    nodes = members(member(1), other, unfit)
    plan = plan_storage_states(nodes, logs((1, 2), 2, 2), ids(3), StorageState.DISABLED)
    assert plan.refusal is None


@pytest.mark.parametrize(
    ("changed", "replication", "refused"),
    [((3,), 2, False), ((2, 3), 2, True), ((2, 3), None, False), ((1, 2, 3), None, True)],
)
def test_worker_states(changed: tuple[int, ...], replication: int | None, refused: bool) -> None:
    """Goal: enough active workers must remain; what a drained worker ran moves to others."""
    limit = None if replication is None else copies(replication)
    table = PartitionTable.equal_ranges(1, limit)
    epochs = {PartitionId(0): placed(2, 3)}
    plan = plan_worker_states(THREE, table, epochs, ALIVE, ids(*changed), WorkerState.DRAINING)
    assert (plan.refusal is not None) == refused
    if changed == (3,):
        assert plan.partitions[PartitionId(0)].next == "{node: 2} on [N1, N2]"
