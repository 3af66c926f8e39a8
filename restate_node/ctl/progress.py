"""How far a long call has come, for whoever waits: on stderr, so that stdout stays one document.

A terminal sees one line that changes; a file or a pipe gets a new line now and then.
"""

from __future__ import annotations

import sys
from typing import Final

QUIET_REPORTS: Final = 10
"""So many reports, a second apart, make one line for a reader that is no terminal."""


class Progress:
    """Of one piece of work. Call `show` with each report and `end` once."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._reports = 0
        self._is_terminal = sys.stderr.isatty()

    def show(self, done: int, total: int | None) -> None:
        """`done` of `total`, if that is known."""
        share = f"{min(100, done * 100 // total)} %" if total else "…"
        if self._is_terminal:
            sys.stderr.write(f"\r{self._label}: {share:<6}")
        elif self._reports % QUIET_REPORTS == 0:
            sys.stderr.write(f"{self._label}: {share}\n")
        sys.stderr.flush()
        self._reports += 1

    def end(self, outcome: str) -> None:
        """The last word on it."""
        start = "\r" if self._is_terminal else ""
        sys.stderr.write(f"{start}{self._label}: {outcome:<6}\n")
        sys.stderr.flush()
