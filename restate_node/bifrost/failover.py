"""Lets the log act on what the failure detector says: leave out dead log servers, stop waiting for
them.

A call to a machine that vanished would wait for its time-out. As soon as its node counts as dead,
the connections to it are closed, and every pending call ends; appenders then find another segment,
readers another log server.
"""

from __future__ import annotations

from collections.abc import Mapping

from restate_node.bifrost.replicated.provider import ReplicatedProvider
from restate_node.cluster.membership import Membership
from restate_node.fabric.fabric import Fabric
from restate_node.types.gossip import NodeState
from restate_node.types.ids import GenerationalNodeId, PlainNodeId


class Failover:
    """Follows `Membership.states`; `run` is a task of the node."""

    def __init__(
        self, membership: Membership, provider: ReplicatedProvider, fabric: Fabric
    ) -> None:
        self._membership = membership
        self._provider = provider
        self._fabric = fabric
        self._dead: frozenset[PlainNodeId] = frozenset()

    async def run(self) -> None:
        """Until cancelled."""
        states = self._membership.states
        while True:
            revision = states.revision
            self._follow(states.value)
            await states.changed(revision)

    def _follow(self, states: Mapping[PlainNodeId, NodeState]) -> None:
        dead = frozenset(node for node, state in states.items() if state is NodeState.DEAD)
        for node in sorted(dead - self._dead):
            self._fabric.hang_up(node, "the node counts as dead")
        self._dead = dead
        self._provider.suspect(dead)


def alive_in(membership: Membership, node: GenerationalNodeId) -> bool:
    """Whether that very life of a node is up."""
    return node in membership.alive.value
