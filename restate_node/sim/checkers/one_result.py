"""P6: a workflow runs once for its key, a call with an idempotency key runs once for that: all who
ask are told the same. Each run draws a number that no other run has, so a second one would show.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History
from restate_node.sim.history_invocations import InvocationAnswered, InvocationCalled


def find(history: History) -> Iterator[str]:
    singles = {event.call: event.single for event in history.of(InvocationCalled) if event.single}
    first: dict[str, InvocationAnswered] = {}
    for answer in history.of(InvocationAnswered):
        single = singles.get(answer.call)
        if single is None:
            continue
        before = first.setdefault(single, answer)
        if before.outcome != answer.outcome:
            yield (
                f"{single}: {before.node} was told {before.outcome!r} at {before.at:.3f}s, and "
                f"{answer.node} was told {answer.outcome!r} at {answer.at:.3f}s"
            )


CHECKER = Checker("P6", "a workflow key and an idempotency key have one result", find)
