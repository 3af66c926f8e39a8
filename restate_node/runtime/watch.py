"""A value that others wait on: the newest one counts, those in between may be skipped.

One task owns a watch and sets it; any number of tasks read `value` or wait. Metadata, tails,
liveness and leadership travel this way. A queue would keep values nobody needs any more, and would
have to be bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Watch(Generic[T]):
    """Holds the newest value and wakes those who wait for a change."""

    __slots__ = ("_revision", "_value", "_waiters")

    def __init__(self, value: T) -> None:
        self._value = value
        self._revision = 0
        self._waiters: dict[asyncio.Future[None], None] = {}

    @property
    def value(self) -> T:
        return self._value

    @property
    def revision(self) -> int:
        """Grows with every change; pass it to `changed` to not miss one."""
        return self._revision

    def set(self, value: T) -> None:
        """Publish a value. Setting an equal value wakes nobody."""
        if value is self._value or value == self._value:
            return
        self._value = value
        self.touch()

    def touch(self) -> None:
        """Wake the waiters although the value may be the same object, changed in place."""
        self._revision += 1
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self, since: int) -> T:
        """Return once the revision is above `since`. Cancellation-safe: nothing is consumed."""
        await first_change((self, since))
        return self._value

    async def until(self, condition: Callable[[T], bool]) -> T:
        """Return the first value seen that satisfies the condition; at once when it holds."""
        while True:
            revision, value = self._revision, self._value
            if condition(value):
                return value
            await self.changed(revision)

    @property
    def waiter_count(self) -> int:
        return len(self._waiters)

    def join(self, waiter: asyncio.Future[None]) -> None:
        """Have it woken by the next change."""
        self._waiters[waiter] = None

    def leave(self, waiter: asyncio.Future[None]) -> None:
        """It waits no more."""
        self._waiters.pop(waiter, None)


async def first_change(*seen: tuple[Watch[Any], int]) -> None:
    """Return once one of the watches is above the revision beside it. Cancellation-safe."""
    while all(watch.revision <= since for watch, since in seen):
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for watch, _ in seen:
            watch.join(waiter)
        try:
            await waiter
        finally:
            for watch, _ in seen:
                watch.leave(waiter)
