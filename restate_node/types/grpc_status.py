"""How a control-plane call fails: a status code and one line for the operator.

Roles raise `GrpcError`; the control plane puts it on the wire. So a role says NOT_FOUND without
knowing what carries the answer, and the simulator catches the same exception that `restatectl`
prints.
"""

from __future__ import annotations

from enum import IntEnum


class StatusCode(IntEnum):
    """The status codes of gRPC, with their numbers on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    """Operators' tools do not retry this one elsewhere: what was asked is wrong on every node."""
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    """Operators' tools try the next node."""
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class GrpcError(Exception):
    """The answer to a call that failed. `message` is one line that says what to do next."""

    def __init__(self, code: StatusCode, message: str) -> None:
        if code is StatusCode.OK:
            raise ValueError("a call that failed cannot answer OK: choose another status code")
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"
