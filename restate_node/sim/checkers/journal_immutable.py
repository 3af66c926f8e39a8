"""P4: a journal only grows. What stands at an index stands there for ever, on every replica, and a
handler is replayed what it wrote.
"""

from __future__ import annotations

from collections.abc import Iterator

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import History
from restate_node.sim.history_invocations import EntryForgotten, EntryWritten, ReplayBroken

Place = tuple[int, str, int]
"""Partition, invocation, index."""
Writes = dict[int, list[EntryWritten]]
"""By LSN."""


def find(history: History) -> Iterator[str]:
    """A replica that applies a record again writes the same; a forgotten journal may begin anew."""
    written: dict[Place, Writes] = {}
    forgotten: dict[Place, set[int]] = {}
    for event in history.events:
        match event:
            case EntryWritten():
                place = (event.partition, event.invocation, event.index)
                written.setdefault(place, {}).setdefault(event.lsn, []).append(event)
            case EntryForgotten():
                place = (event.partition, event.invocation, event.index)
                forgotten.setdefault(place, set()).add(event.lsn)
            case ReplayBroken():
                yield f"{event.invocation} at {event.at:.3f}s: {event.text}"
            case _:
                pass
    for place, writes in written.items():
        yield from _conflicts(place, writes, sorted(forgotten.get(place, ())))


def _conflicts(place: Place, writes: Writes, forgotten: list[int]) -> Iterator[str]:
    name = f"partition {place[0]}: entry {place[2]} of {place[1]}"
    former: EntryWritten | None = None
    for lsn in sorted(writes):
        first = writes[lsn][0]
        for other in writes[lsn]:
            if other.digest != first.digest:
                yield (
                    f"{name} is {first.digest} on {first.node} and {other.digest} on "
                    f"{other.node}, by LSN {lsn}"
                )
        if former is not None and not any(former.lsn <= gone <= lsn for gone in forgotten):
            yield (
                f"{name} was written at LSN {former.lsn} ({former.digest}, on {former.node}) and "
                f"again at LSN {lsn} ({first.digest}, on {first.node})"
            )
        former = first


CHECKER = Checker("P4", "an entry of a journal is written once and never changes", find)
