"""Which members of a nodeset the next store wave is sent to.

The strategy is *flood*: every member that takes stores, except those on the graylist (suspected
dead, or failed a moment ago). Sending to all and acknowledging at the first write quorum costs
bandwidth and saves the wait for a slow disk. The order is shuffled so that no member is always
served first.

When what is left cannot make a write quorum, the graylist was too cautious: it is dropped and
everybody but the sealed is asked again. When even that does not suffice the nodeset is lost for
writing and the log must be reconfigured.

Driven by the append wave, once per wave. The random source is an argument: the simulator owns it.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from restate_node.protocol.quorum import NodesetChecker
from restate_node.types.ids import PlainNodeId, plain_text

_NOBODY: frozenset[PlainNodeId] = frozenset()


@dataclass(frozen=True, slots=True)
class Spread:
    """Send to these, in this order. `graylist_dropped`: forget the graylist that was passed."""

    nodes: tuple[PlainNodeId, ...]
    graylist_dropped: bool = False


@dataclass(frozen=True, slots=True)
class NoSpread:
    """No write quorum can be reached: reconfigure the log."""

    reason: str


SpreadChoice: TypeAlias = Spread | NoSpread


def choose_spread(
    checker: NodesetChecker,
    random: Random,
    graylist: Set[PlainNodeId] = _NOBODY,
    sealed: Set[PlainNodeId] = _NOBODY,
    committed: Set[PlainNodeId] = _NOBODY,
) -> SpreadChoice:
    """Members to store to; holders of the records count for the quorum but are no targets."""
    usable = checker.writable - sealed
    trusted = usable - graylist
    if checker.write_quorum(trusted | committed):
        return Spread(_shuffled(trusted - committed, random))
    if checker.write_quorum(usable | committed):
        return Spread(_shuffled(usable - committed, random), graylist_dropped=True)
    names = ", ".join(plain_text(node) for node in sorted(usable)) or "nobody"
    return NoSpread(
        f"{checker.replication} cannot be met by {names}, the members that still take stores; "
        "reconfigure the log"
    )


def _shuffled(nodes: frozenset[PlainNodeId], random: Random) -> tuple[PlainNodeId, ...]:
    ordered = sorted(nodes)  # a set has no order of its own that a seed could reproduce
    random.shuffle(ordered)
    return tuple(ordered)
