"""P3: a command takes effect once, at one place of the log, on every replica."""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import CommandApplied, History


def find(history: History) -> Iterator[str]:
    """A restarted replica may apply the same LSN again; that is replay, not a second effect."""
    first: dict[tuple[int, str], CommandApplied] = {}
    for seen in history.of(CommandApplied):
        before = first.setdefault((seen.partition, seen.command), seen)
        if before.lsn != seen.lsn:
            yield (
                f"partition {seen.partition}: command {seen.command} took effect at LSN "
                f"{before.lsn} (on {before.node} at {before.at:.3f}s) and at LSN {seen.lsn} "
                f"(on {seen.node} at {seen.at:.3f}s)"
            )


CHECKER = Checker("P3", "each command is applied exactly once", find)
