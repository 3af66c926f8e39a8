"""The other side of an attempt, as small as it can be: replays a journal, then goes on.

A handler is an async function of a `Conversation`. What it does it writes as commands; what it
waits for it takes from the journal, or from what is sent while it runs; when the server closes its
side while it waits, it suspends. Written against the protocol's text, not against the server.

    5, 6   what is written may be acknowledged; a suspension is a list
    7      the result of a side effect is acknowledged instead of told; what a handler waits for is
           a tree, told while it runs, too

The signal to stop counts where it stands in the journal: who waits for something that came later,
or did not come, is stopped, in every attempt at the same place. After that a handler may tidy up.

It trusts nobody: a journal that is not what the handler wrote, a notification that comes twice, are
told to `on_broken` of `served`, and the attempt fails.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from google.protobuf.message import Message

from restate_node.sim.services import CallerGone, Service, ServiceCall
from restate_node.types.invocations import Outcome, RawInvocationId, Success, id_text
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
from restate_node.wire import journal_codec
from restate_node.wire.awakeable_ids import awakeable_id
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_frames import REQUESTED_ACK, FrameDecoder, encode_frame

CONTENT_TYPE: Final = "application/vnd.restate.invocation.v"
VERSIONS: Final = (5, 6, 7)
CANCEL: Final = SignalIndex(1)
FIRST_AWAKEABLE: Final = 17
CHANGING: Final = (
    MessageType.SLEEP_COMMAND,
    MessageType.GET_EAGER_STATE_COMMAND,
    MessageType.GET_EAGER_STATE_KEYS_COMMAND,
)
"""What they say depends on when they are written: the journal's word counts."""


class Suspends(Exception):
    """The handler waits, for all of these, and the server has closed its side."""

    def __init__(self, *awaited: NotificationId) -> None:
        super().__init__(*awaited)
        self.awaited = awaited


class Cancelled(Exception):
    """The signal to stop has come."""


class Stumbles(RuntimeError):
    """The attempt fails, by no fault of the server's. `pauses`: an operator shall look at it, where
    a handler can ask for that (version 7)."""

    def __init__(self, text: str, *, pauses: bool = False) -> None:
        super().__init__(text)
        self.pauses = pauses


class Broken(Exception):
    """The server sent what it must not."""


class Conversation:
    """One attempt, seen from the handler."""

    def __init__(self, call: ServiceCall) -> None:
        self._call = call
        self._decoder = FrameDecoder(1 << 20)
        self._replay: deque[Entry] = deque()
        self._known: dict[NotificationId, Outcome | None] = {}
        self._proposed: dict[int, bytes] = {}
        """Results of side effects that the server has not acknowledged."""
        self._queues: dict[str, deque[Outcome | None]] = {}
        """Signals with a name that nobody has taken yet; the first of each is `_known`."""
        self._callees: dict[CompletionId, str] = {}
        self._keys: dict[CompletionId, list[str]] = {}
        self._acks_due: set[int] = set()
        self._commands = 1
        """The argument is the first."""
        self._completions = 0
        self._awakeables = 0
        self._ended = False
        self._is_cancelled = False
        self._told_wait: tuple[NotificationId, ...] = ()
        self._has_all_state = True
        self._absent: set[str] = set()
        self._id = b""
        self.version = 0
        self.seed = 0
        self.invocation = ""
        self.idempotency_key: str | None = None
        self.key = ""
        self.argument = b""
        self.state: dict[str, bytes] = {}

    async def begin(self) -> None:
        """Read Start and the journal."""
        self.version = self._negotiated()
        frames: list[Entry] = []
        known: int | None = None
        while known is None or len(frames) < known + 1:
            data = await self._call.receive()
            if not data:
                raise CallerGone("the journal was cut")
            frames += [Entry(f.kind, f.payload) for f in self._decoder.receive(data)]
            if known is None and frames:
                known = self._started(pb.StartMessage.FromString(frames[0].payload))
        self._replay.extend(entry for entry in frames[1 : known + 1] if is_command(entry.kind))
        for entry in frames[1:]:
            if not is_command(entry.kind):
                self._take(entry)
        self.argument, _ = journal_codec.argument(self._replay.popleft())
        content_type = f"{CONTENT_TYPE}{self.version}"
        self._call.start(200, (("content-type", content_type), ("x-restate-server", "tiny-sdk")))

    @property
    def id(self) -> RawInvocationId:
        return RawInvocationId(self._id)

    def command(self, kind: MessageType, message: Message, *, wants_ack: bool = False) -> bytes:
        """Write a command, unless the journal has it; the payload that is in the journal."""
        payload = message.SerializeToString()
        self._commands += 1
        if not self._replay:
            flags = REQUESTED_ACK if wants_ack and self.version < 7 else 0
            if flags:
                self._acks_due.add(self._commands - 1)
            self._call.send(encode_frame(kind, payload, flags))
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
        return (await self.results(identity))[0]

    async def results(self, *awaited: NotificationId) -> list[Outcome | None]:
        """Wait for all of them; raises as `result` does."""
        while True:
            if self._is_stopped(awaited):
                self._is_cancelled = True
                raise Cancelled
            missing = tuple(identity for identity in awaited if identity not in self._known)
            if not missing:
                return [self._known[identity] for identity in awaited]
            if self._ended:
                raise Suspends(*missing)
            self._tell_wait(missing)
            data = await self._call.receive()
            self._ended = not data
            for frame in self._decoder.receive(data):
                self._take(Entry(frame.kind, frame.payload))

    # ------------------------------------------------------------ what handlers do

    async def run(self, work: Callable[[], bytes]) -> bytes:
        """A side effect whose result is kept."""
        number = self.next_completion()
        message = pb.RunCommandMessage(result_completion_id=number, name="step")
        self.command(MessageType.RUN_COMMAND, message)
        if CompletionId(number) not in self._known:
            value = work()
            proposal = pb.ProposeRunCompletionMessage(result_completion_id=number, value=value)
            payload, flags = proposal.SerializeToString(), 0
            if self.version >= 7:
                self._proposed[number], flags = value, REQUESTED_ACK
            self._call.send(encode_frame(MessageType.PROPOSE_RUN_COMPLETION, payload, flags))
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
        """Who is stopped while it waits, stops whom it has called."""
        identity, completion = self.begin_call(service, handler, key, argument)
        try:
            return await self.result(completion)
        except Cancelled:
            self.cancel(await self.callee(identity))
            raise

    def begin_call(
        self, service: str, handler: str, key: str, argument: bytes
    ) -> tuple[CompletionId, CompletionId]:
        """Call; what will tell the callee's id, and how it ended."""
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
        return CompletionId(identity), CompletionId(number)

    def send(
        self,
        service: str,
        handler: str,
        key: str,
        argument: bytes,
        at_ms: int = 0,
        idempotency_key: str | None = None,
    ) -> CompletionId:
        """Call, and do not wait; what will tell the callee's id."""
        identity = self.next_completion()
        message = pb.OneWayCallCommandMessage(
            service_name=service,
            handler_name=handler,
            key=key,
            parameter=argument,
            invoke_time=at_ms,
            invocation_id_notification_idx=identity,
            idempotency_key=idempotency_key,
        )
        self.command(MessageType.ONE_WAY_CALL_COMMAND, message)
        return CompletionId(identity)

    async def callee(self, identity: CompletionId) -> str:
        """The id of whom it called."""
        await self.result(identity)
        return self._callees[identity]

    async def attach(self, other: pb.AttachInvocationCommandMessage) -> Outcome | None:
        """How another invocation ends; `other` names its target."""
        other.result_completion_id = self.next_completion()
        self.command(MessageType.ATTACH_INVOCATION_COMMAND, other)
        return await self.result(CompletionId(other.result_completion_id))

    async def output(self, invocation: str) -> Outcome | None:
        """How another invocation ended; None if it has not."""
        number = self.next_completion()
        message = pb.GetInvocationOutputCommandMessage(
            invocation_id=invocation, result_completion_id=number
        )
        self.command(MessageType.GET_INVOCATION_OUTPUT_COMMAND, message)
        return await self.result(CompletionId(number))

    def cancel(self, invocation: str) -> None:
        """Another invocation shall stop."""
        message = pb.SendSignalCommandMessage(target_invocation_id=invocation, idx=CANCEL.number)
        message.void.SetInParent()
        self.command(MessageType.SEND_SIGNAL_COMMAND, message)

    def send_signal(self, invocation: str, name: str, value: bytes) -> None:
        """What another invocation may wait for."""
        message = pb.SendSignalCommandMessage(
            target_invocation_id=invocation, name=name, value=pb.Value(content=value)
        )
        self.command(MessageType.SEND_SIGNAL_COMMAND, message)

    async def signal(self, name: str) -> Outcome | None:
        """Wait for the next one of that name."""
        identity = SignalName(name)
        outcome = await self.result(identity)
        queue = self._queues[name]
        queue.popleft()
        if queue:
            self._known[identity] = queue[0]
        else:
            del self._known[identity]
        return outcome

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

    async def get(self, name: str) -> bytes | None:
        """State, as it was when the handler first asked."""
        is_known = self._has_all_state or name in self.state or name in self._absent
        if self._is_lazy(MessageType.GET_LAZY_STATE_COMMAND, is_known=is_known):
            return await self._fetch(name)
        message = pb.GetEagerStateCommandMessage(key=name.encode())
        value = self.state.get(name)
        if value is None:
            message.void.SetInParent()
        else:
            message.value.content = value
        written = self.command(MessageType.GET_EAGER_STATE_COMMAND, message)
        kept = pb.GetEagerStateCommandMessage.FromString(written)
        return kept.value.content if kept.HasField("value") else None

    async def keys(self) -> list[str]:
        """Names of state, as it was when the handler first asked."""
        kind = MessageType.GET_LAZY_STATE_KEYS_COMMAND
        if self._is_lazy(kind, is_known=self._has_all_state):
            number = self.next_completion()
            self.command(kind, pb.GetLazyStateKeysCommandMessage(result_completion_id=number))
            await self.result(CompletionId(number))
            return self._keys[CompletionId(number)]
        names = pb.StateKeys(keys=sorted(name.encode() for name in self.state))
        message = pb.GetEagerStateKeysCommandMessage(value=names)
        written = self.command(MessageType.GET_EAGER_STATE_KEYS_COMMAND, message)
        kept = pb.GetEagerStateKeysCommandMessage.FromString(written)
        return sorted(name.decode() for name in kept.value.keys)

    def set(self, name: str, value: bytes) -> None:
        message = pb.SetStateCommandMessage(key=name.encode(), value=pb.Value(content=value))
        self.command(MessageType.SET_STATE_COMMAND, message, wants_ack=True)
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

    def suspend(self, awaited: tuple[NotificationId, ...]) -> None:
        if self.version >= 7:
            message = pb.SuspensionMessage(awaiting_on=self._point(awaited))
        else:
            message = pb.SuspensionMessage(waiting_signals=self._stop_signals())
            _fill(message, awaited)
        self._call.send(encode_frame(MessageType.SUSPENSION, message.SerializeToString()))

    def fail(self, text: str, *, pauses: bool = False) -> None:
        message = pb.ErrorMessage(code=500, message=text)
        if pauses and self.version >= 7:
            message.behavior = pb.PAUSE
        self._call.send(encode_frame(MessageType.ERROR, message.SerializeToString()))

    # ------------------------------------------------------------ inside

    def _negotiated(self) -> int:
        headers = dict(self._call.head.headers)
        content_type = headers["content-type"]
        version = int(content_type.removeprefix(CONTENT_TYPE))
        if version not in VERSIONS:
            raise Broken(f"nobody offered {content_type}")
        return version

    def _started(self, start: pb.StartMessage) -> int:
        """How many entries follow."""
        self._id, self.invocation, self.key = start.id, start.debug_id, start.key
        self.seed = start.random_seed
        self.state = {e.key.decode(): e.value for e in start.state_map}
        self._has_all_state = not start.partial_state
        if start.HasField("idempotency_key"):
            self.idempotency_key = start.idempotency_key
        if (self.seed and self.version < 6) or (self.idempotency_key and self.version < 7):
            raise Broken(f"version {self.version} knows no such field: {start}")
        return start.known_entries

    def _is_stopped(self, awaited: tuple[NotificationId, ...]) -> bool:
        """Whether the signal to stop comes before what is awaited; once."""
        if self._is_cancelled or CANCEL not in self._known:
            return False
        order = list(self._known)
        before = order[: order.index(CANCEL)]
        return any(identity not in before for identity in awaited)

    def _tell_wait(self, missing: tuple[NotificationId, ...]) -> None:
        if self.version >= 7 and missing != self._told_wait:
            self._told_wait = missing
            message = pb.AwaitingOnMessage(awaiting_on=self._point(missing))
            self._call.send(encode_frame(MessageType.AWAITING_ON, message.SerializeToString()))

    def _point(self, awaited: tuple[NotificationId, ...]) -> pb.Future:
        """All of these, or the signal to stop."""
        stop = self._stop_signals()
        everything = pb.Future(combinator_type=pb.ALL_COMPLETED)
        _fill(everything, awaited)
        if not stop:
            return everything
        return pb.Future(
            waiting_signals=stop,
            nested_futures=[everything],
            combinator_type=pb.FIRST_COMPLETED,
        )

    def _stop_signals(self) -> list[int]:
        return [] if CANCEL in self._known else [CANCEL.number]

    def _is_lazy(self, kind: MessageType, *, is_known: bool) -> bool:
        """What the journal has counts: what an attempt is given along differs."""
        return self._replay[0].kind == kind if self._replay else not is_known

    async def _fetch(self, name: str) -> bytes | None:
        number = self.next_completion()
        message = pb.GetLazyStateCommandMessage(key=name.encode(), result_completion_id=number)
        self.command(MessageType.GET_LAZY_STATE_COMMAND, message)
        outcome = await self.result(CompletionId(number))
        if not isinstance(outcome, Success):
            self._absent.add(name)
            return None
        self.state[name] = outcome.value
        return outcome.value

    def _take(self, entry: Entry) -> None:
        """What comes behind the journal, and notifications in it."""
        if is_notification(entry.kind):
            self._notice(entry)
        elif entry.kind == MessageType.COMMAND_ACK:
            index = pb.CommandAckMessage.FromString(entry.payload).command_index
            if index not in self._acks_due:
                raise Broken(f"nobody asked for an acknowledgement of command {index}")
            self._acks_due.remove(index)
        elif entry.kind == MessageType.PROPOSE_RUN_COMPLETION_ACK:
            ack = pb.ProposeRunCompletionAckMessage.FromString(entry.payload)
            if ack.completion_id not in self._proposed:
                raise Broken(f"nobody proposed completion {ack.completion_id}")
            value = self._proposed.pop(ack.completion_id)
            self._learn(CompletionId(ack.completion_id), Success(value))
        else:
            raise Broken(f"a message of type {entry.kind:#06x} behind the journal")

    def _notice(self, entry: Entry) -> None:
        identity = journal_codec.notification_id(entry)
        callee = journal_codec.invocation_id(entry)
        self._learn(identity, None if callee else journal_codec.outcome(entry))
        if callee is not None and isinstance(identity, CompletionId):
            self._callees[identity] = id_text(RawInvocationId(callee))
        if entry.kind == MessageType.GET_LAZY_STATE_KEYS_COMPLETION:
            assert isinstance(identity, CompletionId)
            told = pb.NotificationTemplate.FromString(entry.payload).state_keys
            self._keys[identity] = sorted(name.decode() for name in told.keys)

    def _learn(self, identity: NotificationId, outcome: Outcome | None) -> None:
        if isinstance(identity, SignalName):
            self._queues.setdefault(identity.name, deque()).append(outcome)
        elif identity in self._known and identity != CANCEL:
            raise Broken(f"{identity} came twice")
        self._known.setdefault(identity, outcome)


def _fill(message: pb.SuspensionMessage | pb.Future, awaited: tuple[NotificationId, ...]) -> None:
    for identity in awaited:
        match identity:
            case CompletionId(number):
                message.waiting_completions.append(number)
            case SignalIndex(number):
                message.waiting_signals.append(number)
            case SignalName(name):
                message.waiting_named_signals.append(name)


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
            conversation.suspend(waits.awaited)
        except Cancelled:
            conversation.end_cancelled()
        except Broken as broken:
            if on_broken is None:
                raise
            on_broken(conversation.invocation, str(broken))
            conversation.fail(str(broken))
        except Stumbles as stumble:
            conversation.fail(str(stumble), pauses=stumble.pauses)
        except RuntimeError as error:
            conversation.fail(str(error))

    return service
