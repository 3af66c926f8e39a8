"""What waits for the wall clock: timers of partitions, and runs that will be tried again.

    Timers.run ─┐ a probe notes who runs        earliest ─▶ how far time may leap
    Run.drive  ─┘ and forgets who has ended     nudge    ─▶ look at the clock again
                                                are_late ─▶ time may not leap

They sleep by the monotonic clock, until a moment of the wall clock. A leap leaves the former alone,
so whoever sleeps then would oversleep: not only who is due where the leap ends, also who is due a
millisecond later. So everybody is nudged at the moment that is his.

Nodes are not told that they are watched: the two functions are replaced for as long as a cluster is
under test, by ones that do the same. Lives that were killed are left out, they wait for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, TypeAlias

from restate_node.roles.worker.invoker.run import Run
from restate_node.roles.worker.timers import Timers
from restate_node.sim.hosts import Incarnation, current_incarnation
from restate_node.sim.substitution import Substitution

Watched: TypeAlias = Timers | Run
Drive: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]


class Waits:
    """Of all nodes of one cluster."""

    def __init__(self) -> None:
        self._watched: dict[Watched, Incarnation | None] = {}

    def substitutions(self) -> list[Substitution]:
        """To be in place before the first node starts."""
        return [Substitution(Timers, "run", self._watch), Substitution(Run, "drive", self._watch)]

    def earliest_ms(self, after_ms: int) -> int | None:
        """When the first of them is due, of those that are not yet."""
        moments = (_due_ms(watched) for watched in self._alive())
        return min((at for at in moments if at is not None and at > after_ms), default=None)

    def are_late(self, now_ms: int) -> bool:
        """Whether something that is due is not done: it waits for the log."""
        return any(_is_late(watched, now_ms) for watched in self._alive())

    def nudge(self, now_ms: int) -> None:
        """Those who are due now shall notice, although the monotonic clock tells them to sleep."""
        for watched in self._alive():
            due = _due_ms(watched)
            if due is None or due > now_ms:
                continue
            match watched:
                case Timers():
                    watched.set(0)
                case Run():
                    watched.go_on()

    def _alive(self) -> list[Watched]:
        return [watched for watched, life in self._watched.items() if life is None or life.alive]

    def _watch(self, inner: Drive) -> Drive:
        @wraps(inner)
        async def watched(self_: Watched) -> None:
            self._watched[self_] = current_incarnation.get()
            try:
                await inner(self_)
            finally:
                self._watched.pop(self_, None)

        return watched


def _due_ms(watched: Watched) -> int | None:
    match watched:
        case Timers():
            return watched.next_ms
        case Run():
            return None if watched.attempt is not None else watched.next_retry_ms


def _is_late(watched: Watched, now_ms: int) -> bool:
    due_ms = _due_ms(watched)
    is_due = due_ms is not None and due_ms <= now_ms
    return is_due or (isinstance(watched, Timers) and watched.is_late)
