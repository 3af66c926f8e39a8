"""One store group on its way to a write quorum, in waves.

A group goes to every node that may take it, at once; the fastest write quorum decides. Who does
not answer in time is left out of the next waves for a while, and a nodeset that cannot form a write
quorum any more ends the loglet rather than the patience of the caller.

    start ──> wave 1: Store to N1 N2 N3                        replication 2 of {N1 N2 N3}
                N1 OK            committed {N1}
                N2 no answer     graylist  {N2}
                N3 out of bounds           (healthy: it only lacks the group before this one)
              wave over ──> NextWaveAfter(back-off)
    next  ──> wave 2: Store to N3
                N3 OK            committed {N1 N3} = write quorum ──> Committed

Each node has one of four states per group; only the waiting ones can still bring news:

               Store sent          OK
      idle ───────────────> waiting ───> committed     for ever: durable there
        ^                   |     |
        └── failed, refused ┘     └────> sealed        for ever, for all groups

Three ends, and a group reaches exactly one:

    Committed          a write quorum is durable.
    SealedByMajority   an f-majority is sealed, and those that still may answer cannot complete a
                       write quorum. The group may nevertheless survive: repair decides.
    Reconfigure        all nodes that may be written are too few for a write quorum, the
                       graylisted ones included: the loglet needs another nodeset.

A wave ends early when what is still out cannot complete a write quorum: waiting for the time-out
would not change anything. Answers of former waves count; the stores of a committed group that
are still out are none of our business.

The `Graylist` belongs to the sequencer and is shared by its groups, so that one slow node costs one
time-out, not one per group. Who is on it comes back by itself after a while, by answering, or
when there is no write quorum without it.

Driven by the local sequencer of `bifrost`, which sends, keeps the time-out of a wave and the
pause (both adaptive), and calls `Sequencer.committed` or `Sequencer.seal` at the end.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import TypeAlias

from restate_node.protocol.quorum import NodesetChecker
from restate_node.protocol.spread import NoSpread, SpreadChoice, choose_spread
from restate_node.types.ids import PlainNodeId
from restate_node.types.log_messages import Status


@dataclass(frozen=True, slots=True)
class SendStore:
    """Send the group to this node."""

    node: PlainNodeId


@dataclass(frozen=True, slots=True)
class Committed:
    """The group is durable on a write quorum."""


@dataclass(frozen=True, slots=True)
class SealedByMajority:
    """The loglet is sealed; whether this group is part of it is open."""


@dataclass(frozen=True, slots=True)
class NextWaveAfter:
    """Call `next_wave` after this pause; answers until then still count."""

    milliseconds: int


@dataclass(frozen=True, slots=True)
class Reconfigure:
    """This nodeset cannot take the group; `reason` is for the operator."""

    reason: str


WaveEffect: TypeAlias = SendStore | Committed | SealedByMajority | NextWaveAfter | Reconfigure

DEAD_WAVES_MAX = 3
"""So many waves count on nodes that the failure detector calls dead; then the nodeset is given up.

With a replication as large as the nodeset one dead node stops all appends, while an f-majority to
seal it, and move on, is still there.
"""

_SEALED = frozenset((Status.SEALED, Status.SEALING))
_TRANSIENT = frozenset((Status.OUT_OF_BOUNDS, Status.DROPPED))
"""Refusals of a healthy node: try it again in the next wave."""


class Graylist:
    """Nodes that a sequencer does not send to for now; sealed ones for ever."""

    __slots__ = ("_forgiven_at_ms", "_penalty_ms", "dead", "sealed")

    def __init__(self, penalty_ms: int) -> None:
        self._penalty_ms = penalty_ms
        self._forgiven_at_ms: dict[PlainNodeId, int] = {}
        self.dead: frozenset[PlainNodeId] = frozenset()
        """Set by the driver from the failure detector."""
        self.sealed: set[PlainNodeId] = set()

    def punish(self, node: PlainNodeId, now_ms: int) -> None:
        """Leave the node out for the length of a penalty."""
        self._forgiven_at_ms[node] = now_ms + self._penalty_ms

    def forgive(self, node: PlainNodeId) -> None:
        """The node answered."""
        if self._forgiven_at_ms:
            self._forgiven_at_ms.pop(node, None)

    def avoided(self, now_ms: int) -> Set[PlainNodeId]:
        """Better without these, if it can be done without."""
        if not self._forgiven_at_ms:
            return self.dead
        punished = {node for node, until in self._forgiven_at_ms.items() if until > now_ms}
        return punished | self.dead


class WavePhase(Enum):
    """Where a group is."""

    NEW = "new"
    WAITING = "waiting"
    """Stores are out."""
    BACKING_OFF = "backing off"
    """The next wave is due after a pause."""
    ENDED = "ended"


class AppendWave:
    """The waves of one group; every method is one event and returns what to do."""

    __slots__ = (
        "_back_off_ms",
        "_graylist",
        "_quorum",
        "_random",
        "_waiting",
        "committed",
        "phase",
        "waves",
    )

    def __init__(
        self,
        quorum: NodesetChecker,
        random: Random,
        graylist: Graylist,
        back_off_ms: int,
    ) -> None:
        """A group that was not sent to anyone yet; `back_off_ms`: the pause between waves."""
        self._quorum = quorum
        self._random = random
        self._graylist = graylist
        self._back_off_ms = back_off_ms
        self._waiting: set[PlainNodeId] = set()
        self.committed: set[PlainNodeId] = set()
        self.phase = WavePhase.NEW
        self.waves = 0

    def judge_by(self, quorum: NodesetChecker) -> None:
        """From now on. A configuration that takes a member away MUST be heard of before the next
        wave: that member may be alive and refuse for ever, which looks like a store to try again.
        """
        self._quorum = quorum

    def next_wave(self, now_ms: int) -> list[WaveEffect]:
        """Start the first wave, or the next one when its pause is over."""
        if self.phase is WavePhase.ENDED:
            return []
        choice = self._choose(now_ms)
        if isinstance(choice, NoSpread):
            return self._give_up(choice.reason)
        self.phase = WavePhase.WAITING
        self.waves += 1
        self._waiting.update(choice.nodes)
        return [SendStore(node) for node in choice.nodes]

    def replied(self, node: PlainNodeId, status: Status, now_ms: int) -> list[WaveEffect]:
        """The node answered, to whichever wave."""
        if self.phase is WavePhase.ENDED:
            return []
        if status is Status.OK:
            return self._stored(node)
        if status in _SEALED:
            self._graylist.sealed.add(node)
        elif status not in _TRANSIENT:
            self._graylist.punish(node, now_ms)
        self._waiting.discard(node)
        return self._judge()

    def failed(self, node: PlainNodeId, now_ms: int) -> list[WaveEffect]:
        """The node could not be reached; whether it has the group is unknown."""
        if self.phase is WavePhase.ENDED:
            return []
        self._graylist.punish(node, now_ms)
        self._waiting.discard(node)
        return self._judge()

    def timed_out(self, now_ms: int) -> list[WaveEffect]:
        """The wave took too long: whoever has not answered goes on the graylist."""
        if self.phase is not WavePhase.WAITING:
            return []
        for node in self._waiting:
            self._graylist.punish(node, now_ms)
        self._waiting.clear()
        return self._judge()

    def _stored(self, node: PlainNodeId) -> list[WaveEffect]:
        self._waiting.discard(node)
        self._graylist.forgive(node)
        self.committed.add(node)
        if self._quorum.write_quorum(self.committed):
            self.phase = WavePhase.ENDED
            return [Committed()]
        return self._judge()

    def _judge(self) -> list[WaveEffect]:
        """Nothing to do while those still out can complete a write quorum."""
        if self.phase is WavePhase.BACKING_OFF and not self._is_sealed():
            return []
        if self._quorum.write_quorum(self.committed | self._waiting):
            return []
        if self._is_sealed():
            return self._end(SealedByMajority())
        self.phase = WavePhase.BACKING_OFF
        return [NextWaveAfter(self._back_off_ms)]

    def _choose(self, now_ms: int) -> SpreadChoice:
        """Whom to send to; who has a store out counts as if it held the group."""
        unusable: Set[PlainNodeId] = self._graylist.sealed
        if self.waves >= DEAD_WAVES_MAX:
            unusable = unusable | self._graylist.dead
        return choose_spread(
            self._quorum,
            self._random,
            self._graylist.avoided(now_ms),
            unusable,
            self.committed | self._waiting,
        )

    def _is_sealed(self) -> bool:
        return self._quorum.f_majority(self._graylist.sealed).passed

    def _give_up(self, reason: str) -> list[WaveEffect]:
        return self._end(SealedByMajority() if self._is_sealed() else Reconfigure(reason))

    def _end(self, effect: WaveEffect) -> list[WaveEffect]:
        self.phase = WavePhase.ENDED
        self._waiting.clear()
        return [effect]
