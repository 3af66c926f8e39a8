"""Bugs on purpose in what places logs, replicas and leaders, and in what operators are told; see
`plants`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import msgspec

from restate_node.protocol import leaders
from restate_node.protocol.cluster_view import ClusterView
from restate_node.roles.admin import controller
from restate_node.roles.admin.cluster_state import (
    AliveNode,
    ClusterStateCollector,
    DeadNode,
    NodeEntry,
)
from restate_node.roles.admin.controller import Controller
from restate_node.sim.plant import Plant
from restate_node.sim.substitution import Substitution
from restate_node.types.ids import PartitionId, PlainNodeId
from restate_node.types.nodes import Node, StorageState, WorkerState
from restate_node.types.offsets import Lsn

Publish = Callable[[ClusterStateCollector, PlainNodeId, NodeEntry], None]
Present = Callable[[ClusterStateCollector, PlainNodeId, NodeEntry], NodeEntry]


def _the_silent_are_as_they_were(inner: Publish) -> Publish:
    """A node that does not answer keeps the row of its last answer."""

    def publish(collector: ClusterStateCollector, node: PlainNodeId, entry: NodeEntry) -> None:
        known = collector.state.value.nodes.get(node)
        if not (isinstance(entry, DeadNode) and isinstance(known, AliveNode)):
            inner(collector, node, entry)

    return publish


def _all_are_where_the_first_is(inner: Present) -> Present:
    """Each row of a partition tells how far some replica has got, and not that of the row."""

    def present(collector: ClusterStateCollector, node: PlainNodeId, entry: NodeEntry) -> NodeEntry:
        del node
        if isinstance(entry, DeadNode):
            return entry
        furthest: dict[PartitionId, Lsn] = {}
        for other in collector.state.value.alive():
            for number, row in other.processors.items():
                furthest[number] = max(row.applied_lsn or Lsn(0), furthest.get(number, Lsn(0)))
        rows = {
            number: msgspec.structs.replace(row, applied_lsn=furthest[number] or None)
            for number, row in entry.processors.items()
        }
        return replace(entry, processors=rows)

    del inner
    return present


def _whoever_can_write(inner: property) -> property:
    """Who can take records is taken for who should."""
    del inner
    return property(lambda state: state.can_write)


Overload = Callable[[Any, PlainNodeId, PlainNodeId], str | None]


def _to_whoever_leads_less(inner: Overload) -> Overload:
    """Every leader moves to a node that leads fewer partitions, which then leads more."""

    def overload(election: Any, incumbent: PlainNodeId, chosen: PlainNodeId) -> str | None:
        load: Counter[PlainNodeId] = election._load
        return "it leads less" if load[chosen] < load[incumbent] else None

    del inner
    return overload


Eligible = Callable[[ClusterView], tuple[Node, ...]]


def _drained_ones_too(inner: Eligible) -> Eligible:
    """Workers that drain take partitions like all others."""

    def eligible(view: ClusterView) -> tuple[Node, ...]:
        living = view.living()
        drained = (
            node
            for node in view.nodes.members()
            if node.worker_state is WorkerState.DRAINING and node.id in living
        )
        return (*inner(view), *drained)

    return eligible


class Uncounted(Counter[PlainNodeId]):
    """Says that no node leads anything."""

    def __init__(self, led: Iterable[PlainNodeId]) -> None:
        del led
        super().__init__()

    def __setitem__(self, node: PlainNodeId, count: int) -> None:
        """Forgotten at once."""


def _nobody_counts(inner: object) -> type[Uncounted]:
    del inner
    return Uncounted


def _never(inner: object) -> Callable[..., bool]:
    del inner
    return lambda *_: False


CONTROL_PLANTS: Final = (
    Plant(
        "silence-is-health",
        "status shows a node that does not answer as it was when it last did, and of all replicas "
        "of a partition the furthest (H1)",
        (
            Substitution(ClusterStateCollector, "_publish", _the_silent_are_as_they_were),
            Substitution(ClusterStateCollector, "_present", _all_are_where_the_first_is),
        ),
    ),
    Plant(
        "read-only-in-nodesets",
        "log servers that an operator has set to read-only are chosen for new nodesets (C1)",
        (Substitution(StorageState, "in_new_nodesets", _whoever_can_write),),
    ),
    Plant(
        "leaders-swing",
        "a leader moves to whichever replica's node leads fewer partitions, and back (C2)",
        (Substitution(vars(leaders)["_Election"], "_overload", _to_whoever_leads_less),),
    ),
    Plant(
        "drained-worker-is-eligible",
        "a worker that drains keeps its partitions, and gets new ones (C3)",
        (Substitution(ClusterView, "eligible", _drained_ones_too),),
    ),
    Plant(
        "leaders-uncounted",
        "leaders are chosen without a look at how many partitions a node leads already (C4)",
        (Substitution(leaders, "Counter", _nobody_counts),),
    ),
    Plant(
        "hasty-controller",
        "a controller decides before it has heard everybody, and whoever was told something wrong "
        "is not told again (C5)",
        (
            Substitution(Controller, "_is_unheard", _never),
            Substitution(controller, "_is_doubtful", _never),
        ),
    ),
)
