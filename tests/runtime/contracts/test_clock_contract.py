"""What every Clock promises."""

from __future__ import annotations

import asyncio

from restate_node.runtime.ports import Clock


async def test_monotonic_never_goes_back(clock: Clock) -> None:
    """Goal: waiting can be measured. Method: many readings, in order."""
    readings = [clock.monotonic() for _ in range(1000)]
    assert readings == sorted(readings)


async def test_both_clocks_advance_with_the_loop(clock: Clock) -> None:
    """Goal: both clocks count the same time. Method: let the loop pass 10 ms, compare."""
    before, unix_before = clock.monotonic(), clock.unix_ms()
    await asyncio.sleep(0.010)
    assert clock.monotonic() - before >= 0.009
    assert clock.unix_ms() - unix_before >= 9
