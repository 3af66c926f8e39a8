"""Time as a failure detector may count it: only while its own loop ran.

A process that was stopped, swapped out or held up by one long call wakes up with a clock that says
"five seconds of silence", while the messages of those seconds wait unread in its sockets. So one
step counts no more than a few ticks, however long it took, and a step that was cut is reported: the
detector then forgives part of the silence, because even the time before the gap ends in doubt.

Invariants: patient time never goes back, and never runs faster than the monotonic clock.
"""

from __future__ import annotations

from typing import Final

STEP_TICKS_MAX: Final = 3
"""A step longer than this many ticks means that this node itself was away."""


class PatientTime:
    """Seconds that count, since the start. Driven by the ticks of `gossip.FailureDetector`."""

    __slots__ = ("_elapsed", "_stepped_at", "_tick_s")

    def __init__(self, tick_s: float, now: float) -> None:
        self._tick_s = tick_s
        self._stepped_at = now
        self._elapsed = 0.0

    def at(self, now: float) -> float:
        """The patient time of a moment after the last step."""
        step = max(0.0, now - self._stepped_at)
        return self._elapsed + min(step, STEP_TICKS_MAX * self._tick_s)

    def step(self, now: float) -> bool:
        """Move on; True if time was cut because the step came too late."""
        was_away = now - self._stepped_at > STEP_TICKS_MAX * self._tick_s
        self._elapsed = self.at(now)
        self._stepped_at = max(now, self._stepped_at)
        return was_away
