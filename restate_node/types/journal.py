"""The journal of an invocation: what its handler did, and what it was told, in order.

    0 Input   1 SetState   2 Call   3 →CallInvocationId   4 Sleep   5 →Sleep   6 →Call   7 Output
              commands                 → notifications: completions of commands, and signals

An entry is a message of the service protocol as it was on the wire: its 16-bit type and its
protobuf payload. It is stored, replayed and passed on as it is. Who has to know what it says
decodes it (`wire.journal_codec`); most of the time nobody does.

A notification is found by what it notifies of: a completion id, which the SDK chose when it wrote
the command; the number of a built-in signal or of an awakeable; or the name of a signal.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import msgspec


class MessageType(IntEnum):
    """Types of the service protocol, versions 5 to 7."""

    START = 0x0000
    SUSPENSION = 0x0001
    ERROR = 0x0002
    END = 0x0003
    COMMAND_ACK = 0x0004
    PROPOSE_RUN_COMPLETION = 0x0005
    AWAITING_ON = 0x0006
    PROPOSE_RUN_COMPLETION_ACK = 0x0007

    INPUT_COMMAND = 0x0400
    OUTPUT_COMMAND = 0x0401
    GET_LAZY_STATE_COMMAND = 0x0402
    SET_STATE_COMMAND = 0x0403
    CLEAR_STATE_COMMAND = 0x0404
    CLEAR_ALL_STATE_COMMAND = 0x0405
    GET_LAZY_STATE_KEYS_COMMAND = 0x0406
    GET_EAGER_STATE_COMMAND = 0x0407
    GET_EAGER_STATE_KEYS_COMMAND = 0x0408
    GET_PROMISE_COMMAND = 0x0409
    PEEK_PROMISE_COMMAND = 0x040A
    COMPLETE_PROMISE_COMMAND = 0x040B
    SLEEP_COMMAND = 0x040C
    CALL_COMMAND = 0x040D
    ONE_WAY_CALL_COMMAND = 0x040E
    SEND_SIGNAL_COMMAND = 0x0410
    RUN_COMMAND = 0x0411
    ATTACH_INVOCATION_COMMAND = 0x0412
    GET_INVOCATION_OUTPUT_COMMAND = 0x0413
    COMPLETE_AWAKEABLE_COMMAND = 0x0414

    GET_LAZY_STATE_COMPLETION = 0x8002
    GET_LAZY_STATE_KEYS_COMPLETION = 0x8006
    GET_PROMISE_COMPLETION = 0x8009
    PEEK_PROMISE_COMPLETION = 0x800A
    COMPLETE_PROMISE_COMPLETION = 0x800B
    SLEEP_COMPLETION = 0x800C
    CALL_COMPLETION = 0x800D
    CALL_INVOCATION_ID_COMPLETION = 0x800E
    RUN_COMPLETION = 0x8011
    ATTACH_INVOCATION_COMPLETION = 0x8012
    GET_INVOCATION_OUTPUT_COMPLETION = 0x8013
    SIGNAL_NOTIFICATION = 0xFBFF


FIRST_COMMAND = 0x0400
FIRST_NOTIFICATION = 0x8000
FIRST_CUSTOM = 0xFC00
"""Commands of an SDK's own: opaque to a server, kept and replayed."""


def is_notification(kind: int) -> bool:
    """True for completions and signals."""
    return FIRST_NOTIFICATION <= kind < FIRST_CUSTOM


def is_command(kind: int) -> bool:
    """True for what a handler does, commands of an SDK's own included."""
    return FIRST_COMMAND <= kind < FIRST_NOTIFICATION or kind >= FIRST_CUSTOM


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One entry: `kind` is a MessageType, or the number of a custom command."""

    kind: int
    payload: bytes


CANCEL_SIGNAL = 1
"""The built-in signal that ends an invocation from outside."""
FIRST_AWAKEABLE = 17
"""Below are the numbers of built-in signals."""


class Combinator(IntEnum):
    """When an await point goes on, in terms of its children."""

    FIRST_COMPLETED = 1
    ALL_COMPLETED = 2
    FIRST_SUCCEEDED_OR_ALL_FAILED = 3
    ALL_SUCCEEDED_OR_FIRST_FAILED = 4


class AwaitPoint(msgspec.Struct, frozen=True, array_like=True):
    """What a handler waits for: notifications, and await points inside it."""

    completions: tuple[int, ...] = ()
    signals: tuple[int, ...] = ()
    named_signals: tuple[str, ...] = ()
    nested: tuple[AwaitPoint, ...] = ()
    combinator: Combinator = Combinator.FIRST_COMPLETED


@dataclass(frozen=True, slots=True)
class CompletionId:
    """Names the completion of a command."""

    number: int


@dataclass(frozen=True, slots=True)
class SignalIndex:
    """Names a built-in signal or an awakeable."""

    number: int


@dataclass(frozen=True, slots=True)
class SignalName:
    """Names a signal that users named."""

    name: str


NotificationId: TypeAlias = CompletionId | SignalIndex | SignalName


def is_repeatable(identity: NotificationId) -> bool:
    """It may come any number of times, and each wait takes the next: a named signal, or a built-in
    one. The others come once.
    """
    match identity:
        case CompletionId():
            return False
        case SignalIndex(number):
            return number < FIRST_AWAKEABLE
        case SignalName():
            return True
