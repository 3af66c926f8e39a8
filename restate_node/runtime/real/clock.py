"""`Clock` of the machine.

Driven by nobody: it is read. The simulated one is moved by the simulator's loop.
"""

from __future__ import annotations

import time

__all__ = ["RealClock"]


class RealClock:
    """The machine's clocks."""

    def unix_ms(self) -> int:
        """Milliseconds since 1970; jumps when somebody sets the clock."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since the machine was started; the clock of the event loop too."""
        return time.monotonic()
