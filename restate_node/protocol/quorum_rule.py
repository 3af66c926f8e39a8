"""What the loglet's procedures ask of a nodeset: two questions about a set of its nodes.

Every guarantee rests on one fact: a *write quorum* and an *f-majority* of the same nodeset have a
node in common. Who hears from an f-majority has heard from someone who holds any committed record;
when an f-majority is sealed, no write quorum can form any more.

        nodeset of 5, replication 2      ● ●  . . .     write quorum: 2 nodes
                                         .  ● ● ● ●     f-majority: 5 - 2 + 1 = 4 nodes

With zones and storage states the arithmetic is more than counting; see `quorum`.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Protocol

from restate_node.types.ids import PlainNodeId


class QuorumRule(Protocol):
    """Both answers MUST be monotone: more nodes never turn yes into no."""

    def write_quorum(self, nodes: Set[PlainNodeId], /) -> bool:
        """A record stored on these nodes is replicated."""
        ...

    def f_majority(self, nodes: Set[PlainNodeId], /) -> bool:
        """Every write quorum contains one of these nodes."""
        ...
