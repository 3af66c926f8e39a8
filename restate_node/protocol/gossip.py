"""The failure detector: who is up, decided by each node for itself, from rumours.

Every tick a node raises its own beat and tells two random peers the newest beat it knows of every
member. A member whose beat has not risen for `failure_threshold` ticks is dead. Since rumours make
detours, two nodes that cannot talk to each other stay alive to each other through a third.

    tick ─────────────▶ Send (two peers that are up, now and then one that is dead)
                        Ask (peers not heard yet, and those silent for half the threshold)
    gossip received ──▶ merge beats (greater wins) ──▶ judge ──▶ StatesChanged
                        merge leaderships (higher epoch wins) ─▶ LeadersChanged
    ready, failing over, own leadership ──▶ Send to all, at once

It doubts itself before it accuses others:

  * it judges only after it has received a few gossips, or has been alone for long;
  * a late tick means that this node was away: `gossip_time` does not count that time, and the
    silence before the gap is forgiven down to half the threshold (once per threshold, so that a
    node that is always slow is only slow to notice, and not blind);
  * a node that hears nobody stops beating: one that can speak but not listen is no use to others;
  * nothing depends on wall clocks. A gossip from the future still proves that its sender lives;
    only what it says of others is dropped.

Invariants: the known beat of a life never goes down; the own state depends on the own phase only;
a message carries at most one beat per member and a bounded number of leaderships.

Sans-io: the driver is `cluster.membership`, which passes monotonic time in seconds as `now`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Final

from restate_node.protocol.gossip_effects import Ask, Effect, LeadersChanged, Send, StatesChanged
from restate_node.protocol.gossip_leaders import LeaderTable
from restate_node.protocol.gossip_peer import JudgingRules, PeerRecord
from restate_node.protocol.gossip_time import PatientTime
from restate_node.types.gossip import Beat, Gossip, Leadership, NodeState, Phase
from restate_node.types.ids import GenerationalNodeId, PartitionId, PlainNodeId
from restate_node.types.options import GossipOptions

ASK_EVERY_TICKS: Final = 5
"""A peer that has not been heard is asked this often, until it is heard or dead."""
ASK_DOUBTED_EVERY_TICKS: Final = 2
"""A peer that has been silent for half of the threshold is asked this often before it is accused:
its answer comes back on the connection of the question, whatever became of its own connection.
"""
ASKED_PEERS_MAX: Final = 8
"""Per tick; those left out are asked later."""
PROBE_DEAD_EVERY_TICKS: Final = 5
"""One dead peer is told this often, so that both sides of a healed split notice."""
URGENT_PEERS_MAX: Final = 32
"""Urgent news goes to this many at once; rumour brings it to the rest."""


class FailureDetector:
    """One node's view of all members. Every event returns what to do now."""

    def __init__(
        self,
        me: GenerationalNodeId,
        instance_ts: int,
        options: GossipOptions,
        rng: Random,
        now: float,
    ) -> None:
        self._me = Beat(me, instance_ts, 1, Phase.STARTING)
        self._options = options
        self._rng = rng
        self._tick_s = options.tick_interval_ms / 1000
        self._rules = JudgingRules(
            dead_after_s=options.failure_threshold * self._tick_s,
            probation_s=options.suspect_interval_ms / 1000,
        )
        self._time = PatientTime(self._tick_s, now)
        self._peers: dict[PlainNodeId, PeerRecord] = {}
        self._leaders = LeaderTable()
        self._ticks = 0
        self._received = 0
        self._received_at = 0.0
        self._forgiven_at = -self._rules.dead_after_s
        self._skewed = 0

    # ------------------------------------------------------------ what is known

    @property
    def phase(self) -> Phase:
        return self._me.phase

    @property
    def skewed_count(self) -> int:
        """Gossips so far whose sender's wall clock is far ahead of this one's."""
        return self._skewed

    def is_lonely(self, now: float) -> bool:
        """There are peers, and none has been heard for long."""
        limit = self._options.loneliness_threshold * self._tick_s
        return bool(self._peers) and self._time.at(now) - self._received_at > limit

    def states(self) -> dict[PlainNodeId, NodeState]:
        """The state of every member, this node included."""
        states = {node: peer.state for node, peer in self._peers.items()}
        states[self._me.node.id] = _own_state(self._me.phase)
        return states

    def leaders(self) -> Mapping[PartitionId, Leadership]:
        """Every leadership that is known."""
        return self._leaders.snapshot()

    def silent_s(self, node: PlainNodeId, now: float) -> float | None:
        """Seconds since the last sign of life; None when there never was one."""
        if node == self._me.node.id:
            return 0.0
        peer = self._peers.get(node)
        return None if peer is None or peer.seen_at is None else max(0.0, now - peer.seen_at)

    # ------------------------------------------------------------ events

    def members_changed(
        self, members: Iterable[GenerationalNodeId], now: float, unix_ms: int
    ) -> list[Effect]:
        """The nodes configuration lists these lives; others are forgotten, new ones asked."""
        at = self._time.at(now)
        before = self._peers
        self._peers = {}
        for member in members:
            if member.id == self._me.node.id:
                continue
            record = before.get(member.id) or PeerRecord(member, at)
            record.member_changed(member, at)
            self._peers[member.id] = record
        unknown = [node for node in self._peers if node not in before][:ASKED_PEERS_MAX]
        asked = [Ask(unknown, self._gossip(now, unix_ms, ()))] if unknown else []
        return [self._states_changed(), *asked]

    def received(self, gossip: Gossip, now: float, unix_ms: int) -> list[Effect]:
        """Merge what a peer tells; strangers and former lives are not listened to."""
        sender = self._peers.get(gossip.sender.node.id)
        if sender is None or _is_older_life(gossip.sender, sender):
            return []
        at = self._time.at(now)
        self._received += 1
        self._received_at = at
        sender.hear(gossip.sender, at, now, direct=not gossip.lonely)
        if gossip.sent_at_ms > unix_ms + self._options.time_skew_threshold_ms:
            self._skewed += 1
            return self._judge([sender], now)
        touched = [sender]
        for told in gossip.nodes:
            peer = self._peers.get(told.node.id)
            if peer is not None:
                peer.hear(told, at, now, direct=False)
                touched.append(peer)
        effects = self._judge(touched, now)
        if gossip.leaderships and self._leaders.merge(gossip.leaderships):
            effects.append(LeadersChanged(self._leaders.snapshot()))
        return effects

    def tick(self, now: float, unix_ms: int) -> list[Effect]:
        """One tick has passed, or more if this node was away."""
        if self._time.step(now):
            self._forgive(now)
        self._ticks += 1
        self._beat(now)
        effects = self._judge(self._peers.values(), now)
        if not self._peers:
            return effects
        gossip = self._gossip(now, unix_ms, self._leaderships_of_tick())
        told = self._peers_to_tell()
        if told:
            effects.append(Send(told, gossip))
        asked = self._peers_to_ask(self._time.at(now))
        if asked:
            effects.append(Ask(asked, gossip))
        return effects

    def enter(self, phase: Phase, now: float, unix_ms: int) -> list[Effect]:
        """This node is ready, or about to leave. Going back is ignored."""
        if phase <= self._me.phase:
            return []
        self._me = Beat(self._me.node, self._me.instance_ts, self._me.beat, phase)
        self._beat(now)
        return [self._states_changed(), *self.flush(now, unix_ms)]

    def announce(self, leadership: Leadership) -> list[Effect]:
        """This node knows of a new leader first hand. Call `flush` soon."""
        if not self._leaders.merge([leadership]):
            return []
        return [LeadersChanged(self._leaders.snapshot())]

    def flush(self, now: float, unix_ms: int) -> list[Effect]:
        """Tell all who are up at once, without waiting for the tick."""
        up = self._peers_up()
        if len(up) > URGENT_PEERS_MAX:
            up = self._rng.sample(up, URGENT_PEERS_MAX)
        return [Send(up, self._gossip(now, unix_ms, self._leaders.take_news()))] if up else []

    def answer(self, now: float, unix_ms: int) -> Gossip:
        """What a peer that asks is told."""
        return self._gossip(now, unix_ms, self._leaders.take_stretch())

    # ------------------------------------------------------------ judging

    def _judge(self, peers: Iterable[PeerRecord], now: float) -> list[Effect]:
        at = self._time.at(now)
        enough = self._received >= self._options.stability_threshold
        may_accuse = enough or self.is_lonely(now)
        changed = False
        for peer in peers:
            changed |= peer.judge(at, self._rules, may_accuse=may_accuse)
        return [self._states_changed()] if changed else []

    def _forgive(self, now: float) -> None:
        at = self._time.at(now)
        if at - self._forgiven_at < self._rules.dead_after_s:
            return
        self._forgiven_at = at
        not_before = at - self._rules.dead_after_s / 2
        for peer in self._peers.values():
            peer.forgive(not_before)

    def _states_changed(self) -> StatesChanged:
        alive = [peer.node for peer in self._peers.values() if peer.state is NodeState.ALIVE]
        if _own_state(self._me.phase) is NodeState.ALIVE:
            alive.append(self._me.node)
        return StatesChanged(self.states(), frozenset(alive))

    # ------------------------------------------------------------ telling

    def _beat(self, now: float) -> None:
        if not self.is_lonely(now):
            me = self._me
            self._me = Beat(me.node, me.instance_ts, me.beat + 1, me.phase)

    def _gossip(self, now: float, unix_ms: int, leaderships: tuple[Leadership, ...]) -> Gossip:
        told = tuple(peer.told() for peer in self._peers.values() if peer.beat)
        return Gossip(self._me, unix_ms, self.is_lonely(now), told, leaderships)

    def _leaderships_of_tick(self) -> tuple[Leadership, ...]:
        news = self._leaders.take_news()
        if self._ticks % self._options.extras_exchange_frequency:
            return news
        told = {leadership.partition for leadership in news}
        stretch = self._leaders.take_stretch()
        return news + tuple(entry for entry in stretch if entry.partition not in told)

    def _peers_up(self) -> list[PlainNodeId]:
        return [node for node, peer in self._peers.items() if peer.state is not NodeState.DEAD]

    def _peers_to_tell(self) -> list[PlainNodeId]:
        up = self._peers_up()
        told = self._rng.sample(up, min(self._options.peers_per_tick, len(up)))
        if len(up) < len(self._peers) and self._ticks % PROBE_DEAD_EVERY_TICKS == 0:
            dead = [node for node, peer in self._peers.items() if peer.state is NodeState.DEAD]
            told.append(self._rng.choice(dead))
        return told

    def _peers_to_ask(self, at: float) -> list[PlainNodeId]:
        doubted_after_s = self._rules.dead_after_s / 2
        due: list[PlainNodeId] = []
        for node, peer in self._peers.items():
            is_doubted = not peer.is_heard or at - peer.silent_since > doubted_after_s
            if peer.state is NodeState.DEAD or not is_doubted:
                continue
            pause_ticks = ASK_DOUBTED_EVERY_TICKS if peer.is_heard else ASK_EVERY_TICKS
            if (node + self._ticks) % pause_ticks == 0:
                due.append(node)
        return due[:ASKED_PEERS_MAX]


def _own_state(phase: Phase) -> NodeState:
    match phase:
        case Phase.STARTING:
            return NodeState.SUSPECT
        case Phase.READY:
            return NodeState.ALIVE
        case Phase.FAILING_OVER:
            return NodeState.FAILING_OVER


def _is_older_life(told: Beat, known: PeerRecord) -> bool:
    return (told.node.generation, told.instance_ts) < (known.node.generation, known.instance_ts)
