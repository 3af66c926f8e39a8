"""Notifications of the service protocol: what a runtime writes into a journal.

All of them have the fields of one message, so one encoder and one decoder serve every type. Which
result goes with which type is up to the caller: a Sleep completes with nothing, a Call with an
outcome (`types.journal.MessageType`).
"""

from __future__ import annotations

from restate_node.types.attempts import MalformedMessage
from restate_node.types.invocations import (
    Failure,
    Outcome,
    RawInvocationId,
    Success,
    id_text,
)
from restate_node.types.journal import (
    CompletionId,
    Entry,
    MessageType,
    NotificationId,
    SignalIndex,
    SignalName,
    is_notification,
)
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_values import parse, read_failure, read_invocation, write_failure


def completion(kind: MessageType, completion: int, outcome: Outcome | None) -> Entry:
    """A command is done; None when there is nothing to say: a sleep, state or a promise that is not
    there.
    """
    message = pb.NotificationTemplate(completion_id=completion)
    return _with_outcome(kind, message, outcome)


def id_completion(completion: int, invocation: bytes) -> Entry:
    """A call was made: the id of the new invocation."""
    text = id_text(RawInvocationId(invocation))
    message = pb.NotificationTemplate(completion_id=completion, invocation_id=text)
    return Entry(MessageType.CALL_INVOCATION_ID_COMPLETION, message.SerializeToString())


def keys_completion(completion: int, keys: list[str]) -> Entry:
    """The names of all state there is."""
    names = pb.StateKeys(keys=[key.encode() for key in keys])
    message = pb.NotificationTemplate(completion_id=completion, state_keys=names)
    return Entry(MessageType.GET_LAZY_STATE_KEYS_COMPLETION, message.SerializeToString())


def signal(signal: SignalIndex | SignalName, outcome: Outcome | None) -> Entry:
    """A signal for an invocation; None is a signal without a value."""
    match signal:
        case SignalIndex(number):
            message = pb.NotificationTemplate(signal_id=number)
        case SignalName(name):
            message = pb.NotificationTemplate(signal_name=name)
    return _with_outcome(MessageType.SIGNAL_NOTIFICATION, message, outcome)


def notification_id(entry: Entry) -> NotificationId:
    """What it notifies of; raises MalformedMessage."""
    message = _read(entry)
    match message.WhichOneof("id"):
        case "completion_id":
            return CompletionId(message.completion_id)
        case "signal_id":
            return SignalIndex(message.signal_id)
        case "signal_name":
            return SignalName(message.signal_name)
        case _:
            raise MalformedMessage(f"a notification of type {entry.kind:#06x} without an id")


def outcome(entry: Entry) -> Outcome | None:
    """Its value or failure; None when it has neither: void, an invocation id, names of state."""
    message = _read(entry)
    match message.WhichOneof("result"):
        case "value":
            return Success(message.value.content)
        case "failure":
            return read_failure(message.failure)
        case _:
            return None


def invocation_id(entry: Entry) -> bytes | None:
    """The id that the completion of a call brings; None for other notifications."""
    message = _read(entry)
    return read_invocation(message.invocation_id) if message.HasField("invocation_id") else None


def _read(entry: Entry) -> pb.NotificationTemplate:
    assert is_notification(entry.kind), f"type {entry.kind:#06x} is no notification"
    return parse(pb.NotificationTemplate, entry.payload)


def _with_outcome(
    kind: MessageType, message: pb.NotificationTemplate, outcome: Outcome | None
) -> Entry:
    match outcome:
        case None:
            message.void.SetInParent()
        case Success(value):
            message.value.content = value
            message.value.SetInParent()
        case Failure():
            message.failure.CopyFrom(write_failure(outcome))
    return Entry(kind, message.SerializeToString())
