"""P13: what an operator is told has happened: what was killed has ended so, what was paused has
stood still. What has ended can be made again, unless somebody purged it. And nothing ends by force
that nobody wanted to end, itself or who waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.checkers.orders import COMPLETED, orders_in
from restate_node.sim.history import History
from restate_node.sim.history_invocations import (
    JOURNAL_KEPT_SECONDS,
    ControlOrdered,
    ControlSaid,
    StageReached,
)

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


AGAIN = "RESTART_AS_NEW"
PURGING = ("PURGE", "PURGE_JOURNAL")
SKEW_SECONDS = 1.0
"""Clocks of leaders differ, and those of replicas that say when it ended."""


def find(history: History) -> Iterator[str]:
    yield from _broken_promises(history)
    yield from _not_made_again(history)
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


def _not_made_again(history: History) -> Iterator[str]:
    """Operators only ask it of what has ended; `acknowledged_ends` looks after the new one."""
    ordered = {event.order: event for event in history.of(ControlOrdered)}
    ended: dict[str, float] = {}
    for event in history.of(StageReached):
        if event.stage == COMPLETED:
            ended.setdefault(event.invocation, event.at)
    orders = orders_in(history)
    for said in history.of(ControlSaid):
        order = ordered[said.order]
        if order.control != AGAIN or said.status == DONE:
            continue
        is_late = said.at > ended[order.invocation] + JOURNAL_KEPT_SECONDS - SKEW_SECONDS
        if said.status == "JOURNAL_MISSING" and is_late:
            continue
        if not any(orders.is_ordered(purge, order.invocation, said.at) for purge in PURGING):
            yield (
                f"{order.invocation} had ended, and was not made again when {order.node} wanted "
                f"that at {order.at:.3f}s: {said.status.lower()} at {said.at:.3f}s"
            )


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
