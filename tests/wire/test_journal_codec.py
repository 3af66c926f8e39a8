"""Entries of a journal: what SDKs write is understood, what the runtime writes they understand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from restate_node.types.attempts import MalformedMessage
from restate_node.types.invocations import Failure, Header, Outcome, Success, id_text, raw_id
from restate_node.types.journal import (
    CompletionId,
    Entry,
    MessageType,
    NotificationId,
    SignalIndex,
    SignalName,
    is_command,
    is_notification,
)
from restate_node.types.journal_commands import (
    Attach,
    Call,
    ClearAllState,
    ClearState,
    CompletePromise,
    GetPromise,
    GetState,
    GetStateKeys,
    IdempotentTarget,
    Meaning,
    Nothing,
    Output,
    PeekPromise,
    SendSignal,
    SetState,
    Sleep,
    WorkflowTarget,
)
from restate_node.wire import journal_codec as codec
from restate_node.wire.awakeable_ids import awakeable_id
from restate_node.wire.pb import service_protocol_pb2 as pb

OTHER = raw_id(1, 2)
FAILURE = Failure(500, "no", (("k", "v"),))
FAILED = pb.Failure(code=500, message="no", metadata=[pb.FailureMetadata(key="k", value="v")])
VALUE = pb.Value(content=b"v")
WORKFLOW = pb.WorkflowTarget(workflow_name="W", workflow_key="k")
IDEMPOTENT = pb.IdempotentRequestTarget(service_name="S", handler_name="h", idempotency_key="i")
KEYED = pb.IdempotentRequestTarget(
    service_name="S", service_key="k", handler_name="h", idempotency_key="i"
)
HEADERS = [pb.Header(key="a", value="1"), pb.Header(key="a", value="2")]
T = MessageType

MEANINGS: list[tuple[MessageType, Message, Meaning]] = [
    (T.INPUT_COMMAND, pb.InputCommandMessage(value=VALUE), Nothing()),
    (T.OUTPUT_COMMAND, pb.OutputCommandMessage(value=VALUE), Output(Success(b"v"))),
    (T.OUTPUT_COMMAND, pb.OutputCommandMessage(value=pb.Value()), Output(Success(b""))),
    (T.OUTPUT_COMMAND, pb.OutputCommandMessage(failure=FAILED), Output(FAILURE)),
    (
        T.GET_LAZY_STATE_COMMAND,
        pb.GetLazyStateCommandMessage(key="ä".encode(), result_completion_id=3),
        GetState("ä", 3),
    ),
    (T.SET_STATE_COMMAND, pb.SetStateCommandMessage(key=b"a", value=VALUE), SetState("a", b"v")),
    (T.SET_STATE_COMMAND, pb.SetStateCommandMessage(key=b"a"), SetState("a", b"")),
    (T.CLEAR_STATE_COMMAND, pb.ClearStateCommandMessage(key=b"a"), ClearState("a")),
    (T.CLEAR_ALL_STATE_COMMAND, pb.ClearAllStateCommandMessage(), ClearAllState()),
    (
        T.GET_LAZY_STATE_KEYS_COMMAND,
        pb.GetLazyStateKeysCommandMessage(result_completion_id=3),
        GetStateKeys(3),
    ),
    (T.GET_EAGER_STATE_COMMAND, pb.GetEagerStateCommandMessage(key=b"a"), Nothing()),
    (T.GET_EAGER_STATE_KEYS_COMMAND, pb.GetEagerStateKeysCommandMessage(), Nothing()),
    (
        T.GET_PROMISE_COMMAND,
        pb.GetPromiseCommandMessage(key="p", result_completion_id=3),
        GetPromise("p", 3),
    ),
    (
        T.PEEK_PROMISE_COMMAND,
        pb.PeekPromiseCommandMessage(key="p", result_completion_id=3),
        PeekPromise("p", 3),
    ),
    (
        T.COMPLETE_PROMISE_COMMAND,
        pb.CompletePromiseCommandMessage(key="p", completion_value=VALUE, result_completion_id=3),
        CompletePromise("p", Success(b"v"), 3),
    ),
    (
        T.COMPLETE_PROMISE_COMMAND,
        pb.CompletePromiseCommandMessage(key="p", completion_failure=FAILED),
        CompletePromise("p", FAILURE, 0),
    ),
    (
        T.SLEEP_COMMAND,
        pb.SleepCommandMessage(wake_up_time=2**50, result_completion_id=3),
        Sleep(2**50, 3),
    ),
    (
        T.CALL_COMMAND,
        pb.CallCommandMessage(
            service_name="S",
            handler_name="h",
            parameter=b"x",
            headers=HEADERS,
            key="k",
            idempotency_key="i",
            invocation_id_notification_idx=1,
            result_completion_id=2,
        ),
        Call("S", "h", "k", b"x", (Header("a", "1"), Header("a", "2")), "i", 1, 2),
    ),
    (
        T.ONE_WAY_CALL_COMMAND,
        pb.OneWayCallCommandMessage(
            service_name="S", handler_name="h", invoke_time=7, invocation_id_notification_idx=1
        ),
        Call("S", "h", "", b"", (), None, 1, None, 7),
    ),
    (
        T.ONE_WAY_CALL_COMMAND,
        pb.OneWayCallCommandMessage(service_name="S", handler_name="h"),
        Call("S", "h", "", b"", (), None, 0, None, None),
    ),
    (
        T.SEND_SIGNAL_COMMAND,
        pb.SendSignalCommandMessage(target_invocation_id=id_text(OTHER), idx=1, void=pb.Void()),
        SendSignal(OTHER, SignalIndex(1), None),
    ),
    (
        T.SEND_SIGNAL_COMMAND,
        pb.SendSignalCommandMessage(target_invocation_id=id_text(OTHER), name="s", value=VALUE),
        SendSignal(OTHER, SignalName("s"), Success(b"v")),
    ),
    (
        T.SEND_SIGNAL_COMMAND,
        pb.SendSignalCommandMessage(target_invocation_id=id_text(OTHER), name="s", failure=FAILED),
        SendSignal(OTHER, SignalName("s"), FAILURE),
    ),
    (T.RUN_COMMAND, pb.RunCommandMessage(result_completion_id=3), Nothing()),
    (
        T.ATTACH_INVOCATION_COMMAND,
        pb.AttachInvocationCommandMessage(invocation_id=id_text(OTHER), result_completion_id=3),
        Attach(OTHER, 3, wait=True),
    ),
    (
        T.ATTACH_INVOCATION_COMMAND,
        pb.AttachInvocationCommandMessage(idempotent_request_target=KEYED),
        Attach(IdempotentTarget("S", "k", "h", "i"), 0, wait=True),
    ),
    (
        T.GET_INVOCATION_OUTPUT_COMMAND,
        pb.GetInvocationOutputCommandMessage(workflow_target=WORKFLOW, result_completion_id=3),
        Attach(WorkflowTarget("W", "k"), 3, wait=False),
    ),
    (
        T.GET_INVOCATION_OUTPUT_COMMAND,
        pb.GetInvocationOutputCommandMessage(idempotent_request_target=IDEMPOTENT),
        Attach(IdempotentTarget("S", None, "h", "i"), 0, wait=False),
    ),
    (
        T.COMPLETE_AWAKEABLE_COMMAND,
        pb.CompleteAwakeableCommandMessage(awakeable_id=awakeable_id(OTHER, 17), value=VALUE),
        SendSignal(OTHER, SignalIndex(17), Success(b"v")),
    ),
    (
        T.COMPLETE_AWAKEABLE_COMMAND,
        pb.CompleteAwakeableCommandMessage(awakeable_id=awakeable_id(OTHER, 17), failure=FAILED),
        SendSignal(OTHER, SignalIndex(17), FAILURE),
    ),
]


@pytest.mark.parametrize(("kind", "message", "meaning"), MEANINGS)
def test_commands_are_understood(kind: MessageType, message: Message, meaning: Meaning) -> None:
    """Goal: each field arrives where it belongs. How: a table of messages and meanings."""
    assert codec.meaning(Entry(kind, message.SerializeToString())) == meaning


@pytest.mark.parametrize(("kind", "message", "meaning"), MEANINGS)
def test_completions_of_commands(kind: MessageType, message: Message, meaning: Meaning) -> None:
    """Goal: a command is answered under the ids that its message names. Method: the fields of the
    protocol that hold such ids, by their names.
    """
    fields = ("invocation_id_notification_idx", "result_completion_id")
    names = message.DESCRIPTOR.fields_by_name
    expected = tuple(getattr(message, field) for field in fields if field in names)
    assert codec.completions(Entry(kind, message.SerializeToString())) == expected


def test_the_table_has_every_command() -> None:
    """Goal: no command is forgotten. How: compare with the list of types."""
    assert {kind for kind, _, _ in MEANINGS} == {kind for kind in T if is_command(kind)}


def test_commands_of_an_sdk_are_opaque() -> None:
    """Goal: an SDK's own commands are kept. How: garbage with a type of theirs."""
    assert codec.meaning(Entry(0xFC07, b"\xff")) == Nothing()


MALFORMED: list[tuple[MessageType, Message, str]] = [
    (T.OUTPUT_COMMAND, pb.OutputCommandMessage(), "without a result"),
    (T.COMPLETE_PROMISE_COMMAND, pb.CompletePromiseCommandMessage(key="p"), "without a result"),
    (T.SET_STATE_COMMAND, pb.SetStateCommandMessage(key=b"\xff"), "not UTF-8"),
    (T.CALL_COMMAND, pb.CallCommandMessage(service_name="S", scope="x"), "not supported"),
    (
        T.SEND_SIGNAL_COMMAND,
        pb.SendSignalCommandMessage(target_invocation_id="inv_1x", idx=1),
        "not an invocation id",
    ),
    (
        T.SEND_SIGNAL_COMMAND,
        pb.SendSignalCommandMessage(target_invocation_id=id_text(OTHER)),
        "without a number or name",
    ),
    (T.ATTACH_INVOCATION_COMMAND, pb.AttachInvocationCommandMessage(), "no invocation"),
    (
        T.COMPLETE_AWAKEABLE_COMMAND,
        pb.CompleteAwakeableCommandMessage(awakeable_id="sign_1", value=VALUE),
        "not the id of an awakeable",
    ),
    (
        T.COMPLETE_AWAKEABLE_COMMAND,
        pb.CompleteAwakeableCommandMessage(awakeable_id=awakeable_id(OTHER, 17)),
        "without a result",
    ),
]


@pytest.mark.parametrize(("kind", "message", "reason"), MALFORMED)
def test_what_nobody_can_act_on_is_refused(
    kind: MessageType, message: Message, reason: str
) -> None:
    """Goal: one exception with a reason. How: messages that parse and make no sense."""
    with pytest.raises(MalformedMessage, match=reason) as caught:
        codec.meaning(Entry(kind, message.SerializeToString()))
    assert "\n" not in str(caught.value)


@given(st.sampled_from([kind for kind in T if is_command(kind)]), st.binary(max_size=60))
def test_garbage_surprises_nobody(kind: MessageType, payload: bytes) -> None:
    """Goal: no other exception. How: any bytes as each type of command."""
    with contextlib.suppress(MalformedMessage):
        codec.meaning(Entry(kind, payload))
    with contextlib.suppress(MalformedMessage):
        codec.command_name(Entry(kind, payload))


@given(st.sampled_from([kind for kind in T if is_notification(kind)]), st.binary(max_size=60))
def test_garbage_notifications_surprise_nobody(kind: MessageType, payload: bytes) -> None:
    """Goal: no other exception. How: any bytes as each type of notification."""
    for read in (codec.notification_id, codec.outcome, codec.invocation_id):
        with contextlib.suppress(MalformedMessage):
            read(Entry(kind, payload))


NAMES: list[tuple[MessageType, Message]] = [
    (T.RUN_COMMAND, pb.RunCommandMessage(name="n", result_completion_id=1)),
    (T.SET_STATE_COMMAND, pb.SetStateCommandMessage(name="n", key=b"other", value=VALUE)),
    (T.SEND_SIGNAL_COMMAND, pb.SendSignalCommandMessage(entry_name="n", name="other", value=VALUE)),
    (T.CALL_COMMAND, pb.CallCommandMessage(name="n", service_name="other")),
]


@pytest.mark.parametrize(("kind", "message"), NAMES)
def test_names_are_those_of_user_code(kind: MessageType, message: Message) -> None:
    """Goal: lists of entries show names. How: commands with a name and something else like one."""
    assert codec.command_name(Entry(kind, message.SerializeToString())) == "n"


NOTIFICATIONS: list[tuple[Entry, int, NotificationId, Outcome | None]] = [
    (codec.completion(T.SLEEP_COMPLETION, 3, None), 0x800C, CompletionId(3), None),
    (codec.completion(T.CALL_COMPLETION, 3, FAILURE), 0x800D, CompletionId(3), FAILURE),
    (codec.completion(T.RUN_COMPLETION, 3, Success(b"")), 0x8011, CompletionId(3), Success(b"")),
    (codec.completion(T.RUN_COMPLETION, 0, Success(b"v")), 0x8011, CompletionId(0), Success(b"v")),
    (codec.id_completion(3, OTHER), 0x800E, CompletionId(3), None),
    (codec.keys_completion(3, ["a", "ä"]), 0x8006, CompletionId(3), None),
    (codec.signal(SignalIndex(1), None), 0xFBFF, SignalIndex(1), None),
    (codec.signal(SignalIndex(17), FAILURE), 0xFBFF, SignalIndex(17), FAILURE),
    (codec.signal(SignalName("s"), Success(b"v")), 0xFBFF, SignalName("s"), Success(b"v")),
]


@pytest.mark.parametrize(("entry", "kind", "identity", "outcome"), NOTIFICATIONS)
def test_notifications_round_trip(
    entry: Entry, kind: int, identity: NotificationId, outcome: Outcome | None
) -> None:
    """Goal: what is written is read again. How: one of each form."""
    assert entry.kind == kind
    assert codec.notification_id(entry) == identity
    assert codec.outcome(entry) == outcome
    assert codec.invocation_id(entry) == (OTHER if kind == 0x800E else None)


GOLDEN: list[tuple[Callable[[], Entry], str]] = [
    (lambda: codec.completion(T.SLEEP_COMPLETION, 3, None), "0803 2200"),
    (lambda: codec.completion(T.GET_LAZY_STATE_COMPLETION, 3, Success(b"v")), "0803 2a03 0a01 76"),
    (lambda: codec.completion(T.CALL_COMPLETION, 3, Failure(9, "m")), "0803 3205 0809 1201 6d"),
    (lambda: codec.keys_completion(3, ["k"]), "0803 8a01 03 0a01 6b"),
    (lambda: codec.signal(SignalIndex(1), None), "1001 2200"),
    (lambda: codec.signal(SignalName("s"), None), "1a01 73 2200"),
    (lambda: codec.input(b"v", (Header("a", "b"),)), "0a06 0a01 61 1201 62 7203 0a01 76"),
]


@pytest.mark.parametrize(("write", "expected"), GOLDEN)
def test_bytes_are_those_of_the_protocol(write: Callable[[], Entry], expected: str) -> None:
    """Goal: SDKs read it. How: byte for byte, numbers of fields written out."""
    assert write().payload == bytes.fromhex(expected)


def test_input_round_trips() -> None:
    """Goal: an argument can be taken out of a journal. How: with headers, and empty."""
    headers = (Header("a", "1"), Header("a", "2"))
    assert codec.argument(codec.input(b"x", headers)) == (b"x", headers)
    assert codec.argument(codec.input(b"", ())) == (b"", ())
