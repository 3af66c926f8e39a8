"""One attempt to run a handler: with what it begins, what an SDK asks, and how it can fail.

    Invocation ─▶ attempt 1 ─▶ failed ─▶ pause ─▶ attempt 2 ─▶ suspended … attempt 3 ─▶ ended
                  SessionBegin AttemptFailure

A failed attempt is not a failed invocation (`types.invocations.Failure`): whether and when there
is another attempt is decided by `protocol.invocation.retry`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple

import msgspec

from restate_node.types.invocations import RawInvocationId
from restate_node.types.journal import Entry

PROTOCOL_VERSION_MIN: Final = 5
PROTOCOL_VERSION_MAX: Final = 7
"""Versions of the service protocol that a server here speaks."""

JOURNAL_MISMATCH: Final = 570
"""An SDK found that the journal does not fit its code."""
PROTOCOL_VIOLATION: Final = 571
"""One side sent what the protocol does not allow there."""
ATTEMPT_FAILED: Final = 500
"""Nobody gave a better reason."""
UNSUPPORTED_MEDIA_TYPE: Final = 415
"""An SDK does not speak the version that its deployment was registered with."""


class ErrorCode(StrEnum):
    """Codes that users look up in Restate's documentation."""

    ABORTED = "RT0001"
    """The SDK was silent for too long."""
    MESSAGE_TOO_LARGE = "RT0003"
    ATTEMPT_FAILED = "RT0006"
    SERVICE_ERROR = "RT0007"
    """The SDK said that it failed."""
    UNREACHABLE = "RT0010"
    """The connection failed, or ended too soon; or a proxy says that nobody is there."""
    NO_DEPLOYMENT = "RT0011"
    PROTOCOL_VIOLATION = "RT0012"
    """What is no answer of an SDK: another status, another content type, other messages."""
    VERSION_REFUSED = "RT0015"
    JOURNAL_MISMATCH = "RT0016"
    UNSUPPORTED_COMMAND = "RT0017"
    """What the handler asked for is not for handlers of its kind."""
    UNKNOWN_CALLEE = "RT0018"
    BUSY = "RT0023"
    """The service, or a proxy before it, takes no more requests now."""


class MalformedMessage(ValueError):
    """Bytes that are no message of the service protocol; the text is a reason in one line."""


class MessageTooLarge(MalformedMessage):
    """A message that announces more bytes than are allowed; none of them was kept."""


class ServiceFrame(NamedTuple):
    """A message with its header; `kind` is a `types.journal.MessageType`, or a custom command."""

    kind: int
    flags: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SessionBegin:
    """What an attempt begins with.

    `state` is what the handler may read without asking, `is_state_partial` that there may be more.
    The retry count and the time since the last stored entry are hints for the SDK.
    """

    invocation: RawInvocationId
    protocol_version: int
    journal: Sequence[Entry]
    """From the Input command on, in order."""
    state: Sequence[tuple[str, bytes]] = ()
    is_state_partial: bool = False
    key: str = ""
    """Of the object or workflow."""
    retry_count: int = 0
    since_last_entry_ms: int = 0
    random_seed: int = 0
    idempotency_key: str | None = None
    is_bidirectional: bool = True
    """False: everything known is sent, then the SDK answers, and nothing more can be sent."""


class FailureBehavior(IntEnum):
    """What an SDK wants done about a failed attempt. The numbers are those of the protocol."""

    RETRY = 0
    PAUSE = 1
    FAIL = 2


class AttemptFailure(msgspec.Struct, frozen=True, array_like=True):
    """Why an attempt failed, as users are told."""

    code: int
    """A status of HTTP, JOURNAL_MISMATCH or PROTOCOL_VIOLATION."""
    message: str
    stacktrace: str = ""
    related_command_index: int | None = None
    related_command_name: str | None = None
    related_command_type: int | None = None
    next_retry_delay_ms: int | None = None
    """Instead of the pause of the retry policy, once."""
    behavior: FailureBehavior = FailureBehavior.RETRY
    error_code: ErrorCode = ErrorCode.SERVICE_ERROR
