"""P5: an object does one thing at a time. Between two writes of one invocation nobody else writes,
and who calls it sees one variable.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History
from restate_node.sim.history_invocations import (
    InvocationAnswered,
    InvocationCalled,
    ObjectWritten,
)
from restate_node.sim.linearizability import (
    CompareAndSwap,
    Operation,
    Read,
    Request,
    Value,
    Verdict,
    Write,
    check,
)

EMPTY = ""
YES = "yes"


def find(history: History) -> Iterator[str]:
    yield from _interleaved(history)
    for finding in check(_operations(history), initial=EMPTY):
        if finding.verdict is not Verdict.LINEARIZABLE:
            yield str(finding)


def _interleaved(history: History) -> Iterator[str]:
    """Who wrote, in the order of the log, as any replica saw it."""
    writes: dict[tuple[int, str], dict[int, ObjectWritten]] = {}
    for event in history.of(ObjectWritten):
        writes.setdefault((event.partition, event.object), {}).setdefault(event.lsn, event)
    for (partition, name), by_lsn in writes.items():
        done: dict[str, ObjectWritten] = {}
        present: ObjectWritten | None = None
        for lsn in sorted(by_lsn):
            event = by_lsn[lsn]
            if present is not None and present.writer != event.writer:
                done[present.writer] = present
            if event.writer in done:
                yield (
                    f"partition {partition}: {event.writer} wrote {name} at LSN "
                    f"{done[event.writer].lsn} and at LSN {lsn}; others wrote in between"
                )
            present = event


def _operations(history: History) -> list[Operation]:
    """All calls of registers, with what they returned. Who was stopped may have written before."""
    called = {
        event.call: event
        for event in history.of(InvocationCalled)
        if event.handler.startswith("Register/")
    }
    answered = {event.call: event for event in history.of(InvocationAnswered)}
    operations: list[Operation] = []
    for number, call in called.items():
        request, answer = _request(call), answered.get(number)
        if answer is None or answer.is_failure:
            operations.append(Operation(call.key, request, call.at))
        else:
            result = _result(request, answer.outcome)
            operations.append(Operation(call.key, request, call.at, answer.at, result))
    return operations


def _request(call: InvocationCalled) -> Request:
    match call.handler:
        case "Register/set":
            return Write(call.argument)
        case "Register/swap":
            expected, _, value = call.argument.partition(">")
            return CompareAndSwap(expected, value)
        case _:
            return Read()


def _result(request: Request, outcome: str) -> Value:
    match request:
        case Write():
            return None
        case CompareAndSwap():
            return outcome == YES
        case Read():
            return outcome


CHECKER = Checker("P5", "an object has one writer at a time and is linearizable", find)
