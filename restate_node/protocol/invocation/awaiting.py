"""Whether a handler that waits can go on: await points against what has arrived.

    all of [completion 3, first of [signal 17, signal 18]]

    arrived               goes on?
    completion 3          no
    signal 17             yes: the inner race is decided, and the handler may act on that

An SDK resumes user code as soon as any race in its tree is decided, not only the outermost, since
user code can look at it (a callback, a map). A server must see at least as much: to wake too late
is a handler that hangs, to wake too early is one attempt in vain, which suspends again with what is
left. Therefore a decided race anywhere makes a tree runnable; `All…` that are merely complete only
count within their parents.

A combinator that has nothing left to wait for counts as complete, except a race: nobody wins it.

Cancellation is a signal like any other here, and SDKs that cancel by themselves list it in
whatever they wait for. It may come more than once, as may signals with a name: who knows what has
come leaves out what the handler was told of, or a handler that cleans up would be woken again and
again. A cancellation wakes by its arrival also who does not list it, see `wakes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import TypeAlias

from restate_node.types.journal import (
    CANCEL_SIGNAL,
    AwaitPoint,
    Combinator,
    CompletionId,
    NotificationId,
    SignalIndex,
    SignalName,
)


class Arrival(Enum):
    """What is known of a notification."""

    PENDING = "pending"
    SUCCESS = "success"
    """It is there, and is no failure: a value, or nothing to say."""
    FAILURE = "failure"


Known: TypeAlias = Callable[[NotificationId], Arrival]


class _Decided(Exception):
    """A race is decided: the handler can go on, wherever in the tree that is."""


def is_runnable(point: AwaitPoint, known: Known) -> bool:
    """The handler can go on with what is known."""
    try:
        return _state(point, known) is not Arrival.PENDING
    except _Decided:
        return True


def wakes(point: AwaitPoint, arrived: NotificationId, known: Known) -> bool:
    """A notification that has just arrived ends the wait; `known` knows it already."""
    return arrived == SignalIndex(CANCEL_SIGNAL) or is_runnable(point, known)


def is_hopeless(point: AwaitPoint) -> bool:
    """It could never go on: it waits for nothing, or for a race that nobody runs in."""
    waits_for_nothing = next(notifications(point), None) is None
    return waits_for_nothing or not is_runnable(point, lambda _: Arrival.SUCCESS)


def notifications(point: AwaitPoint) -> Iterator[NotificationId]:
    """All that is waited for, in the order of the tree."""
    yield from _leaves(point)
    for nested in point.nested:
        yield from notifications(nested)


def _leaves(point: AwaitPoint) -> Iterator[NotificationId]:
    yield from map(CompletionId, point.completions)
    yield from map(SignalIndex, point.signals)
    yield from map(SignalName, point.named_signals)


def _children(point: AwaitPoint, known: Known) -> Iterator[Arrival]:
    yield from map(known, _leaves(point))
    for nested in point.nested:
        yield _state(nested, known)


def _state(point: AwaitPoint, known: Known) -> Arrival:
    children = set(_children(point, known))
    if children & _DECIDES[point.combinator]:
        raise _Decided
    if Arrival.PENDING in children or point.combinator is Combinator.FIRST_COMPLETED:
        return Arrival.PENDING
    if point.combinator is Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED:
        return Arrival.FAILURE
    return Arrival.SUCCESS


_DECIDES: dict[Combinator, set[Arrival]] = {
    Combinator.FIRST_COMPLETED: {Arrival.SUCCESS, Arrival.FAILURE},
    Combinator.ALL_COMPLETED: set(),
    Combinator.FIRST_SUCCEEDED_OR_ALL_FAILED: {Arrival.SUCCESS},
    Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED: {Arrival.FAILURE},
}
"""Which child decides a race at once."""
