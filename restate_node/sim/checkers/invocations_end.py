"""V3: when all faults are over, all invocations come to an end, those that others called too."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.checkers.orders import orders_in
from restate_node.sim.history import Healed, History
from restate_node.sim.history_invocations import (
    InvocationAnswered,
    InvocationCalled,
    InvocationsSettled,
    InvocationUnknown,
)

SECONDS_MAX = 60.0


def find(history: History) -> Iterator[str]:
    healed, settled = history.last(Healed), history.last(InvocationsSettled)
    if healed is None or settled is None:
        return
    answers = {event.call: event.at for event in history.of(InvocationAnswered)}
    orders = orders_in(history)
    calls = {event.call: event for event in history.of(InvocationCalled)}
    for unknown in history.of(InvocationUnknown):
        # Whose end was purged, or who never began, cannot be told of any more.
        if orders.may_be_unknown(calls[unknown.call].invocation, unknown.at):
            answers[unknown.call] = unknown.at
    for call in history.of(InvocationCalled):
        deadline = max(healed.at, call.at) + SECONDS_MAX
        if call.call not in answers or answers[call.call] > deadline:
            yield (
                f"call {call.call} of {call.handler} {call.key} ({call.invocation}), made at "
                f"{call.at:.3f}s, was not answered by {deadline:.3f}s"
            )
    for text in settled.left:
        yield f"{text} at {settled.at:.3f}s"


CHECKER = Checker("V3", f"after healing, all invocations end within {SECONDS_MAX:.0f} s", find)
