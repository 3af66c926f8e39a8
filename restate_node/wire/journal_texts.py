"""Journal entries as people and their tools read them: a type, a name, and two JSON texts.

    Command: Call        {"Command": {"Call": {"invocation_id": "inv_1…", "invocation_target": …}}}
    Notification: Sleep  {"Notification": {"ty": {"Completion": "Sleep"}, "id": …, "result": …}}

The lite text leaves out what users put in: a query over many journals need not carry payloads.
Names and shapes are those of Restate 1.7, whose command-line tool parses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from restate_node.types import journal_commands as does
from restate_node.types.attempts import MalformedMessage
from restate_node.types.invocations import Failure, Outcome, RawInvocationId, Success, id_text
from restate_node.types.journal import (
    FIRST_CUSTOM,
    CompletionId,
    Entry,
    MessageType,
    SignalIndex,
    is_command,
    is_notification,
)
from restate_node.wire import service_commands, service_notifications
from restate_node.wire.pb import service_protocol_pb2 as pb

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


def describe(entry: Entry, callee: RawInvocationId | None = None) -> EntryText:
    """`callee` is the id of the invocation that a call made, if it is known. Never raises."""
    if entry.kind >= FIRST_CUSTOM:
        return _command(entry, "Custom", {}, {})
    try:
        if is_notification(entry.kind):
            return _notification(entry)
        return _known_command(entry, callee)
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


def _known_command(entry: Entry, callee: RawInvocationId | None) -> EntryText:
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
            known = _call(meaning, callee)
            full = {"parameter": list(meaning.argument)}
            return _command(entry, short, known, full, call=meaning)
        case does.GetPromise(key, completion) | does.PeekPromise(key, completion):
            known = {"key": key, "completion_id": completion}
            return _command(entry, short, known, {}, promise=key)
        case does.CompletePromise(key, outcome, completion):
            known = {"key": key, "value": _lite(outcome), "completion_id": completion}
            return _command(entry, short, known, {"value": _full(outcome)}, promise=key)
        case does.SendSignal(target, signal, outcome):
            known = {"target_invocation_id": id_text(target), "result": _lite(outcome)}
            full = {"signal": str(signal), "result": _full(outcome)}
            return _command(entry, short, known, full)
        case does.GetStateKeys(completion) | does.Attach(_, completion):
            return _command(entry, short, {"completion_id": completion}, {})
        case _:
            return _command(entry, short, *_recorded(entry))


def _recorded(entry: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    """What only people want to know of commands that a server does nothing about."""
    if entry.kind == MessageType.INPUT_COMMAND:
        payload, headers = service_commands.argument(entry)
        names = [[header.name, header.value] for header in headers]
        return {}, {"headers": names, "payload": list(payload)}
    if entry.kind == MessageType.RUN_COMMAND:
        message = pb.RunCommandMessage.FromString(entry.payload)
        return {"completion_id": message.result_completion_id}, {}
    if entry.kind == MessageType.GET_EAGER_STATE_COMMAND:
        message = pb.GetEagerStateCommandMessage.FromString(entry.payload)
        found = message.HasField("value")
        result = {"Success": list(message.value.content)} if found else "Void"
        key = message.key.decode("utf-8", "replace")
        lite = {"key": key, "result": "Success" if found else "Void"}
        return lite, {"result": result}
    return {}, {}


def _call(call: does.Call, callee: RawInvocationId | None) -> dict[str, Any]:
    target: dict[str, Any] = {"name": call.service, "handler": call.handler}
    if call.key:
        target["key"] = call.key
    known: dict[str, Any] = {
        "invocation_id": None if callee is None else id_text(callee),
        "invocation_target": {"VirtualObject" if call.key else "Service": target},
        "invocation_id_completion_id": call.id_completion,
    }
    if call.completion is not None:
        known["result_completion_id"] = call.completion
    return known


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
    if isinstance(identity, CompletionId):
        short = _SHORT[MessageType(entry.kind)].removesuffix("Completion")
        kind, number = {"Completion": short}, {"CompletionId": identity.number}
    else:
        short, kind = "Signal", "Signal"
        if isinstance(identity, SignalIndex):
            number = {"SignalIndex": identity.number}
        else:
            number = {"SignalName": identity.name}
    callee = service_notifications.invocation_id(entry)
    outcome = None if callee is not None else service_notifications.outcome(entry)
    result = "InvocationId" if callee is not None else _lite(outcome)
    lite = {"Notification": {"ty": kind, "id": number, "result": result}}
    full_result = id_text(RawInvocationId(callee)) if callee is not None else _full(outcome)
    full = {"Notification": {"ty": kind, "id": number, "result": full_result}}
    return EntryText(f"Notification: {short}", None, _json(full), _json(lite))


def _lite(outcome: Outcome | None) -> str:
    return "Void" if outcome is None else type(outcome).__name__


def _full(outcome: Outcome | None) -> Any:
    match outcome:
        case None:
            return "Void"
        case Success(value):
            return {"Success": list(value)}
        case Failure(code, message):
            return {"Failure": {"code": code, "message": message}}


def _both(content: dict[str, Any]) -> tuple[str, str]:
    text = _json(content)
    return text, text


def _json(content: Any) -> str:
    return msgspec.json.encode(content).decode()
