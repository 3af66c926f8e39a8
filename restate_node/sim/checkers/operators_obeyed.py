"""P13: what an operator is told has happened: what was killed has ended so, what was paused has
stood still. And nothing ends by force that nobody wanted to end, itself or who waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.checkers.orders import orders_in
from restate_node.sim.history import History
from restate_node.sim.history_invocations import ControlOrdered, ControlSaid, StageReached

DONE = "DONE"
EXPECTED: dict[tuple[str, str], tuple[str, str]] = {
    ("KILL", DONE): ("COMPLETED", "409 killed"),
    ("CANCEL", DONE): ("COMPLETED", "409 canceled"),
    ("PAUSE", DONE): ("PAUSED", ""),
    ("PAUSE", "ALREADY"): ("PAUSED", ""),
    ("RESUME", DONE): ("INVOKED", ""),
    ("PURGE", DONE): ("FORGOTTEN", ""),
}
"""What some replica must have seen, by the order and its answer."""
BY_FORCE = ("409 killed", "409 canceled", "409 cancelled")


def find(history: History) -> Iterator[str]:
    yield from _broken_promises(history)
    yield from _unwanted_ends(history)


def _broken_promises(history: History) -> Iterator[str]:
    """Leaders answer when they have applied it, so it was seen by then."""
    ordered: dict[int, ControlOrdered] = {}
    seen: set[tuple[str, str, str]] = set()
    for event in history.events:
        match event:
            case ControlOrdered():
                ordered[event.order] = event
            case StageReached():
                seen.add((event.invocation, event.stage, event.outcome))
            case ControlSaid():
                order = ordered[event.order]
                expected = EXPECTED.get((order.control, event.status))
                if expected is not None and (order.invocation, *expected) not in seen:
                    yield (
                        f"{order.control.lower()} of {order.invocation}, ordered at "
                        f"{order.at:.3f}s: {event.node} was told {event.status.lower()} at "
                        f"{event.at:.3f}s, and no replica has it {' '.join(expected).lower()}"
                    )
            case _:
                pass


def _unwanted_ends(history: History) -> Iterator[str]:
    orders = orders_in(history)
    told: set[str] = set()
    for event in history.of(StageReached):
        by_force = event.is_failure and event.outcome in BY_FORCE
        if not by_force or event.invocation in told:
            continue
        if not orders.may_end(event.invocation, event.at):
            told.add(event.invocation)
            yield (
                f"{event.invocation} ended with {event.outcome!r} at LSN {event.lsn} of partition "
                f"{event.partition} ({event.at:.3f}s on {event.node}); nobody wanted that"
            )


CHECKER = Checker("P13", "operators are told the truth, and nothing else ends by force", find)
