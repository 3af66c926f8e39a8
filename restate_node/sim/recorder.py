"""Puts what was seen into the history, and tells it in the timeline."""

from __future__ import annotations

import asyncio

from restate_node.sim.history import Event, History
from restate_node.sim.story import tell
from restate_node.sim.timeline import Timeline


class Recorder:
    """The one place through which clients, probes and the world speak."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeline: Timeline) -> None:
        self.history = History()
        self.timeline = timeline
        self._loop = loop
        self._numbers = 0

    def now(self) -> float:
        return self._loop.time()

    def add(self, event: Event) -> None:
        """See `History.add`."""
        self.history.add(event)
        self.timeline.add(event.at, *tell(event))

    def next_number(self) -> int:
        """A number for a new reader or call, unique in the run."""
        self._numbers += 1
        return self._numbers
