"""M5: a key of the metadata store behaves like one variable."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History, RegisterCalled, RegisterUsed
from restate_node.sim.linearizability import Operation, Verdict, check


def find(history: History) -> Iterator[str]:
    """A search that ends undecided is reported too: it proves nothing."""
    for finding in check(_operations(history)):
        if finding.verdict is not Verdict.LINEARIZABLE:
            yield str(finding)


def _operations(history: History) -> list[Operation]:
    """As called, or as returned; without those that had no effect."""
    operations: dict[int, Operation] = {}
    for event in history.events:
        match event:
            case RegisterCalled():
                operations[event.call] = event.operation
            case RegisterUsed(operation=None):
                del operations[event.call]
            case RegisterUsed(operation=Operation() as done):
                operations[event.call] = done
            case _:
                pass
    return list(operations.values())


CHECKER = Checker("M5", "keys of the metadata store are linearizable, with compare-and-swap", find)
