"""What one node thinks of one other node.

        (member appears)
              │
              ▼         heard, ready            silent too long
           SUSPECT ───────────────────▶ ALIVE ──────────────────▶ DEAD
            ▲   │ silent too long         │ says goodbye           │ heard again (same life)
            │   └────────────▶ DEAD       ▼                        ▼
            │                       FAILING_OVER           SUSPECT, on probation ──▶ ALIVE
            └── a new life of the node starts here again, from any state

*Heard* means that the beat rose: a message from the node itself proves that it lives; a relayed
beat proves it only when it is higher than one seen before, because the first one that a newcomer
is told may be that of a node long dead.

Probation keeps a node that comes and goes from taking work each time. It is for lives that this
observer has declared dead: a restarted node is a new life, and a node seen by a newcomer for the
first time has no record. A ready life of either kind is alive at once.

Times here are *patient* seconds (see `gossip_time`). Driven by `gossip.FailureDetector`.
"""

from __future__ import annotations

from dataclasses import dataclass

from restate_node.types.gossip import Beat, NodeState, Phase
from restate_node.types.ids import GenerationalNodeId


@dataclass(frozen=True, slots=True)
class JudgingRules:
    """How long before what, in seconds."""

    dead_after_s: float
    probation_s: float
    """Also how long a node may be starting before it counts as alive all the same."""


class PeerRecord:
    """Everything known of one other member."""

    __slots__ = (
        "_known_since",
        "_probation_until",
        "_relapsed",
        "beat",
        "heard_at",
        "instance_ts",
        "node",
        "phase",
        "seen_at",
        "state",
    )

    def __init__(self, node: GenerationalNodeId, at: float) -> None:
        self.seen_at: float | None = None
        """Monotonic time of the last sign of any life, for people."""
        self._begin(node, 0, at)

    def _begin(self, node: GenerationalNodeId, instance_ts: int, at: float) -> None:
        self.node = node
        self.instance_ts = instance_ts
        self.beat = 0
        self.phase = Phase.STARTING
        self.state = NodeState.SUSPECT
        self.heard_at: float | None = None
        self._known_since = at
        self._relapsed = False
        self._probation_until: float | None = None

    @property
    def is_heard(self) -> bool:
        """This life has given a sign of itself."""
        return self.heard_at is not None

    @property
    def silent_since(self) -> float:
        """The last sign of this life, or when this node began to listen for one."""
        return self._known_since if self.heard_at is None else self.heard_at

    def member_changed(self, node: GenerationalNodeId, at: float) -> None:
        """The nodes configuration names this life; an older one than known is old news."""
        if node.generation > self.node.generation:
            self._begin(node, 0, at)

    def hear(self, told: Beat, at: float, now: float, *, direct: bool) -> None:
        """Merge a beat; `direct` if it came from the node itself and proves that it lives."""
        life = (told.node.generation, told.instance_ts)
        known = (self.node.generation, self.instance_ts)
        if life < known:
            return
        if life > known:
            self._begin(told.node, told.instance_ts, at)
        risen = told.beat > self.beat and self.beat > 0
        if risen or (direct and not self.is_heard):
            if not self.is_heard:
                self._known_since = at
            self.heard_at = at
            self.seen_at = now
        self.beat = max(self.beat, told.beat)
        self.phase = max(self.phase, told.phase)

    def forgive(self, not_before: float) -> None:
        """The observer was away: count no silence from before that moment, unless it was fatal."""
        if self.state is NodeState.DEAD:
            return
        self._known_since = max(self._known_since, not_before)
        if self.heard_at is not None:
            self.heard_at = max(self.heard_at, not_before)

    def judge(self, at: float, rules: JudgingRules, *, may_accuse: bool) -> bool:
        """Form an opinion; True if it changed."""
        before = self.state
        if at - self.silent_since <= rules.dead_after_s:
            self.state = self._audible(at, rules)
        elif may_accuse:
            self.state = NodeState.DEAD
            self._relapsed = self._relapsed or self.is_heard
            self._probation_until = None
        return self.state is not before

    def _audible(self, at: float, rules: JudgingRules) -> NodeState:
        if not self.is_heard:
            return NodeState.SUSPECT
        if self.phase is Phase.FAILING_OVER:
            return NodeState.FAILING_OVER
        if self._relapsed and not self._passed_probation(at, rules):
            return NodeState.SUSPECT
        if self.phase is Phase.STARTING and at < self._known_since + rules.probation_s:
            return NodeState.SUSPECT
        return NodeState.ALIVE

    def _passed_probation(self, at: float, rules: JudgingRules) -> bool:
        if self._probation_until is None:
            self._probation_until = at + rules.probation_s
        if at < self._probation_until:
            return False
        self._relapsed, self._probation_until = False, None
        return True

    def told(self) -> Beat:
        """What to tell others of it."""
        return Beat(self.node, self.instance_ts, self.beat, self.phase)
