"""Why the control plane decided as it did: what is kept of each decision, and for whom.

    controller (this node's turn) ──▶ events of partitions ──┐
    log improvement (leaders here) ─▶ events of logs ────────┴─▶ OperatorSvc.GetEvents

Every node keeps its own decisions only; the operator's tool asks all nodes and merges. What else
was possible is part of the story: each alternative says why it was not taken.
"""

from __future__ import annotations

from collections.abc import Iterable

from restate_node.protocol.cluster_view import ClusterView
from restate_node.types.decision_events import DecisionEvent
from restate_node.types.ids import PartitionId, PlainNodeId, plain_text
from restate_node.types.nodes import Node, Role, WorkerState
from restate_node.types.partitions import EpochMetadata
from restate_node.wire.pb import operator_pb2 as messages

REPLICATION_EVERYWHERE = "every worker"


def partition_inputs(view: ClusterView, partition: PartitionId) -> dict[str, str]:
    """What was known of the partition and of its possible hosts."""
    epoch = view.epochs.get(partition)
    replication = view.table.replication
    inputs = {
        "replication": REPLICATION_EVERYWHERE if replication is None else str(replication),
        "active workers alive": _names(node.id for node in view.eligible()),
    }
    if epoch is not None:
        inputs |= _epoch_inputs(epoch)
        inputs["caught up"] = _names(n for n in epoch.replicas if view.has_caught_up(n, partition))
    if (target := view.targets.get(partition)) is not None:
        inputs["appointed leader"] = plain_text(target)
    return inputs


def partition_alternatives(
    view: ClusterView, partition: PartitionId, chosen: Iterable[PlainNodeId]
) -> tuple[str, ...]:
    """Every worker that was not chosen, and what it was."""
    taken = frozenset(chosen)
    others = [node for node in view.nodes.with_role(Role.WORKER) if node.id not in taken]
    return tuple(f"{plain_text(node.id)}: {_state(view, partition, node)}" for node in others)


def event_message(event: DecisionEvent, node: str) -> messages.Event:
    """On the wire; `node` says who decided."""
    return messages.Event(
        at_ms=event.at_ms,
        node=node,
        decision=event.decision,
        reason=event.reason,
        inputs=dict(event.inputs),
        alternatives=event.alternatives,
    )


def _epoch_inputs(epoch: EpochMetadata) -> dict[str, str]:
    inputs: dict[str, str] = {}
    if epoch.placed is not None:
        inputs["current replicas"] = _names(epoch.placed.replica_set)
    if epoch.next is not None:
        inputs["next replicas"] = _names(epoch.next.replica_set)
    if epoch.placement_policy.is_frozen:
        inputs["placement frozen"] = epoch.placement_policy.freeze_reason or ""
    if epoch.leadership_policy.is_frozen:
        inputs["leadership frozen"] = epoch.leadership_policy.freeze_reason or ""
    if epoch.leadership_policy.affinity is not None:
        inputs["leadership pinned"] = str(epoch.leadership_policy.affinity)
    return inputs


def _state(view: ClusterView, partition: PartitionId, node: Node) -> str:
    if node.worker_state is not WorkerState.ACTIVE:
        return f"{node.worker_state.value}, takes no partitions"
    if node.current_generation not in view.alive:
        return "expected back" if node.id in view.expected_back else "not alive"
    if view.status(node.id, partition) is None:
        return "alive, does not run it"
    return "alive, caught up" if view.has_caught_up(node.id, partition) else "alive, behind"


def _names(nodes: Iterable[PlainNodeId]) -> str:
    return "[" + ", ".join(plain_text(node) for node in sorted(nodes)) + "]"
