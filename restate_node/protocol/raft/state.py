"""What a replica has in every role: identity, term, vote, log, election timer, outbox."""

from __future__ import annotations

from collections import deque
from random import Random

from restate_node.protocol.raft.log import RaftLog
from restate_node.protocol.raft.options import RaftOptions
from restate_node.protocol.raft.ready import ReadState
from restate_node.types.ids import PlainNodeId
from restate_node.types.raft import HardState, RaftMessage, Role, Term


class IllegalState(Exception):
    """Raft's rules are broken, here or at a peer: stop this replica."""


class RaftState:
    """Owned by `RaftCore`; the roles read and write it."""

    __slots__ = (
        "elapsed_ticks",
        "leader",
        "log",
        "me",
        "options",
        "outbox",
        "reads",
        "rng",
        "role",
        "storage_id",
        "story",
        "term",
        "timeout_ticks",
        "voted_for",
    )

    def __init__(
        self,
        me: PlainNodeId,
        storage_id: int,
        options: RaftOptions,
        rng: Random,
        hard_state: HardState,
        log: RaftLog,
    ) -> None:
        self.me = me
        self.storage_id = storage_id
        self.options = options
        self.rng = rng
        self.log = log
        self.role = Role.FOLLOWER
        self.term = hard_state.term
        self.voted_for = hard_state.voted_for
        self.leader: PlainNodeId | None = None
        self.outbox: list[RaftMessage] = []
        self.reads: list[ReadState] = []
        self.story: deque[tuple[object, ...]] = deque(maxlen=options.story_events_max)
        self.reset_election_timer()

    @property
    def is_voter(self) -> bool:
        """Whether the newest known members include this node with this very storage."""
        return self.log.members.created_at_millis.get(self.me) == self.storage_id

    @property
    def has_lease(self) -> bool:
        """Whether a leader was heard so recently that no election is welcome."""
        return self.leader is not None and self.elapsed_ticks < self.options.election_ticks

    def reset_election_timer(self) -> None:
        """Wait an election timeout again, plus a random part that keeps candidates apart."""
        self.elapsed_ticks = 0
        base = self.options.election_ticks
        self.timeout_ticks = self.rng.randrange(base, 2 * base)

    def enter_term(self, term: Term, voted_for: PlainNodeId | None = None) -> None:
        """A later term: the vote is free again."""
        assert term > self.term, f"term {term} does not follow {self.term}"
        self.term = term
        self.voted_for = voted_for

    def note(self, *event: object) -> None:
        """Remember an event for the story of an illegal state; formatted only then."""
        self.story.append(event)

    def illegal(self, what: str) -> IllegalState:
        """The exception that tells what happened last."""
        events = "; ".join(" ".join(map(str, event)) for event in self.story)
        return IllegalState(
            f"N{self.me} {self.role.value} term {self.term}: {what}; stop this replica and compare "
            f"the logs of its peers; last events: {events}"
        )
