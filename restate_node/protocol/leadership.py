"""Who leads a partition: campaign in the metadata store, victory in the log.

               campaign          claimed          own announcement read       started
    FOLLOWER ──────────▶ CLAIMING ──────▶ CANDIDATE ──────────▶ BECOMING_LEADER ──────▶ LEADER
        ▲                   │                 │                       │                   │
        └───────────────────┴─────────────────┴───────────────────────┴───────────────────┘
          claim failed or late        a higher epoch was read, the processor stops, the log closed

An epoch is claimed by a read-modify-write of the partition's epoch metadata, so each belongs to one
life of one node. That alone decides nothing: the claimant then announces itself in the partition's
log, as record 0 of its epoch. The order of the announcements in the log is the order of the
leaders, for all replicas alike; whoever reads a higher epoch than its own has lost, whatever the
metadata store says. Between the announcement of a successor and the moment a leader reads it, two
nodes may believe that they lead; what the elder writes meanwhile is dropped by `dedup` (P2).

Epochs below the highest one that was read cannot win any more and are not announced.

Driven by the leader's duty of a partition processor (`roles.worker.leader`).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

from restate_node.types.ids import GenerationalNodeId, LeaderEpoch
from restate_node.types.partitions import NO_EPOCH
from restate_node.types.wal import SelfProposal

HISTORY_EVENTS_MAX: Final = 16


class RunState(Enum):
    """How far a processor is from leading."""

    FOLLOWER = "follower"
    CLAIMING = "claiming"
    """Asks the metadata store for an epoch."""
    CANDIDATE = "candidate"
    """Owns an epoch, and has announced itself."""
    BECOMING_LEADER = "becoming-leader"
    """Won; the leader's work is being started."""
    LEADER = "leader"


class Event(Enum):
    """What may happen to it."""

    CAMPAIGN = "campaign"
    CLAIMED = "claimed"
    WON = "won"
    STARTED = "started"
    STEP_DOWN = "step down"


TRANSITIONS: Final[dict[tuple[RunState, Event], RunState]] = {
    (RunState.FOLLOWER, Event.CAMPAIGN): RunState.CLAIMING,
    (RunState.CLAIMING, Event.CLAIMED): RunState.CANDIDATE,
    (RunState.CANDIDATE, Event.WON): RunState.BECOMING_LEADER,
    (RunState.BECOMING_LEADER, Event.STARTED): RunState.LEADER,
    **{(state, Event.STEP_DOWN): RunState.FOLLOWER for state in RunState},
}


class IllegalTransition(AssertionError):
    """An event that cannot happen in this state; tells the last events."""


class Verdict(Enum):
    """What an announcement means for this processor."""

    FOLLOW = "follow"
    """Nothing to do: somebody leads, and this node did not."""
    WON = "won"
    LOST = "lost"
    """This node led or wanted to; it does no longer."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads since which epoch."""

    node: GenerationalNodeId
    epoch: LeaderEpoch


class Leadership:
    """One processor's part in the elections of its partition."""

    __slots__ = ("_epoch", "_history", "_me", "_next_sequence", "observed", "state")

    def __init__(self, me: GenerationalNodeId, observed: Leader | None) -> None:
        """`observed`: the last leader according to the tables."""
        self._me = me
        self._epoch = NO_EPOCH
        self._next_sequence = 0
        self._history: deque[str] = deque(maxlen=HISTORY_EVENTS_MAX)
        self.state = RunState.FOLLOWER
        self.observed = observed

    @property
    def epoch(self) -> LeaderEpoch:
        """The epoch that this node owns; 0 for a follower."""
        return self._epoch

    @property
    def is_leader(self) -> bool:
        return self.state is RunState.LEADER

    def campaign(self) -> bool:
        """Begin to claim an epoch; False when that is under way, or won, already."""
        if self.state is not RunState.FOLLOWER:
            return False
        self._step(Event.CAMPAIGN)
        return True

    def claimed(self, epoch: LeaderEpoch) -> SelfProposal | None:
        """The store granted an epoch: announce it under this number; None when it came too late."""
        if epoch <= self._highest():
            self._step(Event.STEP_DOWN)
            return None
        self._step(Event.CLAIMED)
        self._epoch = epoch
        self._next_sequence = 0
        return self.next_number()

    def announced(self, leader: Leader) -> Verdict:
        """An announcement was applied."""
        if leader.epoch <= self._highest():
            raise self._illegal(f"announcement of {leader.node} for epoch {leader.epoch}")
        self.observed = leader
        if not self._epoch:
            return Verdict.FOLLOW
        if leader.epoch > self._epoch:
            self.step_down()
            return Verdict.LOST
        if leader.epoch < self._epoch:
            return Verdict.FOLLOW
        if leader.node != self._me:
            raise self._illegal(f"{leader.node} announced epoch {leader.epoch} of {self._me}")
        self._step(Event.WON)
        return Verdict.WON

    def started(self) -> None:
        """The leader's work runs."""
        self._step(Event.STARTED)

    def step_down(self) -> None:
        """Give up whatever was reached; fine in every state."""
        self._step(Event.STEP_DOWN)
        self._epoch = NO_EPOCH

    def next_number(self) -> SelfProposal:
        """The number of the next record of this leader."""
        if not self._epoch:
            raise self._illegal("a record without an epoch")
        number = SelfProposal(self._epoch, self._next_sequence)
        self._next_sequence += 1
        return number

    def _highest(self) -> LeaderEpoch:
        return NO_EPOCH if self.observed is None else self.observed.epoch

    def _step(self, event: Event) -> None:
        following = TRANSITIONS.get((self.state, event))
        if following is None:
            raise self._illegal(event.value)
        self._history.append(f"{self.state.value} -{event.value}-> {following.value}")
        self.state = following

    def _illegal(self, what: str) -> IllegalTransition:
        story = "; ".join(self._history) or "nothing yet"
        return IllegalTransition(f"{what} cannot happen to a {self.state.value}; before: {story}")
