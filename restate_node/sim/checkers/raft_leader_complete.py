"""M3: leader completeness."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History, RaftApplied, RaftLeader


def find(history: History) -> Iterator[str]:
    """What was applied anywhere before a leader came into office must be in that leader's log."""
    highest: RaftApplied | None = None
    for event in history.events:
        if isinstance(event, RaftApplied) and (highest is None or event.index > highest.index):
            highest = event
        if not isinstance(event, RaftLeader) or highest is None:
            continue
        if highest.term < event.term and event.last_index < highest.index:
            yield (
                f"{event.node} leads in term {event.term} with entries up to {event.last_index}, "
                f"although {highest.node} applied entry {highest.index} of term {highest.term}"
            )


CHECKER = Checker("M3", "a new leader of the metadata store has every committed entry", find)
