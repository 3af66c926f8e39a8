"""M5: a key of the metadata store behaves like one variable."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History, RegisterUsed
from restate_node.sim.linearizability import Verdict, check


def find(history: History) -> Iterator[str]:
    """A search that ends undecided is reported too: it proves nothing."""
    operations = [used.operation for used in history.of(RegisterUsed)]
    for finding in check(operations):
        if finding.verdict is not Verdict.LINEARIZABLE:
            yield str(finding)


CHECKER = Checker("M5", "keys of the metadata store are linearizable, with compare-and-swap", find)
