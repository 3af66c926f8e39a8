"""What tests may catch. Each message is one line and says what to do about it."""

from __future__ import annotations


class TestingError(Exception):
    """Base of all errors here."""

    __test__ = False
    """Its name makes test runners curious."""


class NotPossible(TestingError):
    """The test asks for something that cannot be had like this."""


class StartFailed(TestingError):
    """The cluster did not come up."""


class NotRegistered(TestingError):
    """The application was refused, or there is no such service or handler."""


class Stuck(TestingError):
    """Nothing happens any more and nothing is due, but the test still waits."""


class HandlerFailed(TestingError):
    """The invocation ended with a terminal error. `code` is the status that an ingress answers."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message


class NotEnded(TestingError):
    """The invocation has no outcome yet."""


class NotFound(TestingError):
    """There is no such invocation, or it is forgotten."""
