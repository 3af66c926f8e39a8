"""Who is up and who leads, for every part of this node: drives `protocol.gossip`.

    clock, 100 ms ──▶┐                       ┌──▶ fabric (gossip lane): tell, ask
    gossip received ─┤─▶ FailureDetector ────┤──▶ states, alive, leaders   (watches)
    nodes watch ────▶┘                       └──▶ one log line per node that changed

One task ticks; everything else runs inside the handlers of the fabric. All of it is synchronous, so
the detector is never seen half changed. Own announcements are gathered for a few milliseconds and
go to everybody in one message: a node that takes over thirty partitions sends one, not thirty.

`ready` and `failing_over` mark the life of this node for others. `alive` holds lives, not ids, so
that what was meant for a former life is never sent to the next.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Final, assert_never

import msgspec
import structlog

from restate_node.fabric.fabric import Fabric
from restate_node.fabric.router import Reply
from restate_node.protocol.gossip import FailureDetector
from restate_node.protocol.gossip_effects import Ask, Effect, LeadersChanged, Send, StatesChanged
from restate_node.runtime.ports import Clock
from restate_node.runtime.tasks import TaskCenter, TaskKind
from restate_node.runtime.watch import Watch
from restate_node.types.fabric import Peer, RpcFailure
from restate_node.types.gossip import AskGossip, Gossip, Leadership, NodeState, Phase
from restate_node.types.ids import GenerationalNodeId, LeaderEpoch, PartitionId, PlainNodeId
from restate_node.types.nodes import NodesConfiguration
from restate_node.types.options import GossipOptions

logger = structlog.get_logger(__name__)

ANNOUNCEMENT_DELAY_S: Final = 0.005
ASK_TIMEOUT_S: Final = 1.0
SKEW_WARNING_INTERVAL_S: Final = 60.0


class Membership:
    """The handle. Created once the node has joined and knows its id; started once."""

    def __init__(
        self,
        me: GenerationalNodeId,
        fabric: Fabric,
        nodes: Watch[NodesConfiguration | None],
        options: GossipOptions,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._me = me
        self._fabric = fabric
        self._nodes = nodes
        self._nodes_revision = -1
        self._interval_s = options.tick_interval_ms / 1000
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        now = clock.monotonic()
        self._detector = FailureDetector(me, clock.unix_ms(), options, rng, now)
        self._announcement: asyncio.TimerHandle | None = None
        self._skewed_seen = 0
        self._skew_warned_at = now - SKEW_WARNING_INTERVAL_S
        self.states: Watch[Mapping[PlainNodeId, NodeState]] = Watch(self._detector.states())
        self.alive: Watch[frozenset[GenerationalNodeId]] = Watch(frozenset())
        self.leaders: Watch[Mapping[PartitionId, Leadership]] = Watch({})

    def start(self, tasks: TaskCenter) -> None:
        """Listen to gossip and begin to tick."""
        self._fabric.router.on(Gossip, self._on_gossip)
        self._fabric.router.on(AskGossip, self._on_ask)
        tasks.spawn(TaskKind.MEMBERSHIP, "membership", self._run())

    # ------------------------------------------------------------ what roles say

    def ready(self) -> None:
        """This node serves all its roles: others may count on it at once."""
        self._enter(Phase.READY)

    def failing_over(self) -> None:
        """This node is about to stop: others should move its work now. Before the roles stop."""
        self._enter(Phase.FAILING_OVER)

    def announce_leadership(self, partition: PartitionId, epoch: LeaderEpoch) -> None:
        """This node leads that partition since that epoch; everybody hears within milliseconds."""
        self._act(self._detector.announce(Leadership(partition, epoch, self._me)))
        if self._announcement is None:
            self._announcement = self._loop.call_later(ANNOUNCEMENT_DELAY_S, self._flush)

    # ------------------------------------------------------------ what roles ask

    def state_of(self, node: PlainNodeId) -> NodeState:
        """The state of a node; strangers are dead."""
        return self.states.value.get(node, NodeState.DEAD)

    def last_seen_ms(self, node: PlainNodeId) -> int | None:
        """Unix time of the last sign of life; None when there never was one."""
        silent_s = self._detector.silent_s(node, self._clock.monotonic())
        return None if silent_s is None else self._clock.unix_ms() - round(silent_s * 1000)

    # ------------------------------------------------------------ events

    async def _run(self) -> None:
        """Cancellation ends the ticking between two ticks; answers are still given."""
        while True:
            self._tick()
            await asyncio.sleep(self._interval_s)

    def _tick(self) -> None:
        self._follow_members()
        self._act(self._detector.tick(*self._now()))

    def _on_gossip(self, peer: Peer, gossip: Gossip, reply: Reply) -> None:
        reply(None)
        self._receive(gossip)

    def _on_ask(self, peer: Peer, ask: AskGossip, reply: Reply) -> None:
        self._receive(ask.gossip)
        reply(self._detector.answer(*self._now()))

    def _receive(self, gossip: Gossip) -> None:
        self._follow_members()
        self._act(self._detector.received(gossip, *self._now()))
        if self._detector.skewed_count != self._skewed_seen:
            self._warn_of_skew(gossip)

    def _follow_members(self) -> None:
        if self._nodes.revision == self._nodes_revision:
            return
        self._nodes_revision = self._nodes.revision
        nodes = self._nodes.value
        if nodes is not None:
            lives = [node.current_generation for node in nodes.members()]
            self._act(self._detector.members_changed(lives, *self._now()))

    def _enter(self, phase: Phase) -> None:
        self._follow_members()
        self._act(self._detector.enter(phase, *self._now()))

    def _flush(self) -> None:
        self._announcement = None
        self._act(self._detector.flush(*self._now()))

    def _now(self) -> tuple[float, int]:
        return self._clock.monotonic(), self._clock.unix_ms()

    # ------------------------------------------------------------ effects

    def _act(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(peers, gossip):
                    for peer in peers:
                        self._fabric.notify(peer, gossip)
                case Ask(peers, gossip):
                    for peer in peers:
                        request = AskGossip(gossip)
                        self._fabric.submit(peer, request, self._on_answer, timeout_s=ASK_TIMEOUT_S)
                case StatesChanged(states, alive):
                    self._log_changes(states)
                    self.states.set(states)
                    self.alive.set(alive)
                case LeadersChanged(leaders):
                    self.leaders.set(leaders)
                case _:
                    assert_never(effect)

    def _on_answer(self, answer: msgspec.Struct | RpcFailure) -> None:
        if isinstance(answer, Gossip):
            self._receive(answer)

    def _log_changes(self, states: Mapping[PlainNodeId, NodeState]) -> None:
        before = self.states.value
        for node, state in states.items():
            was = before.get(node)
            if was is not None and was is not state:
                logger.info(
                    "node changed state", node=f"N{node}", state=state.value, before=was.value
                )

    def _warn_of_skew(self, gossip: Gossip) -> None:
        self._skewed_seen = self._detector.skewed_count
        now, unix_ms = self._now()
        if now - self._skew_warned_at < SKEW_WARNING_INTERVAL_S:
            return
        self._skew_warned_at = now
        logger.warning(
            "wall clocks differ, part of the gossip is dropped: synchronise the clocks of both",
            node=str(gossip.sender.node),
            ahead_ms=gossip.sent_at_ms - unix_ms,
        )
