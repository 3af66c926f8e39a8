"""P10: what a handler did counts once. A step has one value, in every attempt and in the result;
a token that was added to a counter is in it once; a command is in a journal once.

Handlers of a run never do the same thing twice: numbers, tokens and completion ids differ.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History
from restate_node.sim.history_invocations import (
    EntryWritten,
    InvocationAnswered,
    InvocationCalled,
    StepSeen,
)


def find(history: History) -> Iterator[str]:
    yield from _unsteady_steps(history)
    yield from _wrong_counts(history)
    yield from _doubled_commands(history)


def _unsteady_steps(history: History) -> Iterator[str]:
    first: dict[tuple[str, int], StepSeen] = {}
    for seen in history.of(StepSeen):
        name = f"step {seen.step} of {seen.invocation}"
        before = first.setdefault((seen.invocation, seen.step), seen)
        if before.value != seen.value:
            yield (
                f"{name} came to {before.value!r} at {before.at:.3f}s and to {seen.value!r} at "
                f"{seen.at:.3f}s"
            )
        if seen.expected not in ("", seen.value):
            yield f"{name} came to {seen.value!r} instead of {seen.expected!r}"
    calls = {event.call: event for event in history.of(InvocationCalled)}
    for answer in history.of(InvocationAnswered):
        call = calls[answer.call]
        if call.handler != "Program/run" or answer.is_failure:
            continue
        for step, value in enumerate(json.loads(answer.outcome)):
            seen = first.get((call.invocation, step))
            if seen is None or seen.value != value:
                found = None if seen is None else seen.value
                yield (
                    f"step {step} of {call.invocation} is {value!r} in the result, and was "
                    f"{found!r} for the handler"
                )


def _wrong_counts(history: History) -> Iterator[str]:
    """Reads of counters come at the end; adds that were answered before must be in them."""
    calls = {event.call: event for event in history.of(InvocationCalled)}
    added: dict[str, list[tuple[float, str]]] = {}
    totals: dict[tuple[str, str], InvocationCalled] = {}
    for answer in history.of(InvocationAnswered):
        call = calls[answer.call]
        if call.handler == "Counter/add" and not answer.is_failure:
            added.setdefault(call.key, []).append((answer.at, call.argument))
            other = totals.setdefault((call.key, answer.outcome), call)
            if other is not call:
                yield (
                    f"counter {call.key}: {other.argument} and {call.argument} both made it "
                    f"{answer.outcome}"
                )
        if call.handler == "Counter/tokens" and not answer.is_failure:
            counted = Counter(answer.outcome.split())
            for token, times in counted.items():
                if times > 1:
                    yield f"counter {call.key}: {token} was counted {times} times"
            for at, token in added.get(call.key, ()):
                if at < call.at and token not in counted:
                    yield f"counter {call.key}: {token}, added by {at:.3f}s, is not in it"


def _doubled_commands(history: History) -> Iterator[str]:
    first: dict[tuple[str, str], EntryWritten] = {}
    for entry in history.of(EntryWritten):
        if not entry.is_command:
            continue
        before = first.setdefault((entry.invocation, entry.digest), entry)
        if before.index != entry.index:
            yield (
                f"{entry.invocation}: one command is entry {before.index} (LSN {before.lsn}) and "
                f"entry {entry.index} (LSN {entry.lsn})"
            )


CHECKER = Checker("P10", "what a handler did counts exactly once", find)
