"""The cluster controller: looks at everything, asks `protocol.placement` what to do, does it.

    partition table, nodes ─┐                          ┌─▶ epoch metadata (compare-and-swap)
    who is alive ───────────┤─▶ view ─▶ plan ─▶ decide ┤
    processors' states ─────┤                          └─▶ ControlProcessors to workers
    epoch metadata, targets ┘

Every admin node runs one; the living admin node with the smallest id is *the* controller, and the
others do nothing. Two may think so for a moment: what they write is guarded by versions, and a
worker that is told to lead by both claims a higher epoch at worst. A controller remembers whom it
appointed; one that takes over learns it from the processors that lead.

Appointing needs no metadata store, so leaders move even while writes must wait. An appointed node
is given a moment before another one is preferred, because processors of a new partition report one
after the other. A node that died keeps its replicas for a while: most come back. A living node that
missed a poll is taken at its last word: only the failure detector declares deaths.

Invariants: when nothing changes, nothing is written and nobody is told anything; every decision
that took effect is logged and kept in `events` with its reason.

Driven by its own task, woken by the watches of the cache, the failure detector and the collector.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, assert_never

import structlog

from restate_node.cluster.metadata_cache import MetadataCache
from restate_node.cluster.metadata_errors import MetadataError
from restate_node.fabric.fabric import Fabric
from restate_node.protocol import cluster_view
from restate_node.protocol.cluster_view import ClusterView, ProcessorMode
from restate_node.protocol.founding import why_wait
from restate_node.protocol.leaders import AppointLeader
from restate_node.protocol.placement import (
    CompleteReconfiguration,
    Decision,
    Reconfigure,
    SetInitialReplicas,
    plan,
    unplaceable,
)
from restate_node.roles.admin.bell import Bell
from restate_node.roles.admin.cluster_state import AliveNode, ClusterStateCollector
from restate_node.roles.admin.epochs import EpochKeeper, MetadataStore, Placement
from restate_node.roles.admin.instructions import Instructions
from restate_node.roles.admin.liveness import Liveness
from restate_node.roles.admin.why import partition_alternatives, partition_inputs
from restate_node.runtime.ports import Clock
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.types.decision_events import DECISION_EVENTS_MAX, DecisionEvent
from restate_node.types.ids import GenerationalNodeId, PartitionId, PlainNodeId, plain_text
from restate_node.types.nodes import Role
from restate_node.types.processor_messages import (
    Assignment,
    DetailedRunMode,
    ProcessorStatus,
    ReplayStatus,
    RunMode,
)

logger = structlog.get_logger(__name__)

REREAD_S: Final = 10.0
"""Operators change epoch metadata too, and need not tell."""
LOOK_S: Final = 1.0
LOOK_UNSETTLED_S: Final = 0.2
HURRY_S: Final = 10.0
"""How long after a change the workers are asked more often than every heartbeat."""
RETRY_S: Final = 0.2
APPOINTMENT_GRACE_S: Final = 1.0
EXPECTED_BACK_S: Final = 5.0
EXPECTED_BACK_AT_START_S: Final = 10.0
"""When a whole cluster starts, its nodes come one after the other."""
OUTDATED_READ_S: Final = 0.5
HEAR_ALL_S: Final = 3.0
"""How long a new controller waits for the first word of every living worker."""
FOUND_WITHIN_S: Final = 5.0
"""How long the first placement waits for nodes that are known to be on their way."""
REPORT_AGE_MAX_S: Final = 5.0
"""How long a living but silent node is believed to do what it said last."""

_MODES: Final = {
    DetailedRunMode.CANDIDATE: ProcessorMode.CANDIDATE,
    DetailedRunMode.BECOMING_LEADER: ProcessorMode.CANDIDATE,
    DetailedRunMode.LEADER: ProcessorMode.LEADER,
    DetailedRunMode.FOLLOWER: ProcessorMode.FOLLOWER,
}


class NotController(Exception):
    """Another admin node is the controller."""


@dataclass(frozen=True, slots=True)
class ControllerEvent:
    """One decision about a partition that took effect."""

    partition: PartitionId
    event: DecisionEvent


@dataclass(frozen=True, slots=True)
class _Target:
    """Who should lead a partition, since when."""

    node: GenerationalNodeId
    since: float


@dataclass(frozen=True, slots=True)
class _Report:
    """What a node said last, and when (monotonic)."""

    entry: AliveNode
    at: float


class Controller:
    """Steers the cluster while it is this node's turn."""

    def __init__(
        self,
        me: GenerationalNodeId,
        metadata: MetadataCache,
        liveness: Liveness,
        collector: ClusterStateCollector,
        store: MetadataStore,
        fabric: Fabric,
        clock: Clock,
        *,
        enabled: bool = True,
        nodes_expected: int = 1,
    ) -> None:
        """`nodes_expected`: how many the configuration names, for which a founding waits."""
        self._me = me
        self._metadata = metadata
        self._liveness = liveness
        self._collector = collector
        self._clock = clock
        self._enabled = enabled
        self._nodes_expected = nodes_expected
        self._bell = Bell()
        self._epochs = EpochKeeper(store, clock)
        self._instructions = Instructions(fabric, clock, self._bell.ring)
        self._targets: dict[PartitionId, _Target] = {}
        self._back_until: dict[PlainNodeId, float] = {}
        self._living: frozenset[PlainNodeId] = frozenset()
        self._reports: dict[GenerationalNodeId, _Report] = {}
        self._reread_at = 0.0
        self._read_outdated_at = 0.0
        self._hurry_until = 0.0
        self._hurried_at = 0.0
        self._hear_until = 0.0
        self._found_until = 0.0
        self._founding: str | None = None
        self._settled = True
        self._homeless: list[PartitionId] = []
        self._decided_on: ClusterView | None = None
        self.is_controller = False
        self.events: deque[ControllerEvent] = deque(maxlen=DECISION_EVENTS_MAX)

    def start(self, tasks: TaskCenter) -> None:
        """Watch, and steer when it is this node's turn."""
        watches = (
            self._metadata.nodes,
            self._metadata.partition_table,
            self._liveness.alive,
            self._collector.state,
        )
        self._bell.listen(tasks, "controller watch", watches)
        tasks.spawn(TaskKind.ADMIN, "controller", self._run())

    async def resync(self, partitions: Collection[PartitionId]) -> None:
        """An operator changed these. Raises NotController, MetadataUnavailable."""
        if not self.is_controller:
            raise NotController("Not the cluster controller leader")
        known = self._metadata.partition_table.value.partitions
        await self._epochs.read([p for p in partitions if p in known])
        self._bell.ring()

    def events_of(self, partition: PartitionId) -> list[DecisionEvent]:
        """What was decided here about a partition, oldest first."""
        return [kept.event for kept in self.events if kept.partition == partition]

    @property
    def instructions_sent(self) -> int:
        """Messages to workers so far."""
        return self._instructions.sent_count

    # ------------------------------------------------------------ turn

    async def _run(self) -> None:
        """Cancellation may come between any two steps: each is safe to leave out or to repeat."""
        while True:
            await self._take_turn()
            if self.is_controller:
                await self._step_safely()
            await self._bell.wait(LOOK_S if self._settled else LOOK_UNSETTLED_S)

    async def _take_turn(self) -> None:
        """A new controller decides nothing before it has heard what everybody does."""
        mine = self._is_my_turn()
        if mine == self.is_controller:
            return
        self.is_controller = mine
        self._epochs.forget()
        self._instructions.keep_only(())
        self._targets = {}
        self._reports = {}
        self._settled = True
        logger.info("controller begins" if mine else "controller ends", node=str(self._me))
        if mine:
            await self._collector.settled()
            self._begin()

    def _begin(self) -> None:
        now = self._clock.monotonic()
        self._reread_at = now + REREAD_S
        self._hurry_until = now + HURRY_S
        self._hear_until = now + HEAR_ALL_S
        self._found_until = now + FOUND_WITHIN_S
        self._living = frozenset(node.id for node in self._liveness.alive.value)
        until = now + EXPECTED_BACK_AT_START_S
        workers = self._metadata.nodes.value.with_role(Role.WORKER)
        self._back_until = {w.id: until for w in workers if w.id not in self._living}

    def _is_my_turn(self) -> bool:
        return self._enabled and self._first_admin() == self._me

    def _first_admin(self) -> GenerationalNodeId | None:
        alive = self._liveness.alive.value
        admins = self._metadata.nodes.value.with_role(Role.ADMIN)
        living = (a.current_generation for a in admins if a.current_generation in alive)
        return next(living, None)

    # ------------------------------------------------------------ one look

    async def _step_safely(self) -> None:
        try:
            await self._step()
        except MetadataError as error:
            self._settled = False
            logger.info("controller waits for the metadata store", error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _step(self) -> None:
        table = self._metadata.partition_table.value.partitions
        if unread := self._epochs.unread(table):
            await self._epochs.read(unread)
        # Whoever came to life until here may be the controller, or lead unheard. From here to the
        # decision nothing is awaited.
        self._notice_lives()
        self._hear_reports()
        if not self._is_my_turn() or self._is_unheard():
            self._settled = False
            self._hurry_collector()
            return
        placements = self._decide()
        written = await self._epochs.commit(placements, self._placed)
        if await self._read_again() or written:
            self._bell.ring()

    def _placed(self, decision: Placement) -> None:
        self._record(decision)

    def _decide(self) -> list[Placement]:
        """Appoint and instruct at once; what must be written is returned."""
        view = self._decided_on = self._view()
        if self._is_founding(view):
            self._settled = False
            return []
        appointments: dict[PartitionId, AppointLeader] = {}
        placements: list[Placement] = []
        for decision in plan(view):
            if isinstance(decision, AppointLeader):
                appointments[decision.partition] = decision
            elif self._epochs.known(decision.partition) is not None:
                placements.append(decision)
        self._adopt_leaders(view, appointments)
        for appointment in appointments.values():
            self._appoint(appointment)
        told = self._instruct(view)
        self._settled = told and not placements and not _is_moving(view)
        self._hurry_collector()
        self._warn_of_homeless(unplaceable(view))
        return placements

    async def _read_again(self) -> bool:
        """What is known to be old, now and then everything."""
        now = self._clock.monotonic()
        table = self._metadata.partition_table.value.partitions
        if now >= self._reread_at:
            self._reread_at = now + REREAD_S
            return await self._epochs.read(list(table))
        outdated = self._epochs.outdated.union(self._reported_newer()).intersection(table)
        if not outdated or now - self._read_outdated_at < OUTDATED_READ_S:
            return False
        self._read_outdated_at = now
        return await self._epochs.read(outdated)

    def _reported_newer(self) -> Iterator[PartitionId]:
        """Partitions of which some processor has seen a later epoch."""
        epochs = self._epochs.metadata()
        for _, status in self._statuses():
            known = epochs.get(status.partition)
            if known is not None and (status.observed_epoch or 0) > known.epoch:
                yield status.partition

    # ------------------------------------------------------------ what is known

    def _view(self) -> ClusterView:
        now = self._clock.monotonic()
        return ClusterView(
            nodes=self._metadata.nodes.value,
            table=self._metadata.partition_table.value,
            epochs=self._epochs.metadata(),
            alive=self._liveness.alive.value,
            processors={
                (node.id, status.partition): _judged(status) for node, status in self._statuses()
            },
            targets={partition: target.node.id for partition, target in self._targets.items()},
            expected_back=frozenset(n for n, until in self._back_until.items() if now < until),
        )

    def _statuses(self) -> Iterator[tuple[GenerationalNodeId, ProcessorStatus]]:
        """Of living nodes only: what a dead one said last is no longer so."""
        alive = self._liveness.alive.value
        for node, report in self._reports.items():
            if node in alive:
                for status in report.entry.processors.values():
                    yield node, status

    def _hear_reports(self) -> None:
        now = self._clock.monotonic()
        alive = self._liveness.alive.value
        for entry in self._collector.state.value.alive():
            self._reports[entry.node] = _Report(entry, now)
        self._reports = {
            node: report
            for node, report in self._reports.items()
            if node in alive and now - report.at < REPORT_AGE_MAX_S
        }

    def _is_unheard(self) -> bool:
        """A living worker may lead unheard: whoever decided now would depose it."""
        if self._clock.monotonic() >= self._hear_until:
            return False
        workers = self._metadata.nodes.value.with_role(Role.WORKER)
        lives = {worker.current_generation for worker in workers}
        return not lives.intersection(self._liveness.alive.value).issubset(self._reports)

    def _is_founding(self, view: ClusterView) -> bool:
        """Whoever placed partitions now would move them when the next node joins."""
        if self._clock.monotonic() >= self._found_until:
            return False
        reason = why_wait(view, self._nodes_expected)
        if reason is not None and reason != self._founding:
            logger.info("first placement waits", reason=reason)
        self._founding = reason
        return reason is not None

    def _notice_lives(self) -> None:
        living = frozenset(node.id for node in self._liveness.alive.value)
        if living == self._living:
            return
        now = self._clock.monotonic()
        self._hurry_until = now + HURRY_S
        for node in self._living - living:
            self._back_until[node] = now + EXPECTED_BACK_S
        self._back_until = {n: t for n, t in self._back_until.items() if n not in living}
        self._living = living
        self._instructions.keep_only(self._liveness.alive.value)

    # ------------------------------------------------------------ leaders

    def _appoint(self, decision: AppointLeader) -> None:
        node = self._life_of(decision.node)
        present = self._targets.get(decision.partition)
        if node is None or (present is not None and present.node == node):
            return
        if present is not None and self._has_grace(present):
            return
        self._targets[decision.partition] = _Target(node, self._clock.monotonic())
        self._record(decision)

    def _adopt_leaders(
        self, view: ClusterView, appointments: dict[PartitionId, AppointLeader]
    ) -> None:
        """Who leads to everybody's content becomes the target, if the target does not lead, or was
        another life of the same node.
        """
        leading: dict[PartitionId, tuple[int, GenerationalNodeId]] = {}
        for node, status in self._statuses():
            if _judged(status).mode is not ProcessorMode.FOLLOWER:
                claim = (status.observed_epoch or 0, node)
                leading[status.partition] = max(claim, leading.get(status.partition, claim))
        for partition, (_, node) in leading.items():
            target = self._targets.get(partition)
            if partition in appointments or (target is not None and self._has_grace(target)):
                continue
            if target is None or not self._does_lead(view, target.node, partition):
                self._targets[partition] = _Target(node, self._clock.monotonic())

    def _has_grace(self, target: _Target) -> bool:
        recent = self._clock.monotonic() - target.since < APPOINTMENT_GRACE_S
        return recent and target.node in self._liveness.alive.value

    def _does_lead(
        self, view: ClusterView, node: GenerationalNodeId, partition: PartitionId
    ) -> bool:
        return node in self._liveness.alive.value and _leads(view, node.id, partition)

    def _life_of(self, node: PlainNodeId) -> GenerationalNodeId | None:
        return next((life for life in self._liveness.alive.value if life.id == node), None)

    # ------------------------------------------------------------ workers

    def _instruct(self, view: ClusterView) -> bool:
        """Tell every living worker what it does not know; False if something is not settled."""
        assignments = self._assignments(view)
        settled = True
        for worker in view.nodes.with_role(Role.WORKER):
            life = worker.current_generation
            if life not in view.alive:
                continue
            wanted = {
                partition: assignment
                for partition, assignment in assignments.items()
                if life.id in view.epochs[partition].replicas or view.status(life.id, partition)
            }
            doubted = {p for p, a in wanted.items() if _is_doubtful(view, life, a)}
            told = self._instructions.instruct(life, wanted, doubted)
            settled = settled and told and not doubted
        return settled

    def _assignments(self, view: ClusterView) -> dict[PartitionId, Assignment]:
        made: dict[PartitionId, Assignment] = {}
        for partition in view.partitions():
            known = self._epochs.known(partition)
            if known is not None and known.metadata is not None:
                target = self._targets.get(partition)
                leader = None if target is None else target.node
                made[partition] = Assignment(partition, known.blob, leader)
        return made

    def _hurry_collector(self) -> None:
        """While something is under way, ask the workers often; not for ever, though."""
        now = self._clock.monotonic()
        if self._settled or now >= self._hurry_until:
            return
        if now - self._hurried_at >= LOOK_UNSETTLED_S:
            self._hurried_at = now
            self._collector.hurry()

    # ------------------------------------------------------------ telling

    def _record(self, decision: Decision) -> None:
        assert self._decided_on is not None, "a decision comes from a view"
        self._hurry_until = self._clock.monotonic() + HURRY_S
        view, partition, text = self._decided_on, decision.partition, _describe(decision)
        event = DecisionEvent(
            at_ms=self._clock.unix_ms(),
            decision=text,
            reason=decision.reason,
            inputs=partition_inputs(view, partition),
            alternatives=partition_alternatives(view, partition, _chosen(decision, view)),
        )
        self.events.append(ControllerEvent(partition, event))
        logger.info(
            "controller decides", partition=partition, decision=text, reason=decision.reason
        )

    def _warn_of_homeless(self, homeless: list[PartitionId]) -> None:
        if homeless and homeless != self._homeless:
            logger.warning(
                "partitions cannot be placed: start more workers or lower partition replication",
                partitions=len(homeless),
                first=homeless[0],
            )
        self._homeless = homeless


def _judged(status: ProcessorStatus) -> cluster_view.ProcessorStatus:
    return cluster_view.ProcessorStatus(
        mode=_MODES[status.detailed_mode],
        is_wanted=status.planned_mode is RunMode.LEADER,
        replay_active=status.replay_status is ReplayStatus.ACTIVE,
        applied_lsn=status.applied_lsn,
        durable_lsn=status.durable_lsn,
    )


def _leads(view: ClusterView, node: PlainNodeId, partition: PartitionId) -> bool:
    status = view.status(node, partition)
    return status is not None and status.mode is not ProcessorMode.FOLLOWER


def _is_doubtful(view: ClusterView, life: GenerationalNodeId, assignment: Assignment) -> bool:
    """The worker does not report what it should be doing. Another controller may have told it
    something else, in a moment in which it knew nobody.
    """
    partition = assignment.partition
    status = view.status(life.id, partition)
    if (status is not None) != (life.id in view.epochs[partition].replicas):
        return True
    should_lead = assignment.target_leader == life
    if status is not None and status.is_wanted != should_lead:
        return True
    return should_lead and not _leads(view, life.id, partition)


def _is_moving(view: ClusterView) -> bool:
    return any(epoch.next is not None for epoch in view.epochs.values())


def _describe(decision: Decision) -> str:
    match decision:
        case SetInitialReplicas(wanted=wanted):
            return f"place on {_nodes(wanted.replica_set)}"
        case Reconfigure(wanted=wanted):
            return f"move to {_nodes(wanted.replica_set)}"
        case CompleteReconfiguration():
            return "the next replica set becomes the current one"
        case AppointLeader(node=node):
            return f"{plain_text(node)} should lead"
        case _:
            assert_never(decision)


def _chosen(decision: Decision, view: ClusterView) -> Collection[PlainNodeId]:
    match decision:
        case SetInitialReplicas(wanted=wanted) | Reconfigure(wanted=wanted):
            return wanted.replica_set
        case CompleteReconfiguration(partition=partition):
            epoch = view.epochs.get(partition)
            return () if epoch is None else epoch.replicas
        case AppointLeader(node=node):
            return (node,)
        case _:
            assert_never(decision)


def _nodes(nodes: Collection[PlainNodeId]) -> str:
    return "[" + ", ".join(plain_text(node) for node in sorted(nodes)) + "]"
