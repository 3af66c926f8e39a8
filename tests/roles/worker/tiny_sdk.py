"""The other side of an attempt, as small as it can be: replays a journal, then goes on.

A handler is an async function of a `Conversation`. What it does it writes as commands; what it
waits for it takes from the journal, or from what is sent while it runs; when the server closes its
side while it waits, it suspends. Written against the protocol's text, not against the server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

from restate_node.sim.services import Service, ServiceCall
from restate_node.types.invocations import Outcome, Success
from restate_node.types.journal import (
    AwaitPoint,
    CompletionId,
    Entry,
    MessageType,
    NotificationId,
    SignalIndex,
    is_notification,
)
from restate_node.wire import journal_codec
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_frames import FrameDecoder, encode_frame

VERSION = 6
CANCEL = SignalIndex(1)


class Suspends(Exception):
    """The handler waits, and the server has closed its side."""


class Cancelled(Exception):
    """The signal to stop has come."""


class Conversation:
    """One attempt, seen from the handler."""

    def __init__(self, call: ServiceCall) -> None:
        self._call = call
        self._decoder = FrameDecoder(1 << 20)
        self._replay: deque[Entry] = deque()
        self._known: dict[NotificationId, Outcome | None] = {}
        self._completions = 0
        self._ended = False
        self.argument = b""
        self.state: dict[str, bytes] = {}
        self.is_replaying = False

    async def begin(self) -> None:
        """Read Start and the journal."""
        frames: list[Entry] = []
        known: int | None = None
        while known is None or len(frames) < known + 1:
            data = await self._call.receive()
            assert data, "the journal was cut"
            frames += [Entry(f.kind, f.payload) for f in self._decoder.receive(data)]
            if known is None and frames:
                start = pb.StartMessage.FromString(frames[0].payload)
                known = start.known_entries
                self.state = {e.key.decode(): e.value for e in start.state_map}
        for entry in frames[1:]:
            self._take(entry)
        self.argument, _ = journal_codec.argument(self._replay.popleft())
        self.is_replaying = bool(self._replay)
        self._call.start(200, (("content-type", f"application/vnd.restate.invocation.v{VERSION}"),))

    def command(self, kind: MessageType, payload: bytes) -> bool:
        """Write a command, unless the journal has it; False when it was replayed."""
        if self._replay:
            replayed = self._replay.popleft()
            assert replayed.kind == kind, f"replay of {replayed.kind:#x} where {kind.name} is"
            self.is_replaying = bool(self._replay)
            return False
        self._call.send(encode_frame(kind, payload))
        return True

    def next_completion(self) -> int:
        self._completions += 1
        return self._completions

    async def result(self, identity: NotificationId) -> Outcome | None:
        """Wait for a notification; raises Suspends, Cancelled."""
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
        self.command(MessageType.RUN_COMMAND, message.SerializeToString())
        if CompletionId(number) not in self._known:
            proposal = pb.ProposeRunCompletionMessage(result_completion_id=number, value=work())
            payload = proposal.SerializeToString()
            self._call.send(encode_frame(MessageType.PROPOSE_RUN_COMPLETION, payload))
        outcome = await self.result(CompletionId(number))
        assert isinstance(outcome, Success)
        return outcome.value

    async def sleep(self, until_ms: int) -> None:
        number = self.next_completion()
        message = pb.SleepCommandMessage(wake_up_time=until_ms, result_completion_id=number)
        self.command(MessageType.SLEEP_COMMAND, message.SerializeToString())
        await self.result(CompletionId(number))

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
        self.command(MessageType.CALL_COMMAND, message.SerializeToString())
        return await self.result(CompletionId(number))

    def set(self, name: str, value: bytes) -> None:
        message = pb.SetStateCommandMessage(key=name.encode(), value=pb.Value(content=value))
        self.command(MessageType.SET_STATE_COMMAND, message.SerializeToString())

    def end(self, value: bytes) -> None:
        message = pb.OutputCommandMessage(value=pb.Value(content=value))
        self.command(MessageType.OUTPUT_COMMAND, message.SerializeToString())
        self._call.send(encode_frame(MessageType.END, b""))

    def suspend(self, identity: NotificationId) -> None:
        point = AwaitPoint((identity.number,) if isinstance(identity, CompletionId) else ())
        message = pb.SuspensionMessage(waiting_completions=point.completions, waiting_signals=[1])
        self._call.send(encode_frame(MessageType.SUSPENSION, message.SerializeToString()))

    def fail(self, text: str) -> None:
        message = pb.ErrorMessage(code=500, message=text)
        self._call.send(encode_frame(MessageType.ERROR, message.SerializeToString()))

    def _take(self, entry: Entry) -> None:
        if is_notification(entry.kind):
            identity = journal_codec.notification_id(entry)
            assert identity not in self._known, f"{identity} came twice"
            callee = journal_codec.invocation_id(entry)
            self._known[identity] = None if callee else journal_codec.outcome(entry)
        else:
            self._replay.append(entry)


Handler = Callable[[Conversation], Awaitable[bytes]]


def served(handlers: dict[str, Handler]) -> Service:
    """A service that answers `/invoke/<service>/<handler>` by the handlers of these paths."""

    async def service(call: ServiceCall) -> None:
        conversation = Conversation(call)
        handler = handlers[call.head.path.removeprefix("/invoke/")]
        await conversation.begin()
        try:
            conversation.end(await handler(conversation))
        except Suspends as waits:
            conversation.suspend(waits.args[0])
        except Cancelled:
            message = pb.OutputCommandMessage(failure=pb.Failure(code=409, message="cancelled"))
            payload = message.SerializeToString()
            conversation.command(MessageType.OUTPUT_COMMAND, payload)
            call.send(encode_frame(MessageType.END, b""))
        except RuntimeError as error:
            conversation.fail(str(error))

    return service
