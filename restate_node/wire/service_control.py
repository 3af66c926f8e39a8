"""Control messages of the service protocol: how an attempt begins, and how it ends.

This module is the codec of `protocol.invocation.session`. Whatever is read may be garbage: reading
gives a value or raises MalformedMessage. Values of enums that are not known, which a newer SDK may
send, mean what the protocol says an absent value means.
"""

from __future__ import annotations

from typing import Any, Final

from restate_node.types.attempts import (
    JOURNAL_MISMATCH,
    PROTOCOL_VIOLATION,
    AttemptFailure,
    ErrorCode,
    FailureBehavior,
    MalformedMessage,
    ServiceFrame,
    SessionBegin,
)
from restate_node.types.invocations import Success, id_text
from restate_node.types.journal import AwaitPoint, Combinator, CompletionId, Entry, MessageType
from restate_node.wire import service_commands, service_notifications
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_frames import (
    REQUESTED_ACK,
    FrameDecoder,
    encode_frame,
    encode_head,
)
from restate_node.wire.service_values import parse, read_failure

MESSAGE_CHARACTERS_MAX: Final = 8 << 10
STACKTRACE_CHARACTERS_MAX: Final = 32 << 10
NAME_CHARACTERS_MAX: Final = 1 << 10
"""Failures are shown, kept, and sent in records of a log: an SDK does not decide how large these
become.
"""

_RANDOM_SEED_SINCE = 6
_IDEMPOTENCY_KEY_SINCE = 7

frame_reader = FrameDecoder


def start_frame(begin: SessionBegin) -> bytes:
    """The first frame of an attempt."""
    message = pb.StartMessage(
        id=begin.invocation,
        debug_id=id_text(begin.invocation),
        known_entries=len(begin.journal),
        partial_state=begin.is_state_partial,
        key=begin.key,
        retry_count_since_last_stored_entry=begin.retry_count,
        duration_since_last_stored_entry=begin.since_last_entry_ms,
    )
    for name, value in begin.state:
        message.state_map.add(key=name.encode(), value=value)
    if begin.protocol_version >= _RANDOM_SEED_SINCE:
        message.random_seed = begin.random_seed
    if begin.protocol_version >= _IDEMPOTENCY_KEY_SINCE and begin.idempotency_key is not None:
        message.idempotency_key = begin.idempotency_key
    return encode_frame(MessageType.START, message.SerializeToString())


def entry_head(entry: Entry) -> bytes:
    """The header of an entry's frame; the payload follows as it is."""
    return encode_head(entry.kind, len(entry.payload))


def command_ack_frame(command_index: int) -> bytes:
    """A command is stored (versions 5 and 6)."""
    message = pb.CommandAckMessage(command_index=command_index)
    return encode_frame(MessageType.COMMAND_ACK, message.SerializeToString())


def run_ack_frame(completion: int) -> bytes:
    """The result of a run is stored (version 7)."""
    message = pb.ProposeRunCompletionAckMessage(completion_id=completion)
    return encode_frame(MessageType.PROPOSE_RUN_COMPLETION_ACK, message.SerializeToString())


def wants_ack(frame: ServiceFrame) -> bool:
    """The SDK wants to hear when this is stored."""
    return bool(frame.flags & REQUESTED_ACK)


def check_command(entry: Entry) -> None:
    """Raises MalformedMessage if a server could not act on it. What is wrong is found here, before
    it is in a log, where every replica would stumble over it.
    """
    service_commands.meaning(entry)


def completion_of(notification: Entry) -> int:
    """The completion id of a completion."""
    match service_notifications.notification_id(notification):
        case CompletionId(number):
            return number
        case other:
            raise MalformedMessage(f"{other} where the completion of a command was expected")


def read_error(payload: bytes) -> AttemptFailure:
    """Why an SDK gave up."""
    message = parse(pb.ErrorMessage, payload)
    return AttemptFailure(
        code=message.code,
        message=_cut(message.message, MESSAGE_CHARACTERS_MAX),
        stacktrace=_cut(message.stacktrace, STACKTRACE_CHARACTERS_MAX),
        related_command_index=_optional(message, "related_command_index"),
        related_command_name=_cut(message.related_command_name, NAME_CHARACTERS_MAX) or None,
        related_command_type=_optional(message, "related_command_type"),
        next_retry_delay_ms=_optional(message, "next_retry_delay"),
        behavior=_BEHAVIORS.get(message.behavior, FailureBehavior.RETRY),
        error_code=_ERROR_CODES.get(message.code, ErrorCode.SERVICE_ERROR),
    )


def read_suspension(payload: bytes) -> AwaitPoint:
    """What a suspended handler waits for; in versions 5 and 6 a flat list, any of it counts."""
    message = parse(pb.SuspensionMessage, payload)
    if message.HasField("awaiting_on"):
        return _await_point(message.awaiting_on)
    return AwaitPoint(
        tuple(message.waiting_completions),
        tuple(message.waiting_signals),
        tuple(message.waiting_named_signals),
    )


def read_awaiting_on(payload: bytes) -> AwaitPoint:
    """What a running handler waits for."""
    return _await_point(parse(pb.AwaitingOnMessage, payload).awaiting_on)


def read_run_proposal(payload: bytes) -> tuple[int, Entry]:
    """The completion id of a run, and the notification to store as its result."""
    message = parse(pb.ProposeRunCompletionMessage, payload)
    match message.WhichOneof("result"):
        case "value":
            outcome = Success(message.value)
        case "failure":
            outcome = read_failure(message.failure)
        case _:
            raise MalformedMessage("a run completion without a result")
    completion = message.result_completion_id
    return completion, service_notifications.completion(
        MessageType.RUN_COMPLETION, completion, outcome
    )


def _await_point(message: pb.Future) -> AwaitPoint:
    return AwaitPoint(
        tuple(message.waiting_completions),
        tuple(message.waiting_signals),
        tuple(message.waiting_named_signals),
        tuple(_await_point(nested) for nested in message.nested_futures),
        _COMBINATORS.get(message.combinator_type, Combinator.FIRST_COMPLETED),
    )


def _cut(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def _optional(message: pb.ErrorMessage, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


_BEHAVIORS: dict[int, FailureBehavior] = {behavior.value: behavior for behavior in FailureBehavior}
_COMBINATORS: dict[int, Combinator] = {combinator.value: combinator for combinator in Combinator}
_ERROR_CODES = {
    JOURNAL_MISMATCH: ErrorCode.JOURNAL_MISMATCH,
    PROTOCOL_VIOLATION: ErrorCode.PROTOCOL_VIOLATION,
}
