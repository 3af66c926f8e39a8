"""What the admin role asks of the failure detector, and no more.

`cluster.membership.Membership` is the implementation of every node; tests of the role bring a
hand-driven one, because what the role does about a death must not depend on how deaths are found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from restate_node.runtime.watch import Watch
from restate_node.types.gossip import Leadership, NodeState
from restate_node.types.ids import GenerationalNodeId, PartitionId, PlainNodeId


class Liveness(Protocol):
    """Who is up and who leads, as this node believes."""

    @property
    def states(self) -> Watch[Mapping[PlainNodeId, NodeState]]: ...

    @property
    def alive(self) -> Watch[frozenset[GenerationalNodeId]]: ...

    @property
    def leaders(self) -> Watch[Mapping[PartitionId, Leadership]]: ...

    def state_of(self, node: PlainNodeId) -> NodeState: ...

    def last_seen_ms(self, node: PlainNodeId) -> int | None: ...
