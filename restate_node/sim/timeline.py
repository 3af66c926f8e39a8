"""The story of a run for people: one line per event, and a legend for the columns.

      seconds  who       what       details
    ---------  --------  ---------  ------------------------------------------
        3.214  nemesis   fault      n2 frozen for 0.812s
        3.379  n1#1      append     log 900, record n1#1/17
        3.383  n1#1      ack        log 900, LSN 41, record n1#1/17

Every line is also fed into the run's trace hash: two runs whose stories differ have different
hashes. Only the newest lines are kept; a sink (the console, in verbose mode) may take them all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

Sink = Callable[[str], None]

LINES_MAX: Final = 2_000

LEGEND: Final = """\
  seconds  who       what       details
---------  --------  ---------  ------------------------------------------------------------
seconds    virtual time since the start; nothing of it has anything to do with your clock
who        n2#3 is the third life of host n2; nemesis breaks things, world starts and ends them
what       fault/over: begin and end of a fault   boot/ready/end: lives of a node
           append/ack: a client's record, given and promised   read: what a reader was given
           tail: a find-tail's answer   chain: segments as a node sees them   register: metadata
           patch: a state write   lead: a leader acts   progress: applied of tail   state: a hash
           call/promised/answer: an invocation, for its client   step/timer: for its handler
           journal/object: what a replica writes of it
           info/warning/error: a node's own log
"""


class Timeline:
    """Collects lines."""

    def __init__(self, trace: Sink, sink: Sink | None = None, lines_max: int = LINES_MAX) -> None:
        self._trace = trace
        self._sink = sink
        self._lines: deque[str] = deque(maxlen=lines_max)

    def add(self, at: float, who: str, what: str, details: str) -> None:
        """One event."""
        line = f"{at:9.3f}  {who:<8}  {what:<9}  {details}"
        self._trace(f"{who} {what} {details}")
        self._lines.append(line)
        if self._sink is not None:
            self._sink(line)

    def tail(self, lines: int) -> list[str]:
        """The newest lines, oldest first."""
        return list(self._lines)[-lines:]
