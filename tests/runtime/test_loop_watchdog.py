"""The watchdog of the event loop, and the runner."""

from __future__ import annotations

import asyncio
import time

import uvloop

from restate_node.runtime.real.loop import LoopStall, LoopWatchdog, LoopWatchdogOptions, run

QUICK = LoopWatchdogOptions(tick_ms=5, late_ms_max=20, hang_ms=20)


def hold_the_loop(seconds: float) -> None:
    """Stands for a computation that should not be there."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def test_a_stall_is_reported_with_its_culprit() -> None:
    """Goal: the report names the code. Method: hold the loop, wait for the report, read it."""
    reported: asyncio.Future[LoopStall] = asyncio.get_running_loop().create_future()
    watchdog = LoopWatchdog(lambda stall: reported.done() or reported.set_result(stall), QUICK)
    watchdog.start()
    await asyncio.sleep(0)
    hold_the_loop(0.6)
    async with asyncio.timeout(5):
        stall = await reported
    watchdog.stop()
    watchdog.stop()
    assert stall.late_ms > 100
    assert "hold_the_loop" in stall.stack


def test_run_uses_uvloop_without_debug() -> None:
    """Goal: production runs on the fast loop. Method: ask the running loop."""

    async def main() -> tuple[bool, bool]:
        loop = asyncio.get_running_loop()
        return isinstance(loop, uvloop.Loop), loop.get_debug()

    assert run(main()) == (True, False)
