"""What operators wanted done to which invocation, as a history has it: the excuse of those that end
with a failure, or are gone. See the checkers that ask.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from restate_node.sim.history import History
from restate_node.sim.history_invocations import ControlOrdered, StageReached

ENDING = ("KILL", "CANCEL")
COMPLETED = "COMPLETED"
INVOKED = "INVOKED"


@dataclass(slots=True)
class Orders:
    """By invocation."""

    first: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    """When something was ordered first, by invocation and control."""
    began: dict[str, float] = field(default_factory=dict[str, float])
    """When some replica had it run first."""
    failed: set[str] = field(default_factory=set[str])
    """What has ended with a failure on some replica."""
    callers: dict[str, str] = field(default_factory=dict[str, str])
    """Who waits for whose end."""

    def is_ordered(self, control: str, invocation: str, at: float) -> bool:
        """Somebody wanted that by then."""
        return self.first.get((invocation, control), at) < at

    def may_be_unknown(self, invocation: str, at: float) -> bool:
        """Somebody wanted it purged; or wanted its end, and it had not begun: then it never was."""
        if self.is_ordered("PURGE", invocation, at):
            return True
        return self.began.get(invocation, at) >= at and self.may_end(invocation, at)

    def may_end(self, invocation: str, at: float) -> bool:
        """Somebody wanted its end, or that of whoever waits for it."""
        name = invocation
        while name:
            if any(self.is_ordered(control, name, at) for control in ENDING):
                return True
            name = self.callers.get(name, "")
        return False


def orders_in(history: History) -> Orders:
    """All of a history."""
    orders = Orders()
    for event in history.events:
        match event:
            case ControlOrdered():
                orders.first.setdefault((event.invocation, event.control), event.at)
            case StageReached():
                if event.caller:
                    orders.callers[event.invocation] = event.caller
                if event.stage == INVOKED:
                    orders.began.setdefault(event.invocation, event.at)
                if event.stage == COMPLETED and event.is_failure:
                    orders.failed.add(event.invocation)
            case _:
                pass
    return orders
