"""Which nodes run which partition, and which of them leads: the decisions of the controller.

    ClusterView --plan--> SetInitialReplicas | Reconfigure | CompleteReconfiguration |
                          AppointLeader, …

The view is all that the controller knows, frozen; the plan is a function of it. Carrying out a
plan and looking again must come to rest: a view in which the plan has been obeyed yields an empty
plan, because every move costs the users of a partition some time.

`replica_sets` says where partitions belong and `leaders` who leads them; here is the order in
which a partition moves:

    nothing placed    -> SetInitialReplicas
    next is ready     -> CompleteReconfiguration   a living member of next has caught up, or next is
                                                   empty, or every present member is disabled
    other set wanted  -> Reconfigure               unless an operator froze the placement

A move that was begun is completed even when frozen: that is how an operator sets a replica set
and pins it. Every decision says why it was taken; operators read that.

Driven by the controller of the admin role, which writes epoch metadata by compare and swap and
tells workers to lead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from restate_node.protocol.cluster_view import ClusterView
from restate_node.protocol.leaders import AppointLeader, appointments
from restate_node.protocol.replica_sets import (
    ReplicaSet,
    Wanted,
    latest_set,
    wanted_replica_sets,
)
from restate_node.types.ids import PartitionId, PlainNodeId, plain_text
from restate_node.types.nodes import WorkerState
from restate_node.types.partitions import EpochMetadata


@dataclass(frozen=True, slots=True)
class SetInitialReplicas:
    """Write the first current replica set (`EpochMetadata.set_initial_current`)."""

    partition: PartitionId
    wanted: Wanted
    reason: str


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """Write the next replica set (`EpochMetadata.reconfigure`)."""

    partition: PartitionId
    wanted: Wanted
    reason: str


@dataclass(frozen=True, slots=True)
class CompleteReconfiguration:
    """Make the next replica set the current one (`EpochMetadata.complete`)."""

    partition: PartitionId
    reason: str


Decision: TypeAlias = SetInitialReplicas | Reconfigure | CompleteReconfiguration | AppointLeader


def plan(view: ClusterView) -> list[Decision]:
    """What to do now: replica sets by partition, then leaders by partition."""
    wanted = wanted_replica_sets(view)
    placements = [_place(view, partition, wanted.get(partition)) for partition in view.partitions()]
    decided: list[Decision] = [decision for decision in placements if decision is not None]
    return [*decided, *appointments(view)]


def unplaceable(view: ClusterView) -> list[PartitionId]:
    """Partitions without a replica set for which no workers can be found now."""
    wanted = wanted_replica_sets(view)
    return [
        partition
        for partition in view.partitions()
        if partition not in wanted and not latest_set(view.epochs.get(partition))
    ]


def _place(view: ClusterView, partition: PartitionId, wanted: Wanted | None) -> Decision | None:
    epoch = view.epochs.get(partition)
    if epoch is not None and (ready := _why_complete(view, partition, epoch)) is not None:
        return CompleteReconfiguration(partition, ready)
    if wanted is None:
        return None
    if epoch is None or (epoch.placed is None and epoch.next is None):
        return SetInitialReplicas(partition, wanted, "the partition has no replicas yet")
    reason = _why_reconfigure(epoch, wanted)
    return None if reason is None else Reconfigure(partition, wanted, reason)


def _why_complete(view: ClusterView, partition: PartitionId, epoch: EpochMetadata) -> str | None:
    if epoch.next is None:
        return None
    if not epoch.next.replica_set:
        return "the next replica set is empty"
    living = view.living()
    for node in epoch.next.replica_set:
        if node in living and view.has_caught_up(node, partition):
            return f"{plain_text(node)} has caught up"
    present = () if epoch.current is None else epoch.current.replica_set
    if all(_is_disabled(view, node) for node in present):
        return "every present replica is disabled"
    return None


def _is_disabled(view: ClusterView, node: PlainNodeId) -> bool:
    member = view.nodes.node(node)
    return member is None or member.worker_state is WorkerState.DISABLED


def _why_reconfigure(epoch: EpochMetadata, wanted: Wanted) -> str | None:
    latest = epoch.next or epoch.current
    assert latest is not None, "a placed partition has a replica set"
    if latest.replication != wanted.replication:
        return f"replication changes from {latest.replication} to {wanted.replication}"
    if set(latest.replica_set) == set(wanted.replica_set):
        return None
    return f"replicas move from {_names(latest.replica_set)} to {_names(wanted.replica_set)}"


def _names(nodes: ReplicaSet) -> str:
    return "[" + ", ".join(plain_text(node) for node in sorted(nodes)) + "]"
