"""Waiting for what has no event of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

WAIT_SECONDS_MAX = 30


async def until(condition: Callable[[], bool]) -> None:
    """Give the loop turns until it holds; TimeoutError if it never does."""
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
