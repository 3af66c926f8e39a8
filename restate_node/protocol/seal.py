"""Sealing a loglet: when enough log servers have promised to take nothing more.

Once an f-majority is sealed, every write quorum contains a sealed node: no record can become
committed any more, and each one that ever was lies below the local tail of a sealed node. So the
highest local tail among them bounds all acknowledgements, those still on their way included.

        N1  1 2 3 4 | sealed, local tail 5  ┐ f-majority of 3 nodes, replication 2
        N2  1 2 3   | sealed, local tail 4  ┘ nothing at or above 5 is, or will be, acknowledged
        N3  1 2 3 4 5 ...                     may go on: alone it is no write quorum

The answer is a bound, not yet the tail: that is for `tail` (and `repair`) to find.

Driven by the seal procedure of `bifrost`: send Seal to all effective members of the nodeset, a few
attempts each, and feed what comes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from restate_node.protocol.quorum import NodesetChecker
from restate_node.types.ids import PlainNodeId
from restate_node.types.log_messages import LogletHeader
from restate_node.types.offsets import OLDEST_OFFSET, LogletOffset


@dataclass(frozen=True, slots=True)
class Sealing:
    """Go on."""


@dataclass(frozen=True, slots=True)
class SealDone:
    """An f-majority is sealed; nothing at or above `max_local_tail` was or will be acknowledged."""

    max_local_tail: LogletOffset
    known_global_tail: LogletOffset


@dataclass(frozen=True, slots=True)
class SealImpossible:
    """Too many nodes are out of reach: begin again later."""

    reason: str


SealProgress: TypeAlias = Sealing | SealDone | SealImpossible


class SealTally:
    """Counts the answers to one round of Seal."""

    __slots__ = ("_failed", "_known_global_tail", "_max_local_tail", "_nodes", "_quorum", "_sealed")

    def __init__(self, quorum: NodesetChecker, nodes: Iterable[PlainNodeId]) -> None:
        """`nodes`: the effective members of the nodeset, all of which are asked."""
        self._quorum = quorum
        self._nodes = frozenset(nodes)
        self._sealed: set[PlainNodeId] = set()
        self._failed: dict[PlainNodeId, str] = {}
        self._max_local_tail = OLDEST_OFFSET
        self._known_global_tail = OLDEST_OFFSET

    def add(self, node: PlainNodeId, header: LogletHeader) -> SealProgress:
        """The node's answer; it counts if it says that the loglet is sealed there."""
        self._known_global_tail = max(self._known_global_tail, header.known_global_tail)
        if not header.sealed:
            return self.failed(node, header.status.name.lower())
        self._failed.pop(node, None)
        self._sealed.add(node)
        self._max_local_tail = max(self._max_local_tail, header.local_tail)
        return self.progress()

    def failed(self, node: PlainNodeId, reason: str) -> SealProgress:
        """All attempts at the node failed."""
        if node not in self._sealed:
            self._failed[node] = reason
        return self.progress()

    def progress(self) -> SealProgress:
        """Where the seal stands; ask at once, a nodeset may be hopeless from the start."""
        if self._quorum.f_majority(self._sealed).passed:
            return SealDone(self._max_local_tail, self._known_global_tail)
        if self._quorum.f_majority(self._nodes - self._failed.keys()).passed:
            return Sealing()
        failures = ", ".join(f"N{node} {self._failed[node]}" for node in sorted(self._failed))
        return SealImpossible(
            f"no f-majority of the nodeset can be sealed ({failures or 'no nodes'}); "
            "bring log servers back and retry"
        )
