"""How an operation on a log can fail, by what the caller should do next."""

from __future__ import annotations


class LogError(Exception):
    """Base of the errors of the log."""


class LogUnavailable(LogError):
    """Not now: too few log servers or metadata servers answer. Retry after a pause."""


class UnknownLog(LogError):
    """There is no such log."""


class AppendFailed(LogError):
    """The records were not acknowledged. They may turn up all the same if `maybe_written`."""

    def __init__(self, message: str, *, maybe_written: bool) -> None:
        super().__init__(message)
        self.maybe_written = maybe_written


class CannotReconfigure(LogError):
    """The segment cannot be made as asked; the message says why."""
