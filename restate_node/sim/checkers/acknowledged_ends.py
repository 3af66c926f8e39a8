"""P9: what was promised to run exists, and ends; with a result, as nobody ended it by force."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History
from restate_node.sim.history_invocations import (
    InvocationAcknowledged,
    InvocationAnswered,
    InvocationCalled,
    InvocationsSettled,
    InvocationUnknown,
)


def find(history: History) -> Iterator[str]:
    calls = {event.call: event for event in history.of(InvocationCalled)}
    promised = {event.call: event for event in history.of(InvocationAcknowledged)}
    answered: set[int] = set()
    for event in history.events:
        match event:
            case InvocationAnswered(is_failure=True):
                yield f"{_text(calls[event.call])} ended with {event.outcome!r}"
                answered.add(event.call)
            case InvocationAnswered():
                answered.add(event.call)
            case InvocationUnknown():
                promise = promised.get(event.call)
                since = "" if promise is None else f", promised to run at {promise.at:.3f}s"
                yield f"{_text(calls[event.call])}{since}, is unknown at {event.at:.3f}s"
                answered.add(event.call)
            case _:
                pass
    if history.last(InvocationsSettled) is None:
        return
    for number in sorted(promised.keys() - answered):
        promise = promised[number]
        yield f"{_text(calls[number])}, promised to run at {promise.at:.3f}s, has no end"


def _text(call: InvocationCalled) -> str:
    return f"call {call.call} of {call.handler} {call.key} ({call.invocation})"


CHECKER = Checker("P9", "an acknowledged invocation exists and ends", find)
