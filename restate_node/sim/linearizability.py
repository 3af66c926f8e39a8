"""Did the history of one register look like one register? (invariants M5 and P5)

Clients call at one time and learn the result at another. A history is linearizable when every
operation can be given one instant between the two at which it took effect, such that the results
are those of a plain variable. The idea of the search is Wing and Gong's, with Lowe's refinements:
decide operations only when a return forces it, remember configurations, and treat every key alone
(a history is linearizable iff each key's is).

    a configuration = (state, operations that took effect but have not returned)

    on a call     the operation is open: it may take effect from now on
    on a return   every configuration tries all orders of open operations that end with this one
                  having taken effect with the result its client saw; those that cannot are
                  dropped; none left: violation, and this return is where the history broke

An operation without a return (timeout, killed client) stays open for ever: it may take effect
late, or never. Tried in every place, twenty of them make a million configurations. Two
observations keep them few. *Unseen, unneeded*: one whose effect the next operation overwrites may
as well not have happened, so it is only tried right before an operation that cannot do without
it. *Later is as good*: what such operations can still do to a configuration need not be a
configuration of its own. Unanswered reads tell nothing and are left out.

The search is exponential in operations open at once; beyond `configurations_max` it gives up as
UNDECIDED and never calls that a success. It shares no code with what it checks. Workloads feed it
after a run.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, assert_never

Value: TypeAlias = Hashable

CONFIGURATIONS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class Write:
    """Set the value. Its result carries no information."""

    value: Value


@dataclass(frozen=True, slots=True)
class Read:
    """The result is the value."""


@dataclass(frozen=True, slots=True)
class CompareAndSwap:
    """Set `value` if `expected` is there; the result is whether it was."""

    expected: Value
    value: Value


Request: TypeAlias = Write | Read | CompareAndSwap


@dataclass(frozen=True, slots=True)
class Operation:
    """What one client did and saw. Leave out operations known not to have happened."""

    key: str
    request: Request
    called_at: float
    returned_at: float | None = None
    """None: the client never learned; the operation may take effect at any time after the call."""
    result: Value = None

    def __post_init__(self) -> None:
        assert self.returned_at is None or self.returned_at >= self.called_at


class Verdict(Enum):
    LINEARIZABLE = "linearizable"
    VIOLATION = "violation"
    UNDECIDED = "undecided"
    """Too many operations at once for the limit: use fewer clients or more keys."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Verdict for one key; `operation` is the return at which the search ended."""

    key: str
    verdict: Verdict
    operation: Operation | None = None
    states: tuple[Value, ...] = ()
    """Values the register may have had just before a violation."""

    def __str__(self) -> str:
        if self.operation is None:
            return f"{self.key}: {self.verdict.value}"
        return (
            f"{self.key}: {self.verdict.value} at {self.operation}; "
            f"the value may have been one of {list(self.states)}"
        )


def check(
    history: Iterable[Operation],
    initial: Value = None,
    configurations_max: int = CONFIGURATIONS_MAX,
) -> list[Finding]:
    """One finding per key, in order of first appearance; all registers start as `initial`."""
    keys: dict[str, list[Operation]] = {}
    for operation in history:
        keys.setdefault(operation.key, []).append(operation)
    return [
        check_register(key, operations, initial, configurations_max)
        for key, operations in keys.items()
    ]


def violations(findings: Iterable[Finding]) -> list[Finding]:
    """Everything but proven successes."""
    return [finding for finding in findings if finding.verdict is not Verdict.LINEARIZABLE]


def check_register(
    key: str,
    operations: Sequence[Operation],
    initial: Value = None,
    configurations_max: int = CONFIGURATIONS_MAX,
) -> Finding:
    """Search for instants that explain the results of one key."""
    search = Search(operations, initial, configurations_max)
    for _, kind, index in events_of(operations):
        match kind:
            case Event.CALL:
                search.call(index)
            case Event.RETURN:
                verdict = search.complete(index)
                if verdict is not Verdict.LINEARIZABLE:
                    return Finding(key, verdict, operations[index], search.states_before)
    return Finding(key, Verdict.LINEARIZABLE)


class Event(Enum):
    # In this order at equal times: touching operations count as concurrent, which accuses nobody.
    CALL = 0
    RETURN = 1


def events_of(operations: Sequence[Operation]) -> list[tuple[float, Event, int]]:
    """Calls and returns in order of time."""
    events: list[tuple[float, Event, int]] = []
    for index, operation in enumerate(operations):
        if operation.returned_at is not None:
            events.append((operation.called_at, Event.CALL, index))
            events.append((operation.returned_at, Event.RETURN, index))
        elif not isinstance(operation.request, Read):
            events.append((operation.called_at, Event.CALL, index))
    events.sort(key=lambda event: (event[0], event[1].value, event[2]))
    return events


Configuration: TypeAlias = tuple[Value, int]
"""State, and a bit per open operation that has taken effect."""

Attempt: TypeAlias = tuple[Value, int, "Outcome | None"]
"""A configuration under way. The last part is the state before the last effect, if that was of an
unanswered operation and nobody has observed it yet."""


class Search:
    """All configurations that explain the history so far."""

    def __init__(
        self, operations: Sequence[Operation], initial: Value, configurations_max: int
    ) -> None:
        self._operations = operations
        self._configurations_max = configurations_max
        self._open: list[int] = []
        self._unanswered = 0
        self._configurations: list[Configuration] = [(initial, 0)]
        self.states_before: tuple[Value, ...] = ()

    def call(self, index: int) -> None:
        """An operation may take effect from now on."""
        self._open.append(index)
        if self._operations[index].returned_at is None:
            self._unanswered |= 1 << index

    def complete(self, index: int) -> Verdict:
        """An operation must have taken effect by now."""
        self.states_before = tuple(dict.fromkeys(state for state, _ in self._configurations))
        found = self._reach(1 << index)
        if found is None:
            return Verdict.UNDECIDED
        self._open.remove(index)
        cleared = [(state, done & ~(1 << index)) for state, done in found]
        self._configurations = self._without_dominated(cleared)
        return Verdict.LINEARIZABLE if self._configurations else Verdict.VIOLATION

    def _reach(self, goal: int) -> list[Configuration] | None:
        """Configurations in which `goal` has taken effect; None beyond the limit."""
        found: list[Configuration] = []
        waiting: list[Attempt] = [(state, done, None) for state, done in self._configurations]
        seen = set(waiting)
        while waiting:
            attempt = waiting.pop()
            if attempt[1] & goal:
                found.append(attempt[:2])
                continue
            for follower in self._followers(attempt):
                if follower not in seen:
                    seen.add(follower)
                    waiting.append(follower)
            if len(seen) > self._configurations_max:
                return None
        return found

    def _followers(self, attempt: Attempt) -> list[Attempt]:
        """One more open operation takes effect."""
        state, done, before = attempt
        followers: list[Attempt] = []
        for index in self._open:
            operation = self._operations[index]
            if done & 1 << index or (before is not None and not observes(operation, before)):
                continue
            outcome = step(state, operation)
            unanswered = operation.returned_at is None
            if outcome is None or (unanswered and outcome.state == state):
                continue
            next_before = Outcome(state) if unanswered else None
            followers.append((outcome.state, done | 1 << index, next_before))
        return followers

    def _without_dominated(self, found: list[Configuration]) -> list[Configuration]:
        """Drop what unanswered operations can still make of another configuration."""
        groups: dict[int, list[Configuration]] = {}
        # With the fewest used first, a configuration is only dominated by one before it.
        for state, done in sorted(dict.fromkeys(found), key=self._used_count):
            kept = groups.setdefault(done & ~self._unanswered, [])
            if not any(self._dominates(other, (state, done)) for other in kept):
                kept.append((state, done))
        return [configuration for kept in groups.values() for configuration in kept]

    def _used_count(self, configuration: Configuration) -> int:
        return (configuration[1] & self._unanswered).bit_count()

    def _dominates(self, less: Configuration, more: Configuration) -> bool:
        """Whether `less` can become `more`, or better, by at most one unanswered operation."""
        if less[1] & ~more[1]:
            return False
        if less[0] == more[0]:
            return True
        extra = [index for index in self._open if more[1] & ~less[1] & 1 << index]
        return any(
            outcome is not None and outcome.state == more[0]
            for outcome in (step(less[0], self._operations[index]) for index in extra)
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state after an operation."""

    state: Value


def step(state: Value, operation: Operation) -> Outcome | None:
    """What an operation does to a register; None when its client saw another result."""
    known = operation.returned_at is not None
    match operation.request:
        case Write(value):
            return Outcome(value)
        case Read():
            return Outcome(state) if not known or operation.result == state else None
        case CompareAndSwap(expected, value):
            swaps = state == expected
            if known and bool(operation.result) is not swaps:
                return None
            return Outcome(value if swaps else state)
        case _:
            assert_never(operation.request)


def observes(operation: Operation, before: Outcome) -> bool:
    """Whether an operation needs the effect just tried: its result is wrong without."""
    if isinstance(operation.request, Write):
        return False
    return operation.returned_at is None or step(before.state, operation) is None


Clock: TypeAlias = Callable[[], float]


class Recorder:
    """Collects a history while clients run."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._history: list[Operation | None] = []

    def call(self, key: str, request: Request) -> Call:
        """An operation begins; report its end to what is returned, or never when unknown."""
        operation = Operation(key, request, self._clock())
        self._history.append(operation)
        return Call(self, len(self._history) - 1, operation)

    def settle(self, index: int, operation: Operation | None) -> None:
        """Replace an operation by what became of it; None when it did not happen."""
        self._history[index] = operation

    def now(self) -> float:
        return self._clock()

    def history(self) -> list[Operation]:
        return [operation for operation in self._history if operation is not None]


@dataclass(frozen=True, slots=True)
class Call:
    """An operation under way."""

    recorder: Recorder
    index: int
    operation: Operation

    def returned(self, result: Value = None) -> None:
        """The client learned the result."""
        begun = self.operation
        ended = Operation(begun.key, begun.request, begun.called_at, self.recorder.now(), result)
        self.recorder.settle(self.index, ended)

    def refused(self) -> None:
        """The client learned that it did not happen and will not."""
        self.recorder.settle(self.index, None)
