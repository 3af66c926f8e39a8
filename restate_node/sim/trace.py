"""What happened in a run: a running hash of everything, and the last lines for people.

Two runs of one seed must be the same run. The hash is how that is checked: every event of the
network, the disks and the nemesis is fed into it with its virtual time and the loop's step
number, so that a difference in scheduling shows at the next event, not only when it changes a
result. The lines themselves are forgotten after `lines_max`; a run of an hour would not fit in
memory, and the end is what explains a failure.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import blake2b

TraceSink = Callable[[str], None]

LINES_MAX = 2_000


class Trace:
    """Running hash and tail of a run's events."""

    __slots__ = ("_hash", "_lines", "count", "sink")

    def __init__(self, lines_max: int = LINES_MAX, sink: TraceSink | None = None) -> None:
        assert lines_max > 0
        self._hash = blake2b(digest_size=16)
        self._lines: deque[str] = deque(maxlen=lines_max)
        self.sink = sink
        self.count = 0

    def record(self, line: str) -> None:
        """Feed one event; the order of calls is part of the hash."""
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self._lines.append(line)
        self.count += 1
        if self.sink is not None:
            self.sink(line)

    def digest(self) -> str:
        """Hexadecimal hash of all events so far; recording may go on."""
        return self._hash.hexdigest()

    def tail(self, lines: int = 50) -> list[str]:
        """The newest lines, oldest first."""
        return list(self._lines)[-lines:]
