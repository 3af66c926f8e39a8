"""What users of the cluster still want to know: calls that were not answered yet, of all clients.

A client dies with its node, and its user does not: whoever wanted something asks again at another
node, for the same invocation.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from restate_node.sim.hosts import Incarnation
from restate_node.types.invocations import Invocation, RawInvocationId

MET_MAX = 40
"""Invocations that are kept for operators to find, the newest ones."""
AGAIN = "Program"
"""A service whose calls may be made again: each does what it does under its own name."""
SAFE_FROM_OPERATORS = ("Resolver", "tokens")
"""Others would wait for what these do, for ever."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user wants to run. `single`: see `history_invocations.InvocationCalled`."""

    service: str
    handler: str
    key: str = ""
    argument: str = ""
    single: str = ""
    idempotency_key: str | None = None
    delay_ms: int | None = None
    waits: bool = True
    """Submit and wait for the outcome in one; else be content with the promise, and ask later."""


@dataclass(slots=True)
class OpenCall:
    """A call that was not answered yet."""

    number: int
    invocation: Invocation
    waits: bool
    owner: Incarnation | None
    """Who is at it; when it is dead, or gave up, somebody else may ask."""
    is_acknowledged: bool = False
    acknowledged_at: float = 0.0
    is_single: bool = False

    @property
    def is_orphan(self) -> bool:
        return self.owner is None or not self.owner.alive


@dataclass(slots=True)
class Book:
    """Of one run."""

    open: dict[int, OpenCall] = field(default_factory=dict[int, OpenCall])
    """By number."""
    wishes: deque[Wish] = field(default_factory=deque[Wish])
    """What whoever has time shall call next."""
    workflows: list[str] = field(default_factory=list[str])
    """Keys that were used."""
    counters: dict[str, None] = field(default_factory=dict[str, None])
    """Keys that were used."""
    values: dict[str, str] = field(default_factory=dict[str, str])
    """What some client has last seen in a register."""

    running: deque[RawInvocationId] = field(
        default_factory=lambda: deque[RawInvocationId](maxlen=MET_MAX)
    )
    """Whose handlers began lately, those that others called too, and have not returned."""
    returned: dict[RawInvocationId, None] = field(default_factory=dict[RawInvocationId, None])
    """Whose handlers got to their ends."""
    ended: deque[Invocation] = field(default_factory=lambda: deque[Invocation](maxlen=MET_MAX))
    """What may be made again, the newest ones."""

    def met(self, invocation: RawInvocationId, path: str) -> None:
        """A handler has begun."""
        if not any(name in path for name in SAFE_FROM_OPERATORS) and invocation not in self.running:
            self.running.append(invocation)

    def left(self, invocation: RawInvocationId) -> None:
        """A handler has returned."""
        self.returned[invocation] = None
        if invocation in self.running:
            self.running.remove(invocation)

    def answered(self, call: OpenCall) -> None:
        """Its user knows how it ended."""
        del self.open[call.number]
        if call.invocation.target.service == AGAIN and not call.is_single:
            self.ended.append(call.invocation)

    def under_way(self, service: str, key: str) -> int:
        """How many calls of an object are open."""
        targets = [call.invocation.target for call in self.open.values()]
        return sum((target.service, target.key) == (service, key) for target in targets)

    def orphans(self) -> list[OpenCall]:
        return [call for call in self.open.values() if call.is_orphan]
