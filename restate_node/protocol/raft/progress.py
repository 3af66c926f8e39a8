"""What a leader believes of one follower's log, and whether it may send more.

    PROBE      one append at a time, until the follower's log and ours are seen to meet
    REPLICATE  appends are pipelined, at most `in_flight_max` unanswered
    SNAPSHOT   nothing but heartbeats until the snapshot is installed, or is believed lost

              accepted                      refused, or lost
     PROBE ------------> REPLICATE     REPLICATE ----------> PROBE
     PROBE, REPLICATE -- `next` is compacted --> SNAPSHOT -- installed, or too old --> PROBE

Invariant: `match < next`. `match` is what the follower said is durable; `next` is what we send
next, optimistic while replicating.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from restate_node.types.raft import Index


class ProgressState(Enum):
    """How entries are sent to a follower."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One follower as its leader sees it."""

    __slots__ = (
        "_in_flight",
        "commit_sent",
        "match",
        "next",
        "nudged",
        "probe_sent",
        "read_round",
        "recently_active",
        "snapshot_age_ticks",
        "snapshot_index",
        "state",
    )

    def __init__(self, following: Index) -> None:
        """A follower of which nothing is known; sending starts at `following`."""
        self.state = ProgressState.PROBE
        self.match = Index(0)
        self.next = following
        self.commit_sent = Index(0)
        self.read_round = 0
        self.recently_active = True
        self.probe_sent = False
        self.nudged = False
        self.snapshot_index = Index(0)
        self.snapshot_age_ticks = 0
        self._in_flight: deque[Index] = deque()

    def may_send(self, in_flight_max: int) -> bool:
        """Whether one more append may leave."""
        match self.state:
            case ProgressState.PROBE:
                return not self.probe_sent
            case ProgressState.REPLICATE:
                return len(self._in_flight) < in_flight_max
            case ProgressState.SNAPSHOT:
                return False

    def sent(self, last: Index | None, commit: Index) -> None:
        """An append left, with entries up to `last` if it had any."""
        self.commit_sent = commit
        self.nudged = False
        if self.state is ProgressState.PROBE:
            self.probe_sent = True
        elif last is not None:
            self.next = Index(last + 1)
            self._in_flight.append(last)

    def sent_snapshot(self, index: Index) -> None:
        """A snapshot left."""
        self._enter(ProgressState.SNAPSHOT)
        self.snapshot_index = index

    def accepted(self, index: Index) -> bool:
        """The follower has all up to `index`; whether that is news."""
        news = index > self.match
        self.match = max(self.match, index)
        self.next = max(self.next, Index(self.match + 1))
        while self._in_flight and self._in_flight[0] <= index:
            self._in_flight.popleft()
        match self.state:
            case ProgressState.PROBE:
                self._enter(ProgressState.REPLICATE)
                self.next = Index(self.match + 1)
            case ProgressState.SNAPSHOT if self.match >= self.snapshot_index:
                self.probe()
            case _:
                pass
        return news

    def refused(self, index: Index, agreement: Index) -> None:
        """The follower has no match at `index`; the logs can agree up to `agreement` at most."""
        if self.state is ProgressState.REPLICATE:
            if index > self.match:
                self.probe()
        elif self.state is ProgressState.PROBE and index == self.next - 1:
            self.next = max(Index(self.match + 1), min(index, Index(agreement + 1)))
            self.probe_sent = False

    def heard(self, behind: bool, in_flight_max: int) -> None:
        """A heartbeat came back: the follower lives, so an unanswered append is taken for lost."""
        self.probe_sent = False
        if not behind:
            return
        self.nudged = True
        if len(self._in_flight) >= in_flight_max:
            self._in_flight.popleft()

    def probe(self) -> None:
        """Start over from what is known."""
        self._enter(ProgressState.PROBE)
        self.next = Index(self.match + 1)

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.probe_sent = False
        self.snapshot_age_ticks = 0
        self._in_flight.clear()
