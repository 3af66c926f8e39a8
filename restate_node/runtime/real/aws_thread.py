"""A thread of its own for a client of AWS.

aiobotocore does much between its awaits: half a second to read the description of a service,
milliseconds to sign a request or to parse an answer. On the loop of a node each of these would be a
pause in which it answers nobody, and peers would take it for dead. So the client has a loop on
another thread; only whole results and pieces of bytes cross over.

    node's loop     start(activity) ─┐                     ┌─ Future of the result
    thread's loop                    └─ await activity ────┘

Driven by `runtime.real.s3_client` and `runtime.real.service_lambda`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, TypeVar

CLOSE_SECONDS_MAX: Final = 5.0

Result = TypeVar("Result")


class AwsThread:
    """Starts with the first activity: a node that asks nothing of AWS never pays for it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: Future[None] = Future()

    def start(self, activity: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Run it on the thread. Cancelling the future cancels it there."""
        if self._loop is None:
            self._loop = self._started()
        return asyncio.run_coroutine_threadsafe(activity, self._loop)

    async def run(self, activity: Coroutine[Any, Any, Result]) -> Result:
        """The same, and wait. Cancellation reaches the activity."""
        return await asyncio.wrap_future(self.start(activity))

    async def close(self, release: Callable[[], Awaitable[None]]) -> None:
        """Call `release` there if anything ever ran, and end the thread. Idempotent."""
        loop, self._loop = self._loop, None
        if loop is None:
            return

        async def released() -> None:
            await release()

        closing = asyncio.run_coroutine_threadsafe(released(), loop)
        await asyncio.wait([asyncio.wrap_future(closing)], timeout=CLOSE_SECONDS_MAX)
        loop.call_soon_threadsafe(loop.stop)
        await asyncio.wait([asyncio.wrap_future(self._ended)], timeout=CLOSE_SECONDS_MAX)

    def _started(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        ended = self._ended = Future()

        def live() -> None:
            try:
                loop.run_forever()
            finally:
                loop.close()
                ended.set_result(None)

        # A daemon: a process that ends in a hurry must not hang on a slow service.
        threading.Thread(target=live, name=self._name, daemon=True).start()
        return loop
