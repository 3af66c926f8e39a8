"""What goes wrong for an operator.

Every failure ends as one line on stderr and a non-zero exit code: 1 when the cluster or the
request is at fault, 2 when the command line is. A line names what was asked, what happened, and
what to do next.
"""

from __future__ import annotations


class CtlError(Exception):
    """Printed as it is; exit code 1."""


class UsageError(CtlError):
    """The command line is wrong: nothing was sent; exit code 2."""


class NotProvisioned(CtlError):
    """Nodes answer, but there is no cluster yet."""


class CallFailed(CtlError):
    """A node did not answer, or answered with an error.

    `status` is the name of the gRPC status; `reason` what the operator reads.
    """

    def __init__(self, address: str, status: str, reason: str) -> None:
        super().__init__(f"{address}: {reason}")
        self.address = address
        self.status = status
        self.reason = reason

    @property
    def unreachable(self) -> bool:
        """The node is not worth asking again."""
        return self.status in ("UNAVAILABLE", "DEADLINE_EXCEEDED")

    @property
    def timed_out(self) -> bool:
        """The node took the call and is perhaps still at it."""
        return self.status == "DEADLINE_EXCEEDED"

    @property
    def final(self) -> bool:
        """What was asked is wrong on every node."""
        return self.status in ("FAILED_PRECONDITION", "OUT_OF_RANGE")


class ReaderLeft(Exception):
    """Nobody reads stdout any more, as after `| head`: stop, and count it as done."""


def one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())
