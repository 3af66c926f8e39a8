"""Journal entries as people and their tools read them: a type, a name, and two JSON texts.

    Command: Call        {"Command": {"Call": {"request": {"invocation_id": "inv_1…", …}, …}}}
    Notification: Sleep  {"Notification": {"Completion": {"Sleep": {"completion_id": 2}}}}

The lite text leaves out what users put in: a query over many journals need not carry payloads.
Names and shapes are those of Restate 1.7, whose command-line tool and web interface parse them:
what a call asks for lies under `request` in the full text only, and a notification is told by its
type in the full text and by its `id` in the lite one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from restate_node.types import journal_commands as does
from restate_node.types.attempts import MalformedMessage
from restate_node.types.invocations import (
    Failure,
    Outcome,
    RawInvocationId,
    Retention,
    Success,
    id_text,
)
from restate_node.types.journal import (
    FIRST_CUSTOM,
    CompletionId,
    Entry,
    MessageType,
    SignalIndex,
    SignalName,
    is_command,
    is_notification,
)
from restate_node.types.targets import ServiceType, TargetKind
from restate_node.wire import service_commands, service_notifications
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_values import parse

_HANDLER_TYPES: Final = {
    TargetKind.OBJECT_EXCLUSIVE: "Exclusive",
    TargetKind.OBJECT_SHARED: "Shared",
    TargetKind.WORKFLOW_RUN: "Workflow",
    TargetKind.WORKFLOW_SHARED: "Shared",
}
_NO_SPAN: Final = {
    "span_context": {
        "trace_id": [0] * 16,
        "span_id": [0] * 8,
        "trace_flags": 0,
        "is_remote": False,
        "trace_state": "",
    },
    "cause": None,
}
"""Calls carry no trace; tools insist on the field."""
_SHORT: Final = {kind: kind.name.title().replace("_", "") for kind in MessageType}


@dataclass(frozen=True, slots=True)
class EntryText:
    """One entry; what does not go with its type is None."""

    type: str
    name: str | None
    json: str
    lite_json: str
    wake_up_ms: int | None = None
    promise: str | None = None
    call: does.Call | None = None


@dataclass(frozen=True, slots=True)
class Called:
    """What is known of the invocation that a call made, beyond what the caller said."""

    invocation: RawInvocationId | None = None
    kind: TargetKind | None = None
    retention: Retention | None = None


_UNKNOWN: Final = Called()


def describe(entry: Entry, called: Called = _UNKNOWN) -> EntryText:
    """`called` counts for a call. Never raises."""
    if entry.kind >= FIRST_CUSTOM:
        return _command(entry, "Custom", {}, {})
    try:
        if is_notification(entry.kind):
            return _notification(entry)
        return _known_command(entry, called)
    except MalformedMessage as error:
        return EntryText(f"Malformed: {entry.kind:#06x}", None, *_both({"error": str(error)}))


def command_type(kind: int) -> str:
    """The type of a command alone, `Call`."""
    if kind in _SHORT and is_command(kind):
        return _SHORT[MessageType(kind)].removesuffix("Command")
    return f"{kind:#06x}"


def call_of(entry: Entry) -> does.Call | None:
    """The call that an entry makes, if it makes one."""
    if entry.kind not in (MessageType.CALL_COMMAND, MessageType.ONE_WAY_CALL_COMMAND):
        return None
    meaning = service_commands.meaning(entry)
    return meaning if isinstance(meaning, does.Call) else None


# ---------------------------------------------------------------- commands


def _known_command(entry: Entry, called: Called) -> EntryText:
    short = _SHORT[MessageType(entry.kind)].removesuffix("Command")
    meaning = service_commands.meaning(entry)
    match meaning:
        case does.SetState(key, value):
            return _command(entry, short, {"key": key}, {"value": list(value)})
        case does.ClearState(key):
            return _command(entry, short, {"key": key}, {})
        case does.GetState(key, completion):
            return _command(entry, short, {"key": key, "completion_id": completion}, {})
        case does.Output(outcome):
            full = {"result": _full(outcome)}
            return _command(entry, short, {"result": _lite(outcome)}, full)
        case does.Sleep(wake_up_ms, completion):
            known = {"wake_up_time": wake_up_ms, "completion_id": completion}
            return _command(entry, short, known, {}, wake_up_ms=wake_up_ms)
        case does.Call():
            return _call(entry, short, meaning, called)
        case does.GetPromise(key, completion) | does.PeekPromise(key, completion):
            known = {"key": key, "completion_id": completion}
            return _command(entry, short, known, {}, promise=key)
        case does.CompletePromise(key, outcome, completion):
            known = {"key": key, "completion_id": completion}
            return _command(entry, short, known, {"value": _full(outcome)}, promise=key)
        case does.SendSignal():
            known = _signalled(entry, meaning)
            lite = {**known, "result": _lite(meaning.outcome)}
            return _command(entry, short, lite, {"result": _full(meaning.outcome)})
        case does.GetStateKeys(completion):
            return _command(entry, short, {"completion_id": completion}, {})
        case does.Attach(other, completion):
            known = {"target": _other(other), "completion_id": completion}
            return _command(entry, short, known, {})
        case _:
            return _command(entry, short, *_recorded(entry))


def _recorded(entry: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    """What only people want to know of commands that a server does nothing about."""
    if entry.kind == MessageType.INPUT_COMMAND:
        payload, headers = service_commands.argument(entry)
        names = [{"name": header.name, "value": header.value} for header in headers]
        return {}, {"headers": names, "payload": list(payload)}
    if entry.kind == MessageType.RUN_COMMAND:
        message = parse(pb.RunCommandMessage, entry.payload)
        return {"completion_id": message.result_completion_id}, {}
    if entry.kind == MessageType.GET_EAGER_STATE_COMMAND:
        message = parse(pb.GetEagerStateCommandMessage, entry.payload)
        found = message.HasField("value")
        result = {"Success": list(message.value.content)} if found else "Void"
        lite = {"key": _utf8(message.key), "result": "Success" if found else "Void"}
        return lite, {"result": result}
    if entry.kind == MessageType.GET_EAGER_STATE_KEYS_COMMAND:
        message = parse(pb.GetEagerStateKeysCommandMessage, entry.payload)
        return {}, {"state_keys": [_utf8(key) for key in message.value.keys]}
    return {}, {}


def _call(entry: Entry, short: str, call: does.Call, called: Called) -> EntryText:
    """The full text says the same as the lite one, but what is asked for one level deeper."""
    asked: dict[str, Any] = {
        "invocation_id": None if called.invocation is None else id_text(called.invocation),
        "invocation_target": _target(call, called.kind),
    }
    follows: dict[str, Any] = {"invocation_id_completion_id": call.id_completion}
    if call.completion is None:
        follows = {"invoke_time": call.start_at_ms or 0, **follows}
    else:
        follows["result_completion_id"] = call.completion
    retention = called.retention or Retention()
    request: dict[str, Any] = {
        **asked,
        "span_context": _NO_SPAN,
        "parameter": list(call.argument),
        "headers": [{"name": header.name, "value": header.value} for header in call.headers],
        "idempotency_key": call.idempotency_key,
        "completion_retention_duration": _duration(retention.outcome_ms),
        "journal_retention_duration": _duration(retention.journal_ms),
    }
    name = service_commands.command_name(entry)
    full = {"request": request, **follows, "name": name}
    lite = {**asked, **follows, **({"name": name} if name else {})}
    texts = _json({"Command": {short: full}}), _json({"Command": {short: lite}})
    return EntryText(f"Command: {short}", name, *texts, call=call)


def _target(call: does.Call, kind: TargetKind | None) -> dict[str, Any]:
    """By what a call says if nobody knows the handler (any longer)."""
    if kind is None:
        kind = TargetKind.OBJECT_EXCLUSIVE if call.key else TargetKind.SERVICE
    target: dict[str, Any] = {"name": call.service, "handler": call.handler, "scope": None}
    if kind.service_type is not ServiceType.SERVICE:
        target = {
            "name": call.service,
            "key": call.key,
            "handler": call.handler,
            "handler_ty": _HANDLER_TYPES[kind],
            "scope": None,
        }
    return {kind.service_type.label: target}


def _other(other: does.OtherInvocation) -> dict[str, Any]:
    match other:
        case does.WorkflowTarget(service, key):
            return {"Workflow": {"service_name": service, "key": key}}
        case does.IdempotentTarget(service, key, handler, idempotency_key):
            request = {
                "service_name": service,
                "service_key": key,
                "service_handler": handler,
                "idempotency_key": idempotency_key,
            }
            return {"IdempotentRequest": request}
        case _:
            return {"InvocationId": id_text(other)}


def _signalled(entry: Entry, signal: does.SendSignal) -> dict[str, Any]:
    """Whom a signal is for: an awakeable has an id of its own, made of invocation and number."""
    if entry.kind == MessageType.COMPLETE_AWAKEABLE_COMMAND:
        message = parse(pb.CompleteAwakeableCommandMessage, entry.payload)
        return {"id": message.awakeable_id}
    number = _signal_id(signal.signal)
    return {"target_invocation_id": id_text(signal.invocation), "signal_id": number}


def _signal_id(signal: SignalIndex | SignalName) -> dict[str, Any]:
    match signal:
        case SignalIndex(number):
            return {"Index": number}
        case SignalName(name):
            return {"Name": name}


def _command(
    entry: Entry,
    short: str,
    lite: dict[str, Any],
    full: dict[str, Any],
    **columns: Any,
) -> EntryText:
    name = "" if entry.kind >= FIRST_CUSTOM else service_commands.command_name(entry)
    named = {"name": name} if name else {}
    content = {"Command": {short: {**lite, **full, "name": name}}}
    lite_content = {"Command": {short: {**lite, **named}}}
    texts = _json(content), _json(lite_content)
    return EntryText(f"Command: {short}", name, *texts, **columns)


# ---------------------------------------------------------------- notifications


def _notification(entry: Entry) -> EntryText:
    identity = service_notifications.notification_id(entry)
    result = _result(entry)
    if isinstance(identity, CompletionId):
        short = _SHORT[MessageType(entry.kind)].removesuffix("Completion")
        completed = {"completion_id": identity.number, **result}
        kind, number = {"Completion": short}, {"CompletionId": identity.number}
        full: dict[str, Any] = {"Completion": {short: completed}}
    else:
        signal = _signal_id(identity)
        short, kind = "Signal", "Signal"
        number = {f"Signal{key}": value for key, value in signal.items()}
        full = {"Signal": {"id": signal, **result}}
    lite = {"ty": kind, "id": number, "result": _lite_result(entry)}
    texts = _json({"Notification": full}), _json({"Notification": lite})
    return EntryText(f"Notification: {short}", None, *texts)


def _result(entry: Entry) -> dict[str, Any]:
    """What a notification brings, named as its type names it; a sleep brings nothing."""
    match entry.kind:
        case MessageType.SLEEP_COMPLETION:
            return {}
        case MessageType.CALL_INVOCATION_ID_COMPLETION:
            callee = service_notifications.invocation_id(entry)
            return {"invocation_id": None if callee is None else id_text(RawInvocationId(callee))}
        case MessageType.GET_LAZY_STATE_KEYS_COMPLETION:
            message = parse(pb.NotificationTemplate, entry.payload)
            return {"state_keys": [_utf8(key) for key in message.state_keys.keys]}
        case _:
            return {"result": _full(service_notifications.outcome(entry))}


def _lite_result(entry: Entry) -> str:
    match entry.kind:
        case MessageType.CALL_INVOCATION_ID_COMPLETION:
            return "InvocationId"
        case MessageType.GET_LAZY_STATE_KEYS_COMPLETION:
            return "StateKeys"
        case _:
            return _lite(service_notifications.outcome(entry))


def _lite(outcome: Outcome | None) -> str:
    return "Void" if outcome is None else type(outcome).__name__


def _full(outcome: Outcome | None) -> Any:
    match outcome:
        case None:
            return "Void"
        case Success(value):
            return {"Success": list(value)}
        case Failure(code, message, metadata):
            failure: dict[str, Any] = {"code": code, "message": message}
            if metadata:
                failure["metadata"] = [{"key": key, "value": value} for key, value in metadata]
            return {"Failure": failure}


def _duration(milliseconds: int) -> dict[str, int]:
    seconds, rest = divmod(milliseconds, 1000)
    return {"secs": seconds, "nanos": rest * 1_000_000}


def _utf8(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _both(content: dict[str, Any]) -> tuple[str, str]:
    text = _json(content)
    return text, text


def _json(content: Any) -> str:
    return msgspec.json.encode(content).decode()
