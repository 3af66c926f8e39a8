"""One line that is drawn again and again while a command waits; only where somebody looks.

It goes to stderr, so that stdout has the result alone, and nowhere if stderr is no terminal.
"""

from __future__ import annotations

import sys

WIDTH = 30
_ERASE = "\r\x1b[K"


def bar_line(title: str, done: int, total: int, detail: str = "") -> str:
    """`Copying ███████░░░░  64 % 640/1000 records`; full when there is nothing to do."""
    share = 1.0 if total <= 0 else min(1.0, done / total)
    filled = int(share * WIDTH)
    bar = "█" * filled + "░" * (WIDTH - filled)
    line = f"{title} {bar} {int(share * 100):3} % {done}/{total}"
    return f"{line} {detail}" if detail else line


class ProgressBar:
    """`draw` as often as you like, `clear` before anything else is printed."""

    def __init__(self) -> None:
        self._visible = sys.stderr.isatty()
        self._drawn = ""

    def draw(self, line: str) -> None:
        """Replaces what was drawn before."""
        if self._visible and line != self._drawn:
            sys.stderr.write(_ERASE + line)
            sys.stderr.flush()
            self._drawn = line

    def clear(self) -> None:
        """Leaves an empty line behind."""
        if self._drawn:
            sys.stderr.write(_ERASE)
            sys.stderr.flush()
            self._drawn = ""
