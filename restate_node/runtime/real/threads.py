"""Work on a thread that is waited for, whatever happens to whoever waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["finish_in_thread"]

Result = TypeVar("Result")


async def finish_in_thread(
    work: Callable[[], Result], threads: ThreadPoolExecutor | None = None
) -> Result:
    """The result of `work` on one of `threads`, or of the loop's own.

    Cancelled, it waits for the thread all the same: a file must not be closed, and its number given
    to another file, while a thread still reads from it.
    """
    running = asyncio.get_running_loop().run_in_executor(threads, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()
        raise
