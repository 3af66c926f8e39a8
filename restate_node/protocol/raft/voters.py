"""What a majority of the voters agrees on: an index, a read round, or the outcome of a vote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

from restate_node.types.ids import PlainNodeId
from restate_node.types.raft import Members


class Tally(Enum):
    """How an election stands."""

    UNDECIDED = "undecided"
    WON = "won"
    LOST = "lost"


def majority_count(members: Members) -> int:
    """How many voters decide."""
    return len(members) // 2 + 1


def majority_value(members: Members, reached: Callable[[PlainNodeId], int]) -> int:
    """The highest value that a majority of the voters has reached; 0 if nobody votes."""
    if not members.created_at_millis:
        return 0
    values = sorted(map(reached, members.created_at_millis), reverse=True)
    return values[majority_count(members) - 1]


def tally(members: Members, votes: Mapping[PlainNodeId, bool]) -> Tally:
    """Count the votes of the members only; a vote that did not arrive is open."""
    granted = sum(votes.get(node, False) for node in members.created_at_millis)
    refused = sum(not votes.get(node, True) for node in members.created_at_millis)
    if granted >= majority_count(members):
        return Tally.WON
    if len(members) - refused < majority_count(members):
        return Tally.LOST
    return Tally.UNDECIDED
