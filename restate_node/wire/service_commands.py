"""Commands of the service protocol: what the entries of a journal ask for.

An entry is stored as the bytes that an SDK sent. `meaning` decodes those that a server has to
act on into `types.journal_commands`; the others it does not even parse. `command_name` is what
people read in a list of entries.

Strings of the protocol are read as they are; names of state are bytes there and text here, as in
every SDK. Scopes and limit keys (version 7) are not supported: an entry that has one is refused
rather than run without it.
"""

from __future__ import annotations

from collections.abc import Callable

from restate_node.types.attempts import MalformedMessage
from restate_node.types.invocations import Header, Outcome, Success
from restate_node.types.journal import Entry, MessageType, SignalIndex, SignalName
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
    OtherInvocation,
    Output,
    PeekPromise,
    SendSignal,
    SetState,
    Sleep,
    WorkflowTarget,
)
from restate_node.wire.awakeable_ids import parse_awakeable_id
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_values import (
    parse,
    read_failure,
    read_headers,
    read_invocation,
    utf8,
)


def meaning(entry: Entry) -> Meaning:
    """What a command asks for; raises MalformedMessage."""
    read = _READERS.get(entry.kind)
    return _NOTHING if read is None else read(entry.payload)


def completions(entry: Entry) -> tuple[int, ...]:
    """The completion ids under which a command is answered; raises MalformedMessage."""
    if entry.kind == MessageType.RUN_COMMAND:
        return (parse(pb.RunCommandMessage, entry.payload).result_completion_id,)
    means = meaning(entry)
    match means:
        case Call(completion=None):
            return (means.id_completion,)
        case Call(completion=int(completion)):
            return (means.id_completion, completion)
        case GetState() | GetStateKeys() | GetPromise() | PeekPromise() | CompletePromise():
            return (means.completion,)
        case Sleep() | Attach():
            return (means.completion,)
        case _:
            return ()


def input(argument: bytes, headers: tuple[Header, ...]) -> Entry:
    """The first entry of a journal."""
    message = pb.InputCommandMessage(value=pb.Value(content=argument))
    for header in headers:
        message.headers.add(key=header.name, value=header.value)
    return Entry(MessageType.INPUT_COMMAND, message.SerializeToString())


def argument(entry: Entry) -> tuple[bytes, tuple[Header, ...]]:
    """What an Input entry holds; raises MalformedMessage."""
    assert entry.kind == MessageType.INPUT_COMMAND, f"type {entry.kind:#06x} is no input"
    message = parse(pb.InputCommandMessage, entry.payload)
    return message.value.content, read_headers(message.headers)


def command_name(entry: Entry) -> str:
    """The name that user code gave to a command, often empty; raises MalformedMessage."""
    if entry.kind == MessageType.SEND_SIGNAL_COMMAND:
        return parse(pb.SendSignalCommandMessage, entry.payload).entry_name
    return parse(pb.RunCommandMessage, entry.payload).name


def _output(payload: bytes) -> Output:
    message = parse(pb.OutputCommandMessage, payload)
    match message.WhichOneof("result"):
        case "value":
            return Output(Success(message.value.content))
        case "failure":
            return Output(read_failure(message.failure))
        case _:
            raise MalformedMessage("an output without a result")


def _set_state(payload: bytes) -> SetState:
    message = parse(pb.SetStateCommandMessage, payload)
    return SetState(_state_name(message.key), message.value.content)


def _clear_state(payload: bytes) -> ClearState:
    return ClearState(_state_name(parse(pb.ClearStateCommandMessage, payload).key))


def _clear_all_state(payload: bytes) -> ClearAllState:
    parse(pb.ClearAllStateCommandMessage, payload)
    return ClearAllState()


def _get_state(payload: bytes) -> GetState:
    message = parse(pb.GetLazyStateCommandMessage, payload)
    return GetState(_state_name(message.key), message.result_completion_id)


def _get_state_keys(payload: bytes) -> GetStateKeys:
    return GetStateKeys(parse(pb.GetLazyStateKeysCommandMessage, payload).result_completion_id)


def _get_promise(payload: bytes) -> GetPromise:
    message = parse(pb.GetPromiseCommandMessage, payload)
    return GetPromise(message.key, message.result_completion_id)


def _peek_promise(payload: bytes) -> PeekPromise:
    message = parse(pb.PeekPromiseCommandMessage, payload)
    return PeekPromise(message.key, message.result_completion_id)


def _complete_promise(payload: bytes) -> CompletePromise:
    message = parse(pb.CompletePromiseCommandMessage, payload)
    match message.WhichOneof("completion"):
        case "completion_value":
            outcome = Success(message.completion_value.content)
        case "completion_failure":
            outcome = read_failure(message.completion_failure)
        case _:
            raise MalformedMessage("a completion of a promise without a result")
    return CompletePromise(message.key, outcome, message.result_completion_id)


def _sleep(payload: bytes) -> Sleep:
    message = parse(pb.SleepCommandMessage, payload)
    return Sleep(message.wake_up_time, message.result_completion_id)


def _call(payload: bytes) -> Call:
    message = parse(pb.CallCommandMessage, payload)
    return _any_call(message, message.result_completion_id, None)


def _one_way_call(payload: bytes) -> Call:
    message = parse(pb.OneWayCallCommandMessage, payload)
    return _any_call(message, None, message.invoke_time or None)


def _any_call(
    message: pb.CallCommandMessage | pb.OneWayCallCommandMessage,
    completion: int | None,
    start_at_ms: int | None,
) -> Call:
    _refuse_scope(message.scope, message.limit_key)
    return Call(
        service=message.service_name,
        handler=message.handler_name,
        key=message.key,
        argument=message.parameter,
        headers=read_headers(message.headers),
        idempotency_key=message.idempotency_key or None,
        id_completion=message.invocation_id_notification_idx,
        completion=completion,
        start_at_ms=start_at_ms,
    )


def _send_signal(payload: bytes) -> SendSignal:
    message = parse(pb.SendSignalCommandMessage, payload)
    signal: SignalIndex | SignalName
    match message.WhichOneof("signal_id"):
        case "idx":
            signal = SignalIndex(message.idx)
        case "name":
            signal = SignalName(message.name)
        case _:
            raise MalformedMessage("a signal without a number or name")
    return SendSignal(
        read_invocation(message.target_invocation_id), signal, _signal_outcome(message)
    )


def _signal_outcome(message: pb.SendSignalCommandMessage) -> Outcome | None:
    match message.WhichOneof("result"):
        case "value":
            return Success(message.value.content)
        case "failure":
            return read_failure(message.failure)
        case _:
            return None


def _complete_awakeable(payload: bytes) -> SendSignal:
    message = parse(pb.CompleteAwakeableCommandMessage, payload)
    invocation, signal = parse_awakeable_id(message.awakeable_id)
    match message.WhichOneof("result"):
        case "value":
            outcome = Success(message.value.content)
        case "failure":
            outcome = read_failure(message.failure)
        case _:
            raise MalformedMessage("a completion of an awakeable without a result")
    return SendSignal(invocation, SignalIndex(signal), outcome)


def _attach(payload: bytes) -> Attach:
    message = parse(pb.AttachInvocationCommandMessage, payload)
    return Attach(_other(message), message.result_completion_id, wait=True)


def _get_output(payload: bytes) -> Attach:
    message = parse(pb.GetInvocationOutputCommandMessage, payload)
    return Attach(_other(message), message.result_completion_id, wait=False)


def _other(
    message: pb.AttachInvocationCommandMessage | pb.GetInvocationOutputCommandMessage,
) -> OtherInvocation:
    match message.WhichOneof("target"):
        case "invocation_id":
            return read_invocation(message.invocation_id)
        case "workflow_target":
            return _workflow(message.workflow_target)
        case "idempotent_request_target":
            return _idempotent(message.idempotent_request_target)
        case _:
            raise MalformedMessage("no invocation to attach to")


def _workflow(target: pb.WorkflowTarget) -> WorkflowTarget:
    _refuse_scope(target.scope)
    return WorkflowTarget(target.workflow_name, target.workflow_key)


def _idempotent(target: pb.IdempotentRequestTarget) -> IdempotentTarget:
    _refuse_scope(target.scope)
    key = target.service_key if target.HasField("service_key") else None
    return IdempotentTarget(target.service_name, key, target.handler_name, target.idempotency_key)


def _state_name(key: bytes) -> str:
    return utf8(key, "a name of state")


def _refuse_scope(*values: str) -> None:
    if any(values):
        raise MalformedMessage("scopes and limit keys are not supported: call without them")


_NOTHING = Nothing()
_READERS: dict[int, Callable[[bytes], Meaning]] = {
    MessageType.OUTPUT_COMMAND: _output,
    MessageType.GET_LAZY_STATE_COMMAND: _get_state,
    MessageType.SET_STATE_COMMAND: _set_state,
    MessageType.CLEAR_STATE_COMMAND: _clear_state,
    MessageType.CLEAR_ALL_STATE_COMMAND: _clear_all_state,
    MessageType.GET_LAZY_STATE_KEYS_COMMAND: _get_state_keys,
    MessageType.GET_PROMISE_COMMAND: _get_promise,
    MessageType.PEEK_PROMISE_COMMAND: _peek_promise,
    MessageType.COMPLETE_PROMISE_COMMAND: _complete_promise,
    MessageType.SLEEP_COMMAND: _sleep,
    MessageType.CALL_COMMAND: _call,
    MessageType.ONE_WAY_CALL_COMMAND: _one_way_call,
    MessageType.SEND_SIGNAL_COMMAND: _send_signal,
    MessageType.ATTACH_INVOCATION_COMMAND: _attach,
    MessageType.GET_INVOCATION_OUTPUT_COMMAND: _get_output,
    MessageType.COMPLETE_AWAKEABLE_COMMAND: _complete_awakeable,
}
