"""What every node does, in the eyes of this admin node.

    every heartbeat ──┐              ┌─▶ GetNodeState to every member, in parallel
    somebody died ────┤─▶ a round ───┤
    a leader moved ───┘              └─▶ ClusterState, published with every answer

A node that does not answer, or that the failure detector has given up, is dead, and was last seen
when it last answered or gossiped. A member that never spoke is dead too: leaving it out would hide
it from the operator. Answers are published as they come, because a node that hangs takes a whole
timeout to be silent, and its neighbours have news meanwhile.

Invariants: every member is either alive or dead after the first round; a node that was removed is
gone after the next; `settled` returns only once all members were asked.

Driven by its own task; read by the controller and by `restatectl status`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeAlias

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.fabric.fabric import Fabric
from restate_node.roles.admin.bell import Bell
from restate_node.roles.admin.liveness import Liveness
from restate_node.runtime.ports import Clock
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.runtime.watch import Watch
from restate_node.types.fabric import RpcFailure
from restate_node.types.gossip import NodeState as Believed
from restate_node.types.ids import GenerationalNodeId, PartitionId, PlainNodeId
from restate_node.types.metadata import MetadataVersions
from restate_node.types.nodes import Node
from restate_node.types.processor_messages import GetNodeState, NodeState, ProcessorStatus

POLL_TIMEOUT_S: Final = 1.0
DEBOUNCE_S: Final = 0.02
"""Leaders move in groups: one round for all of them."""
SETTLED_WAIT_S: Final = POLL_TIMEOUT_S + 1.0


@dataclass(frozen=True, slots=True)
class AliveNode:
    """A node that answered."""

    node: GenerationalNodeId
    heartbeat_at_ms: int
    uptime_s: int
    processors: Mapping[PartitionId, ProcessorStatus] = field(
        default_factory=lambda: MappingProxyType({})
    )


@dataclass(frozen=True, slots=True)
class DeadNode:
    """A node that did not; None: it never gave a sign of life."""

    last_seen_ms: int | None


NodeEntry: TypeAlias = AliveNode | DeadNode


@dataclass(frozen=True, slots=True)
class ClusterState:
    """All members. `refreshed_at` is monotonic time."""

    refreshed_at: float = 0.0
    versions: MetadataVersions = field(default_factory=MetadataVersions)
    nodes: Mapping[PlainNodeId, NodeEntry] = field(default_factory=lambda: MappingProxyType({}))

    def alive(self) -> tuple[AliveNode, ...]:
        """Those that answered, by id."""
        entries = (self.nodes[node] for node in sorted(self.nodes))
        return tuple(entry for entry in entries if isinstance(entry, AliveNode))


class ClusterStateCollector:
    """Keeps `state` fresh; one per admin node."""

    def __init__(
        self,
        metadata: MetadataCache,
        liveness: Liveness,
        fabric: Fabric,
        clock: Clock,
        interval_ms: int,
    ) -> None:
        self._metadata = metadata
        self._liveness = liveness
        self._fabric = fabric
        self._clock = clock
        self._interval_s = interval_ms / 1000
        self._bell = Bell()
        self._complete = asyncio.Event()
        self.state: Watch[ClusterState] = Watch(ClusterState())

    def start(self, tasks: TaskCenter) -> None:
        """Collect from now on."""
        liveness = self._liveness
        watches = (self._metadata.nodes, liveness.states, liveness.alive, liveness.leaders)
        self._bell.listen(tasks, "cluster state watch", watches)
        tasks.spawn(TaskKind.ADMIN, "cluster state", self._run())

    def hurry(self) -> None:
        """Ask everybody now, not at the next heartbeat."""
        self._bell.ring()

    async def settled(self) -> ClusterState:
        """The state once every member was asked at least once; soon in any case.

        What a life has said that is over by now is left out, though the round that will notice has
        not come: an operator who restarts a node must not see its former processors as the present
        ones.
        """
        try:
            async with asyncio.timeout(SETTLED_WAIT_S):
                await self._complete.wait()
        except TimeoutError:
            pass
        state = self.state.value
        present = {node: self._present(node, entry) for node, entry in state.nodes.items()}
        return replace(state, nodes=MappingProxyType(present))

    def _present(self, node: PlainNodeId, entry: NodeEntry) -> NodeEntry:
        if isinstance(entry, DeadNode):
            return entry
        member = self._metadata.nodes.value.node(node)
        is_over = self._liveness.state_of(node) in (Believed.DEAD, Believed.FAILING_OVER)
        if is_over or (member is not None and member.current_generation != entry.node):
            return DeadNode(self._last_seen(node))
        return entry

    # ------------------------------------------------------------ rounds

    async def _run(self) -> None:
        """Cancellation ends a round between two answers; each is published whole."""
        while True:
            await self._round()
            if await self._bell.wait(self._interval_s):
                await asyncio.sleep(DEBOUNCE_S)

    async def _round(self) -> None:
        members = self._metadata.nodes.value.members()
        self._keep_only({member.id for member in members})
        await asyncio.gather(*(self._poll(member) for member in members))
        if members:
            self._complete.set()

    async def _poll(self, member: Node) -> None:
        if self._liveness.state_of(member.id) is Believed.DEAD:
            self._publish(member.id, DeadNode(self._last_seen(member.id)))
            return
        try:
            answer = await self._fabric.call(
                member.current_generation, GetNodeState(), NodeState, timeout_s=POLL_TIMEOUT_S
            )
        except RpcFailure:
            self._publish(member.id, DeadNode(self._last_seen(member.id)))
            return
        processors = {status.partition: status for status in answer.processors}
        now_ms = self._clock.unix_ms()
        self._publish(member.id, AliveNode(answer.node, now_ms, answer.uptime_s, processors))

    def _last_seen(self, node: PlainNodeId) -> int | None:
        """The latest of its gossip and its answers."""
        gossiped = self._liveness.last_seen_ms(node)
        match self.state.value.nodes.get(node):
            case AliveNode(heartbeat_at_ms=answered):
                return max(answered, gossiped or 0)
            case DeadNode(last_seen_ms=known):
                return max(known or 0, gossiped or 0) or None
            case None:
                return gossiped

    # ------------------------------------------------------------ publishing

    def _publish(self, node: PlainNodeId, entry: NodeEntry) -> None:
        """Entries of nodes that were removed while they were asked are dropped."""
        if self._metadata.nodes.value.node(node) is None:
            return
        self._set({**self.state.value.nodes, node: entry})

    def _keep_only(self, members: set[PlainNodeId]) -> None:
        nodes = self.state.value.nodes
        if not members.issuperset(nodes):
            self._set({node: entry for node, entry in nodes.items() if node in members})

    def _set(self, nodes: Mapping[PlainNodeId, NodeEntry]) -> None:
        self.state.set(
            replace(
                self.state.value,
                refreshed_at=self._clock.monotonic(),
                versions=self._metadata.versions(),
                nodes=MappingProxyType(dict(nodes)),
            )
        )
