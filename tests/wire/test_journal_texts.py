"""Journal entries as SQL shows them: the JSON texts are those that Restate's own tools parse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf.message import Message

from restate_node.types.invocations import Retention, id_text, raw_id
from restate_node.types.journal import Entry, MessageType
from restate_node.types.targets import TargetKind
from restate_node.wire.awakeable_ids import awakeable_id
from restate_node.wire.journal_texts import Called, describe
from restate_node.wire.pb import service_protocol_pb2 as pb

T = MessageType
OTHER = raw_id(1, 2)
OTHER_TEXT = id_text(OTHER)
AWAKEABLE = awakeable_id(OTHER, 17)
VALUE = pb.Value(content=b'"v"')
FAILED = pb.Failure(code=444, message="bad")
SUCCESS: dict[str, Any] = {"Success": [34, 118, 34]}
FAILURE: dict[str, Any] = {"Failure": {"code": 444, "message": "bad"}}

COMMANDS: list[tuple[MessageType, Message, str, dict[str, Any], dict[str, Any]]] = [
    (
        T.INPUT_COMMAND,
        pb.InputCommandMessage(headers=[pb.Header(key="a", value="1")], value=VALUE),
        "Input",
        {"headers": [{"name": "a", "value": "1"}], "payload": [34, 118, 34], "name": ""},
        {},
    ),
    (
        T.GET_EAGER_STATE_KEYS_COMMAND,
        pb.GetEagerStateKeysCommandMessage(value=pb.StateKeys(keys=[b"a", b"b"])),
        "GetEagerStateKeys",
        {"state_keys": ["a", "b"], "name": ""},
        {},
    ),
    (
        T.OUTPUT_COMMAND,
        pb.OutputCommandMessage(
            failure=pb.Failure(
                code=444, message="bad", metadata=[pb.FailureMetadata(key="a", value="1")]
            )
        ),
        "Output",
        {
            "result": {
                "Failure": {
                    "code": 444,
                    "message": "bad",
                    "metadata": [{"key": "a", "value": "1"}],
                }
            },
            "name": "",
        },
        {"result": "Failure"},
    ),
    (
        T.COMPLETE_PROMISE_COMMAND,
        pb.CompletePromiseCommandMessage(
            key="p", completion_failure=FAILED, result_completion_id=5
        ),
        "CompletePromise",
        {"key": "p", "value": FAILURE, "completion_id": 5, "name": ""},
        {"key": "p", "completion_id": 5},
    ),
    (
        T.SEND_SIGNAL_COMMAND,
        pb.SendSignalCommandMessage(target_invocation_id=OTHER_TEXT, name="go", value=VALUE),
        "SendSignal",
        {
            "target_invocation_id": OTHER_TEXT,
            "signal_id": {"Name": "go"},
            "result": SUCCESS,
            "name": "",
        },
        {"target_invocation_id": OTHER_TEXT, "signal_id": {"Name": "go"}, "result": "Success"},
    ),
    (
        T.COMPLETE_AWAKEABLE_COMMAND,
        pb.CompleteAwakeableCommandMessage(awakeable_id=AWAKEABLE, value=VALUE),
        "CompleteAwakeable",
        {"id": AWAKEABLE, "result": SUCCESS, "name": ""},
        {"id": AWAKEABLE, "result": "Success"},
    ),
    (
        T.ATTACH_INVOCATION_COMMAND,
        pb.AttachInvocationCommandMessage(invocation_id=OTHER_TEXT, result_completion_id=13),
        "AttachInvocation",
        {"target": {"InvocationId": OTHER_TEXT}, "completion_id": 13, "name": ""},
        {"target": {"InvocationId": OTHER_TEXT}, "completion_id": 13},
    ),
]
NOTIFICATIONS: list[tuple[MessageType, pb.NotificationTemplate, dict[str, Any], dict[str, Any]]] = [
    (
        T.SLEEP_COMPLETION,
        pb.NotificationTemplate(completion_id=2, void=pb.Void()),
        {"Completion": {"Sleep": {"completion_id": 2}}},
        {"ty": {"Completion": "Sleep"}, "id": {"CompletionId": 2}, "result": "Void"},
    ),
    (
        T.RUN_COMPLETION,
        pb.NotificationTemplate(completion_id=7, failure=FAILED),
        {"Completion": {"Run": {"completion_id": 7, "result": FAILURE}}},
        {"ty": {"Completion": "Run"}, "id": {"CompletionId": 7}, "result": "Failure"},
    ),
    (
        T.PEEK_PROMISE_COMPLETION,
        pb.NotificationTemplate(completion_id=1, void=pb.Void()),
        {"Completion": {"PeekPromise": {"completion_id": 1, "result": "Void"}}},
        {"ty": {"Completion": "PeekPromise"}, "id": {"CompletionId": 1}, "result": "Void"},
    ),
    (
        T.CALL_INVOCATION_ID_COMPLETION,
        pb.NotificationTemplate(completion_id=3, invocation_id=OTHER_TEXT),
        {"Completion": {"CallInvocationId": {"completion_id": 3, "invocation_id": OTHER_TEXT}}},
        {
            "ty": {"Completion": "CallInvocationId"},
            "id": {"CompletionId": 3},
            "result": "InvocationId",
        },
    ),
    (
        T.SIGNAL_NOTIFICATION,
        pb.NotificationTemplate(signal_id=17, value=VALUE),
        {"Signal": {"id": {"Index": 17}, "result": SUCCESS}},
        {"ty": "Signal", "id": {"SignalIndex": 17}, "result": "Success"},
    ),
    (
        T.SIGNAL_NOTIFICATION,
        pb.NotificationTemplate(signal_name="go", failure=FAILED),
        {"Signal": {"id": {"Name": "go"}, "result": FAILURE}},
        {"ty": "Signal", "id": {"SignalName": "go"}, "result": "Failure"},
    ),
]


@pytest.mark.parametrize(("kind", "message", "short", "full", "lite"), COMMANDS)
def test_commands(
    kind: MessageType, message: Message, short: str, full: dict[str, Any], lite: dict[str, Any]
) -> None:
    """Goal: a command reads as it does in Restate 1.7, with and without payloads. Method: messages
    of an SDK against texts captured from a released server.
    """
    text = describe(Entry(kind, message.SerializeToString()))
    assert text.type == f"Command: {short}"
    assert json.loads(text.json) == {"Command": {short: full}}
    assert json.loads(text.lite_json) == {"Command": {short: lite}}


@pytest.mark.parametrize(("kind", "message", "full", "lite"), NOTIFICATIONS)
def test_notifications(
    kind: MessageType, message: Message, full: dict[str, Any], lite: dict[str, Any]
) -> None:
    """Goal and method as for commands: the full text names the type, the lite one has an `ty`."""
    text = describe(Entry(kind, message.SerializeToString()))
    assert json.loads(text.json) == {"Notification": full}
    assert json.loads(text.lite_json) == {"Notification": lite}


def test_a_call_tells_whom_it_calls() -> None:
    """Goal: `restate invocations describe` shows target and id of a call, which it reads below
    `request`. Method: a call of a workflow's shared handler, with headers and an idempotency key.
    """
    call = pb.CallCommandMessage(
        service_name="Flow",
        handler_name="look",
        key="k",
        parameter=b"1",
        headers=[pb.Header(key="h", value="v")],
        idempotency_key="i",
        invocation_id_notification_idx=8,
        result_completion_id=9,
    )
    called = Called(OTHER, TargetKind.WORKFLOW_SHARED, Retention(86_400_500, 1000))
    text = describe(Entry(T.CALL_COMMAND, call.SerializeToString()), called)
    target = {
        "Workflow": {
            "name": "Flow",
            "key": "k",
            "handler": "look",
            "handler_ty": "Shared",
            "scope": None,
        }
    }
    asked = {"invocation_id": OTHER_TEXT, "invocation_target": target}
    numbers = {"invocation_id_completion_id": 8, "result_completion_id": 9}
    assert json.loads(text.lite_json) == {"Command": {"Call": {**asked, **numbers}}}
    full = json.loads(text.json)["Command"]["Call"]
    request = full.pop("request")
    assert full == {**numbers, "name": ""}
    assert request.pop("span_context")["span_context"]["trace_id"] == [0] * 16
    assert request == {
        **asked,
        "parameter": [49],
        "headers": [{"name": "h", "value": "v"}],
        "idempotency_key": "i",
        "completion_retention_duration": {"secs": 86400, "nanos": 500_000_000},
        "journal_retention_duration": {"secs": 1, "nanos": 0},
    }


def test_a_call_of_a_handler_that_nobody_knows() -> None:
    """Goal: a call stays readable when its handler is no longer registered. Method: a call one way,
    without and with a key.
    """
    for key, kind in (("", "Service"), ("k", "VirtualObject")):
        call = pb.OneWayCallCommandMessage(
            service_name="Gone", handler_name="do", key=key, invocation_id_notification_idx=5
        )
        text = describe(Entry(T.ONE_WAY_CALL_COMMAND, call.SerializeToString()))
        lite = json.loads(text.lite_json)["Command"]["OneWayCall"]
        assert lite["invocation_id"] is None
        assert list(lite["invocation_target"]) == [kind]
        assert lite["invoke_time"] == 0


def test_what_cannot_be_read_is_shown_as_malformed() -> None:
    """Goal: a damaged entry does not hide the others. Method: bytes that are no message."""
    for kind in (T.CALL_COMMAND, T.RUN_COMMAND, T.GET_EAGER_STATE_KEYS_COMMAND, T.RUN_COMPLETION):
        assert describe(Entry(kind, b"\xff\xff")).type.startswith("Malformed")
