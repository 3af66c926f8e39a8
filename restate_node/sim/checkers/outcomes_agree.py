"""P12: an invocation ends once, in one way. Clients that wait for it, handlers that attach to it or
ask for its output, and all replicas have the same; and if it is no failure, its handler returned
it.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.checkers.orders import COMPLETED, orders_in
from restate_node.sim.history import History
from restate_node.sim.history_invocations import (
    HandlerReturned,
    InvocationAnswered,
    InvocationCalled,
    OutcomeSeen,
    StageReached,
)

Told = tuple[float, str, str, str]
"""When, who, which invocation, what."""
NOT_FOUND = "404 not found"


def find(history: History) -> Iterator[str]:
    orders = orders_in(history)
    first: dict[str, Told] = {}
    for told in _told(history):
        at, who, invocation, outcome = told
        if orders.is_ordered("PURGE", invocation, at):
            continue
        if outcome == NOT_FOUND and orders.may_be_unknown(invocation, at):
            continue
        before = first.setdefault(invocation, told)
        if before[3] != outcome:
            yield (
                f"{invocation}: {before[1]} knew at {before[0]:.3f}s that it had ended with "
                f"{before[3]!r}, and {who} knew at {at:.3f}s that it had with {outcome!r}"
            )
    yield from _invented(history)


def _told(history: History) -> Iterator[Told]:
    calls: dict[int, InvocationCalled] = {}
    singles: dict[str, str] = {}
    for event in history.events:
        match event:
            case InvocationCalled():
                calls[event.call] = event
                singles[event.single] = event.invocation
            case InvocationAnswered():
                yield event.at, event.node, calls[event.call].invocation, event.outcome
            case OutcomeSeen() if event.other not in singles and " " in event.other:
                pass  # A workflow that nobody has called.
            case OutcomeSeen():
                other = singles.get(event.other, event.other)
                # Who asks for a workflow may be there before it.
                if event.outcome != NOT_FOUND or other == event.other:
                    yield event.at, event.observer, other, event.outcome
            case StageReached(stage="COMPLETED"):
                yield event.at, event.node, event.invocation, event.outcome
            case _:
                pass


def _invented(history: History) -> Iterator[str]:
    returned = {(event.invocation, event.value) for event in history.of(HandlerReturned)}
    for event in history.of(StageReached):
        is_value = event.stage == COMPLETED and not event.is_failure
        if is_value and (event.invocation, event.outcome) not in returned:
            yield (
                f"{event.invocation}: {event.node} has it ended with {event.outcome!r} at LSN "
                f"{event.lsn}, which its handler never returned"
            )


CHECKER = Checker("P12", "an invocation ends in one way, and all who ask are told so", find)
