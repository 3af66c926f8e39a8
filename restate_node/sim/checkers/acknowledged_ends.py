"""P9: what was promised to run exists, and ends; with a result, unless somebody wanted to end it by
force, and for ever, unless somebody wanted to purge it, or to end it before it began.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.checkers.orders import orders_in
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
    orders = orders_in(history)
    for event in history.events:
        match event:
            case InvocationAnswered(is_failure=True):
                answered.add(event.call)
                if not orders.may_end(calls[event.call].invocation, event.at):
                    yield f"{_text(calls[event.call])} ended with {event.outcome!r}"
            case InvocationAnswered():
                answered.add(event.call)
            case InvocationUnknown():
                answered.add(event.call)
                if not orders.may_be_unknown(calls[event.call].invocation, event.at):
                    promise = promised.get(event.call)
                    since = "" if promise is None else f", promised to run at {promise.at:.3f}s"
                    yield f"{_text(calls[event.call])}{since}, is unknown at {event.at:.3f}s"
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
