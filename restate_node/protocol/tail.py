"""Where a loglet ends, when its sequencer cannot be asked.

Each log server knows how far it has records (its local tail), a committed prefix (the global tail
it has heard of) and whether it is sealed. From the answers of enough of them follows the tail:

    sealed nodes      others         T = highest local tail        decision
    ---------------   ------------   ---------------------------   -----------------------------
    f-majority        any            of the sealed ones
                                     - known to be committed, or
                                       on a write quorum            Sealed(T)
                                     - else, if a write quorum
                                       answered, or all who can
                                       be written are too few
                                       for one and answered         NeedsRepair(global tail, T)
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
counts among those to which a write quorum can be completed (`repairable`).

**No write quorum left.** Of [N1, N2] with two copies of each record, N2 has lost its store. N1 has
all that was ever acknowledged, yet the tail's last records cannot get a second copy. Two things are
to be kept apart, and only one of them is about truth:

- *Nothing acknowledged is at or above T, nor ever will be.* That takes sealed members which meet
  every write quorum and whose word is good: what they lack was not acknowledged, what they refuse
  cannot be. N1 alone is such a set. A member after data loss is none, nor is one that counts as
  empty (disabled, removed): it may have held records when they were acknowledged. So the proof is
  about the whole nodeset (`NodesetChecker.proves`), not about what is left of it, and stricter
  than the f-majority, which may pass *with risk*.
- *What lies below T has its copies.* That is a promise of replication, broken for all the loglet's
  records when the store was lost. Where the nodes configuration says that members which can be
  written make no write quorum, all of them are asked for, which is the most there can be. Silence
  lowers nothing: a member that can be written MUST answer and take its copies, for when it is
  back it would be whole, and a record would have fewer copies than members to hold them.

An *open* tail gets no such relief: a record that may still be retried must not look committed. The
search waits, seals, and comes here.

Why this holds, case by case. *Two searchers*, with equal or different configurations: both tails
are above all acknowledgements, and the chain takes one. *A zombie sequencer* finds no write quorum
without a sealed member, whichever others forgot their seal. *A store that is empty and forced to
read-write* cannot undo a proof that did not count on it; before the search it is an operator's
lie, which says that nothing was ever acknowledged there, and breaks each quorum of this page, with
or without a write quorum. *States that change during the search*: the driver repairs under the
configuration that decided and looks again if it is not the present one. *A server under repair*
takes part while it runs on the searching node; if another search ends the loglet without it, the
repair copies up to that end (`server_repair`). *A restart of all* changes nothing: seals and
records are on disks, states in metadata. What is *not* decided: two of three members lost with
two copies each; records may have been on just those two, so the search stays undecided and says so.
LogDevice draws the same line between authoritative and non-authoritative answers.

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
    is_proven: bool = False
    """Whatever becomes of the copies, nothing at or above the tail was or will be acknowledged."""


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
        is_proven = self._quorum.proves(sealed)
        present = self._repairable.union(self._headers)
        if self._quorum.exhausted_by(present, self._repairable):
            if is_proven:
                return NeedsRepair(committed, tail, is_proven)
            if self._quorum.proves(self._headers):
                return SealFirst()  # those whose word is good are here, and not yet sealed
        if self._quorum.write_quorum(present):
            return NeedsRepair(committed, tail, is_proven)
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
