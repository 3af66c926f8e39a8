"""Where a loglet ends, when its sequencer cannot be asked.

Each log server knows how far it has records (its local tail), a committed prefix (the global tail
it has heard of) and whether it is sealed. From the answers of enough of them follows the tail:

    sealed nodes      others         T = highest local tail        decision
    ---------------   ------------   ---------------------------   -----------------------------
    f-majority        any            of the sealed ones
                                     - known to be committed, or
                                       on a write quorum            Sealed(T)
                                     - else, if a write quorum
                                       answered                     NeedsRepair(global tail, T)
    some              f-majority     (a seal was left half done)    SealFirst
                      in all
    none              f-majority     of all
                                     - on a write quorum            Open(T)
                                     - T <= global tail             Open(global tail)
                                     - else (stores in flight)      WaitFor(T)
    fewer answers                                                   Undecided

A tail is never below anything that was acknowledged before the question was asked, because an
f-majority meets every write quorum. A node that jumped over a hole counts as having what is in
the hole: it jumped because that was committed.

A server that is being repaired is silent here: its tail means nothing. But it takes records, so it
counts among those to which a write quorum can be completed (`repairable`). Where all members hold
each record, no tail could be proven without it.

**One sealed tail.** Two searches may hear from different f-majorities and find different tails,
each of them correct, since the records between are unacknowledged. Which one is *the* tail is
decided by the chain: the first writer of the next segment's base wins, all others MUST take that.
Until then a sealed tail is a proposal.

Driven by the find-tail procedure of `bifrost`: GetLogletInfo to all effective members; on `WaitFor`
send WaitForTail and feed the answers again, and seal when the sequencer is gone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeAlias

from restate_node.protocol.quorum import NodesetChecker
from restate_node.types.ids import PlainNodeId
from restate_node.types.log_messages import LogletHeader, LogletInfo
from restate_node.types.offsets import OLDEST_OFFSET, LogletOffset


@dataclass(frozen=True, slots=True)
class Undecided:
    """More answers are needed."""


@dataclass(frozen=True, slots=True)
class Open:
    """Everything below is committed; the loglet grows."""

    tail: LogletOffset


@dataclass(frozen=True, slots=True)
class Sealed:
    """Everything below is replicated and nothing above is acknowledged: propose it to the chain."""

    tail: LogletOffset


@dataclass(frozen=True, slots=True)
class NeedsRepair:
    """Replicate `[first, tail)`, then the loglet is sealed at `tail`."""

    first: LogletOffset
    tail: LogletOffset


@dataclass(frozen=True, slots=True)
class SealFirst:
    """Complete the seal that someone began, then ask again."""


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Stores up to here are under way: wait until a write quorum reaches it, then ask again."""

    tail: LogletOffset


TailDecision: TypeAlias = Undecided | Open | Sealed | NeedsRepair | SealFirst | WaitFor


class TailTally:
    """Counts the answers of one search; an answer replaces the node's former one."""

    __slots__ = ("_all_provisioning", "_headers", "_quorum", "_repairable", "trim_point")

    def __init__(
        self,
        quorum: NodesetChecker,
        all_provisioning: bool = False,
        repairable: Collection[PlainNodeId] = (),
    ) -> None:
        """`all_provisioning`: no member of the nodeset was ever written to."""
        self._quorum = quorum
        self._repairable = frozenset(repairable)
        self._all_provisioning = all_provisioning
        self._headers: dict[PlainNodeId, LogletHeader] = {}
        self.trim_point = LogletOffset(0)
        """Highest trim point heard of."""

    def add(self, node: PlainNodeId, info: LogletInfo) -> TailDecision:
        """The answer of a node to GetLogletInfo."""
        self.trim_point = max(self.trim_point, info.trim_point)
        return self.update(node, info.header)

    def update(self, node: PlainNodeId, header: LogletHeader) -> TailDecision:
        """A later word of a node, for example the answer to WaitForTail."""
        self._headers[node] = header
        return self.decide()

    def decide(self) -> TailDecision:
        """What follows from the answers so far."""
        if self._all_provisioning:
            return Open(OLDEST_OFFSET)
        sealed = {node for node, header in self._headers.items() if header.sealed}
        if self._quorum.f_majority(sealed).passed:
            return self._sealed_tail(sealed)
        if not self._quorum.f_majority(self._headers.keys()).passed:
            return Undecided()
        return SealFirst() if sealed else self._open_tail()

    @property
    def known_global_tail(self) -> LogletOffset:
        """Highest global tail heard of."""
        tails = (header.known_global_tail for header in self._headers.values())
        return max(tails, default=OLDEST_OFFSET)

    def _sealed_tail(self, sealed: set[PlainNodeId]) -> TailDecision:
        committed = self.known_global_tail
        tail = max(committed, *(self._headers[node].local_tail for node in sealed))
        if tail == committed or self._is_replicated(tail):
            return Sealed(tail)
        if self._quorum.write_quorum(self._repairable.union(self._headers)):
            return NeedsRepair(committed, tail)
        return Undecided()

    def _open_tail(self) -> TailDecision:
        tail = max(header.local_tail for header in self._headers.values())
        if tail <= self.known_global_tail:
            return Open(self.known_global_tail)
        return Open(tail) if self._is_replicated(tail) else WaitFor(tail)

    def _is_replicated(self, tail: LogletOffset) -> bool:
        """A write quorum has reached the tail."""
        return self._quorum.write_quorum(
            {node for node, header in self._headers.items() if header.local_tail >= tail}
        )
