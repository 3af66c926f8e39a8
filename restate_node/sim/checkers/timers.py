"""P7: a timer never rings early, by more than clocks differ, and every timer rings. It need not if
whoever set it, or was to begin by it, has ended with a failure before.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.checkers.orders import orders_in
from restate_node.sim.history import History
from restate_node.sim.history_invocations import (
    InvocationCalled,
    InvocationsSettled,
    TimerRang,
    TimerSet,
)

ROUNDING_SECONDS = 0.002


def find_early(history: History) -> Iterator[str]:
    for rang in history.of(TimerRang):
        if rang.at < rang.due - rang.skew - ROUNDING_SECONDS:
            yield (
                f"{rang.timer} rang at {rang.at:.3f}s and was due at {rang.due:.3f}s; clocks are "
                f"off by {rang.skew:.3f}s at most"
            )


def find_silent(history: History) -> Iterator[str]:
    """In the end; a run that broke off before proves nothing."""
    settled = history.last(InvocationsSettled)
    if settled is None:
        return
    rang = {event.timer for event in history.of(TimerRang)}
    told = _stopped(history)
    for event in history.of(TimerSet):
        is_due = event.due < settled.at
        if is_due and event.timer not in rang and event.timer not in told:
            told.add(event.timer)
            yield (
                f"{event.timer}, due at {event.due:.3f}s, has not rung when the run was over at "
                f"{settled.at:.3f}s"
            )


def _stopped(history: History) -> set[str]:
    """Timers of invocations that were ended by force. A step's is named `invocation/number`, that
    of a delayed call by what it adds.
    """
    failed = orders_in(history).failed
    delayed = {e.argument for e in history.of(InvocationCalled) if e.invocation in failed}
    timers = {event.timer for event in history.of(TimerSet)}
    return {name for name in timers if name in delayed or name.split("/")[0] in failed}


NEVER_EARLY = Checker("P7", "a timer never rings early", find_early)
ALL_RING = Checker("P7, in the end", "every timer rings", find_silent)
