"""The other side of an attempt, as small as it can be: replays a journal, then goes on.

A handler is an async function of a `Conversation`. What it does it writes as commands; what it
waits for it takes from the journal, or from what is sent while it runs; when the server closes its
side while it waits, it suspends. Written against the protocol's text, not against the server.

It trusts nobody: a journal that is not what the handler wrote, a notification that comes twice, are
told to `on_broken` of `served`, and the attempt fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from google.protobuf.message import Message

from restate_node.sim.services import CallerGone, Service, ServiceCall
from restate_node.types.invocations import Outcome, RawInvocationId, Success
from restate_node.types.journal import (
    CompletionId,
    Entry,
    MessageType,
    NotificationId,
    SignalIndex,
    SignalName,
    is_notification,
)
from restate_node.wire import journal_codec
from restate_node.wire.awakeable_ids import awakeable_id
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_frames import FrameDecoder, encode_frame

VERSION: Final = 6
CANCEL: Final = SignalIndex(1)
FIRST_AWAKEABLE: Final = 17
CHANGING: Final = (MessageType.SLEEP_COMMAND, MessageType.GET_EAGER_STATE_COMMAND)
"""What they say depends on when they are written: the journal's word counts."""


class Suspends(Exception):
    """The handler waits, and the server has closed its side."""


class Cancelled(Exception):
    """The signal to stop has come."""


class Broken(Exception):
    """The server sent what it must not."""


class Conversation:
    """One attempt, seen from the handler."""

    def __init__(self, call: ServiceCall) -> None:
        self._call = call
        self._decoder = FrameDecoder(1 << 20)
        self._replay: deque[Entry] = deque()
        self._known: dict[NotificationId, Outcome | None] = {}
        self._completions = 0
        self._awakeables = 0
        self._ended = False
        self._id = b""
        self.invocation = ""
        self.key = ""
        self.argument = b""
        self.state: dict[str, bytes] = {}

    async def begin(self) -> None:
        """Read Start and the journal."""
        frames: list[Entry] = []
        known: int | None = None
        while known is None or len(frames) < known + 1:
            data = await self._call.receive()
            if not data:
                raise CallerGone("the journal was cut")
            frames += [Entry(f.kind, f.payload) for f in self._decoder.receive(data)]
            if known is None and frames:
                start = pb.StartMessage.FromString(frames[0].payload)
                known = start.known_entries
                self._id, self.invocation, self.key = start.id, start.debug_id, start.key
                self.state = {e.key.decode(): e.value for e in start.state_map}
        for entry in frames[1:]:
            self._take(entry)
        self.argument, _ = journal_codec.argument(self._replay.popleft())
        content_type = f"application/vnd.restate.invocation.v{VERSION}"
        self._call.start(200, (("content-type", content_type), ("x-restate-server", "tiny-sdk")))

    @property
    def is_replaying(self) -> bool:
        return bool(self._replay)

    def command(self, kind: MessageType, message: Message) -> bytes:
        """Write a command, unless the journal has it; the payload that is in the journal."""
        payload = message.SerializeToString()
        if not self._replay:
            self._call.send(encode_frame(kind, payload))
            return payload
        replayed = self._replay.popleft()
        if replayed.kind != kind or (kind not in CHANGING and replayed.payload != payload):
            raise Broken(
                f"the journal has {replayed.kind:#06x} {replayed.payload!r} where the handler "
                f"wrote {kind.name} {payload!r}"
            )
        return replayed.payload

    def next_completion(self) -> int:
        self._completions += 1
        return self._completions

    async def result(self, identity: NotificationId) -> Outcome | None:
        """Wait for a notification; raises Suspends, Cancelled, CallerGone."""
        while identity not in self._known:
            if CANCEL in self._known:
                raise Cancelled
            if self._ended:
                raise Suspends(identity)
            data = await self._call.receive()
            self._ended = not data
            for frame in self._decoder.receive(data):
                self._take(Entry(frame.kind, frame.payload))
        return self._known[identity]

    # ------------------------------------------------------------ what handlers do

    async def run(self, work: Callable[[], bytes]) -> bytes:
        """A side effect whose result is kept."""
        number = self.next_completion()
        message = pb.RunCommandMessage(result_completion_id=number, name="step")
        self.command(MessageType.RUN_COMMAND, message)
        if CompletionId(number) not in self._known:
            proposal = pb.ProposeRunCompletionMessage(result_completion_id=number, value=work())
            payload = proposal.SerializeToString()
            self._call.send(encode_frame(MessageType.PROPOSE_RUN_COMPLETION, payload))
        outcome = await self.result(CompletionId(number))
        assert isinstance(outcome, Success)
        return outcome.value

    async def sleep(self, until_ms: int) -> int:
        """Until then; a replayed sleep ends when it was to end at first, which is returned."""
        number = self.next_completion()
        message = pb.SleepCommandMessage(wake_up_time=until_ms, result_completion_id=number)
        written = self.command(MessageType.SLEEP_COMMAND, message)
        await self.result(CompletionId(number))
        return pb.SleepCommandMessage.FromString(written).wake_up_time

    async def call(self, service: str, handler: str, key: str, argument: bytes) -> Outcome | None:
        identity, number = self.next_completion(), self.next_completion()
        message = pb.CallCommandMessage(
            service_name=service,
            handler_name=handler,
            key=key,
            parameter=argument,
            invocation_id_notification_idx=identity,
            result_completion_id=number,
        )
        self.command(MessageType.CALL_COMMAND, message)
        return await self.result(CompletionId(number))

    def send(self, service: str, handler: str, key: str, argument: bytes, at_ms: int = 0) -> None:
        """Call, and do not wait."""
        message = pb.OneWayCallCommandMessage(
            service_name=service,
            handler_name=handler,
            key=key,
            parameter=argument,
            invoke_time=at_ms,
            invocation_id_notification_idx=self.next_completion(),
        )
        self.command(MessageType.ONE_WAY_CALL_COMMAND, message)

    def awakeable(self) -> tuple[str, SignalIndex]:
        """An id to give away, and what to wait for."""
        number = FIRST_AWAKEABLE + self._awakeables
        self._awakeables += 1
        return awakeable_id(RawInvocationId(self._id), number), SignalIndex(number)

    def resolve(self, awakeable: str, value: bytes) -> None:
        message = pb.CompleteAwakeableCommandMessage(
            awakeable_id=awakeable, value=pb.Value(content=value)
        )
        self.command(MessageType.COMPLETE_AWAKEABLE_COMMAND, message)

    async def promise(self, name: str) -> Outcome | None:
        """Wait for it."""
        number = self.next_completion()
        message = pb.GetPromiseCommandMessage(key=name, result_completion_id=number)
        self.command(MessageType.GET_PROMISE_COMMAND, message)
        return await self.result(CompletionId(number))

    async def complete_promise(self, name: str, value: bytes) -> Outcome | None:
        """None if this was the first one to complete it."""
        number = self.next_completion()
        message = pb.CompletePromiseCommandMessage(
            key=name, completion_value=pb.Value(content=value), result_completion_id=number
        )
        self.command(MessageType.COMPLETE_PROMISE_COMMAND, message)
        return await self.result(CompletionId(number))

    def get(self, name: str) -> bytes | None:
        """State, as it was when the handler first asked."""
        message = pb.GetEagerStateCommandMessage(key=name.encode())
        value = self.state.get(name)
        if value is None:
            message.void.SetInParent()
        else:
            message.value.content = value
        written = self.command(MessageType.GET_EAGER_STATE_COMMAND, message)
        kept = pb.GetEagerStateCommandMessage.FromString(written)
        return kept.value.content if kept.HasField("value") else None

    def set(self, name: str, value: bytes) -> None:
        message = pb.SetStateCommandMessage(key=name.encode(), value=pb.Value(content=value))
        self.command(MessageType.SET_STATE_COMMAND, message)
        self.state[name] = value

    def end(self, value: bytes) -> None:
        message = pb.OutputCommandMessage(value=pb.Value(content=value))
        self.command(MessageType.OUTPUT_COMMAND, message)
        self._call.send(encode_frame(MessageType.END, b""))

    def end_cancelled(self) -> None:
        """Where the signal came in the journal, nobody knows: what was replayed stays."""
        message = pb.OutputCommandMessage(failure=pb.Failure(code=409, message="cancelled"))
        self.command(MessageType.OUTPUT_COMMAND, message)
        self._call.send(encode_frame(MessageType.END, b""))

    def suspend(self, identity: NotificationId) -> None:
        message = pb.SuspensionMessage(waiting_signals=[CANCEL.number])
        match identity:
            case CompletionId(number):
                message.waiting_completions.append(number)
            case SignalIndex(number):
                message.waiting_signals.append(number)
            case SignalName(name):
                message.waiting_named_signals.append(name)
        self._call.send(encode_frame(MessageType.SUSPENSION, message.SerializeToString()))

    def fail(self, text: str) -> None:
        message = pb.ErrorMessage(code=500, message=text)
        self._call.send(encode_frame(MessageType.ERROR, message.SerializeToString()))

    def _take(self, entry: Entry) -> None:
        if not is_notification(entry.kind):
            self._replay.append(entry)
            return
        identity = journal_codec.notification_id(entry)
        if identity in self._known:
            raise Broken(f"{identity} came twice")
        callee = journal_codec.invocation_id(entry)
        self._known[identity] = None if callee else journal_codec.outcome(entry)


Handler = Callable[[Conversation], Awaitable[bytes]]
OnBroken = Callable[[str, str], None]
"""Called with the invocation and what is wrong with its journal."""


def served(handlers: dict[str, Handler], on_broken: OnBroken | None = None) -> Service:
    """A service that answers `/invoke/<service>/<handler>` by the handlers of these paths."""

    async def service(call: ServiceCall) -> None:
        conversation = Conversation(call)
        handler = handlers[call.head.path.removeprefix("/invoke/")]
        try:
            await conversation.begin()
            conversation.end(await handler(conversation))
        except Suspends as waits:
            conversation.suspend(waits.args[0])
        except Cancelled:
            conversation.end_cancelled()
        except Broken as broken:
            if on_broken is None:
                raise
            on_broken(conversation.invocation, str(broken))
            conversation.fail(str(broken))
        except RuntimeError as error:
            conversation.fail(str(error))

    return service
