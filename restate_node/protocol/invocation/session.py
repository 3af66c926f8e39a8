"""One attempt to run a handler: the conversation with the SDK, without the connection.

    runtime ─ Start, journal ─▶ SDK            opening()
            ◀─ commands, run results ─         receive() ─▶ Proposed ─▶ log ─▶ stored
            ─ notifications, acks ─▶           notify(), acknowledge()
            ◀─ End | Suspension | Error ─      receive() ─▶ Ended | Suspended | Failed

What the SDK proposes is not in the journal before it is stored: the driver writes it to the log of
the partition, and calls `notify` or `acknowledge` when it comes back. Notifications are sent in the
order of those calls, which is the order of the journal, as the SDK will see it again in a replay.

Invariants: nothing is sent after `finish`, nor to an SDK that takes a request and then responds;
the first End, Suspension, Error or violation is the last event, whatever bytes follow; what was
proposed before it in the same bytes is an event before it.

Driven by the invoker of a partition's leader. The bytes are those of `wire.service_control`, which
is given as the `codec`: protocol and wire do not know each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from restate_node.protocol.invocation.awaiting import is_hopeless
from restate_node.types.attempts import (
    ATTEMPT_FAILED,
    PROTOCOL_VERSION_MAX,
    PROTOCOL_VERSION_MIN,
    PROTOCOL_VIOLATION,
    AttemptFailure,
    ErrorCode,
    MalformedMessage,
    MessageTooLarge,
    ServiceFrame,
    SessionBegin,
)
from restate_node.types.journal import FIRST_CUSTOM, AwaitPoint, Entry, MessageType, is_command


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Bounds of one conversation."""

    message_bytes_max: int = 32 << 20
    """Larger messages of an SDK end the attempt."""
    chunk_bytes: int = 64 << 10
    """The opening is cut into pieces of about this size; larger entries are pieces of their own."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """Entries for the journal, in order. `acknowledge` are the indexes of those commands whose
    storing the SDK wants to hear of (versions 5 and 6).
    """

    entries: list[Entry]
    acknowledge: list[int]


@dataclass(frozen=True, slots=True)
class Awaiting:
    """A hint: the handler waits for this now (version 7)."""

    point: AwaitPoint


@dataclass(frozen=True, slots=True)
class Suspended:
    """The attempt is over; the next one begins when the await point can go on."""

    point: AwaitPoint


@dataclass(frozen=True, slots=True)
class Ended:
    """The handler is through; how it ended is in the Output command."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The attempt is over."""

    failure: AttemptFailure


SessionEvent: TypeAlias = Proposed | Awaiting | Suspended | Ended | Failed


class FrameReader(Protocol):
    """Takes pieces of a stream, gives the frames that they complete."""

    def receive(self, data: bytes) -> Iterator[ServiceFrame]: ...

    @property
    def is_between_frames(self) -> bool: ...


class ServiceCodec(Protocol):
    """Frames and control messages as bytes. Reading raises MalformedMessage."""

    def frame_reader(self, message_bytes_max: int) -> FrameReader: ...

    def start_frame(self, begin: SessionBegin) -> bytes: ...

    def entry_head(self, entry: Entry) -> bytes:
        """All of an entry's frame but its payload."""
        ...

    def command_ack_frame(self, command_index: int) -> bytes: ...

    def run_ack_frame(self, completion: int) -> bytes: ...

    def wants_ack(self, frame: ServiceFrame) -> bool: ...

    def read_error(self, payload: bytes) -> AttemptFailure: ...

    def read_suspension(self, payload: bytes) -> AwaitPoint: ...

    def read_awaiting_on(self, payload: bytes) -> AwaitPoint: ...

    def read_run_proposal(self, payload: bytes) -> tuple[int, Entry]:
        """The completion id, and the notification that is to be stored."""
        ...

    def check_command(self, entry: Entry) -> None: ...

    def completion_of(self, notification: Entry) -> int: ...


class _Phase(Enum):
    """What may happen yet."""

    NEW = "new"
    OPEN = "open"
    """Both sides may send."""
    LISTENING = "listening"
    """The SDK may send."""
    OVER = "over"


class Session:
    """One attempt; made for it, thrown away after it."""

    def __init__(
        self, begin: SessionBegin, codec: ServiceCodec, options: SessionOptions | None = None
    ) -> None:
        version = begin.protocol_version
        assert PROTOCOL_VERSION_MIN <= version <= PROTOCOL_VERSION_MAX, f"version {version}"
        self._begin = begin
        self._codec = codec
        self._options = options or SessionOptions()
        self._reader = codec.frame_reader(self._options.message_bytes_max)
        self._phase = _Phase.NEW
        self._commands = sum(is_command(entry.kind) for entry in begin.journal)
        self._runs_to_acknowledge: set[int] = set()

    @property
    def is_over(self) -> bool:
        """The last event was given out."""
        return self._phase is _Phase.OVER

    @property
    def may_send(self) -> bool:
        """`notify` and `acknowledge` still reach the SDK."""
        return self._phase is _Phase.OPEN

    def opening(self) -> list[bytes]:
        """Start and journal, once, to be sent in this order. After it an SDK that is not
        bidirectional gets nothing more: the driver ends its request.
        """
        assert self._phase is _Phase.NEW, "a session opens once"
        self._phase = _Phase.OPEN if self._begin.is_bidirectional else _Phase.LISTENING
        return list(_chunks(self._opening_pieces(), self._options.chunk_bytes))

    def receive(self, data: bytes) -> list[SessionEvent]:
        """Bytes of the SDK; at most one Proposed, then at most one other event."""
        assert self._phase is not _Phase.NEW, "an SDK does not speak first"
        if self.is_over:
            return []
        batch = _Batch()
        try:
            for frame in self._reader.receive(data):
                self._take(frame, batch)
                if self.is_over:
                    break
        except MalformedMessage as error:
            batch.last = self._end(Failed(violation(error)))
        return batch.events()

    def stream_ended(self) -> list[SessionEvent]:
        """The SDK's stream is at its end, or broken."""
        if self.is_over:
            return []
        where = "" if self._reader.is_between_frames else ", within a message"
        return [
            self._end(
                Failed(
                    AttemptFailure(
                        ATTEMPT_FAILED, _CUT_SHORT + where, error_code=ErrorCode.UNREACHABLE
                    )
                )
            )
        ]

    def notify(self, entry: Entry) -> bytes:
        """What to send for a notification that is stored now; empty when it can no longer be sent:
        then it is part of the next attempt's journal.
        """
        if not self.may_send:
            return b""
        if entry.kind == MessageType.RUN_COMPLETION and self._runs_to_acknowledge:
            completion = self._codec.completion_of(entry)
            if completion in self._runs_to_acknowledge:
                self._runs_to_acknowledge.remove(completion)
                return self._codec.run_ack_frame(completion)
        return self._codec.entry_head(entry) + entry.payload

    def acknowledge(self, command_index: int) -> bytes:
        """What to send for a command that is stored now and was to be acknowledged."""
        return self._codec.command_ack_frame(command_index) if self.may_send else b""

    def finish(self) -> None:
        """Nothing more will be sent: an SDK that waits suspends when its request has ended."""
        assert self._phase is not _Phase.NEW, "nothing was sent yet"
        if self._phase is _Phase.OPEN:
            self._phase = _Phase.LISTENING

    def _opening_pieces(self) -> Iterator[bytes]:
        yield self._codec.start_frame(self._begin)
        for entry in self._begin.journal:
            yield self._codec.entry_head(entry)
            yield entry.payload

    def _take(self, frame: ServiceFrame, batch: _Batch) -> None:
        kind, _, payload = frame
        if is_command(kind):
            self._take_command(frame, batch)
        elif kind == MessageType.PROPOSE_RUN_COMPLETION:
            self._take_run_proposal(frame, batch)
        elif kind == MessageType.AWAITING_ON and self._begin.protocol_version >= _AWAITING_SINCE:
            batch.last = Awaiting(self._codec.read_awaiting_on(payload))
        elif kind == MessageType.SUSPENSION:
            batch.last = self._end(Suspended(self._suspension(payload)))
        elif kind == MessageType.ERROR:
            batch.last = self._end(Failed(self._codec.read_error(payload)))
        elif kind == MessageType.END:
            batch.last = self._end(Ended())
        else:
            raise MalformedMessage(f"an SDK does not send messages of type {kind:#06x}")

    def _take_command(self, frame: ServiceFrame, batch: _Batch) -> None:
        kind, _, payload = frame
        if kind < FIRST_CUSTOM and kind not in _SDK_COMMANDS:
            raise MalformedMessage(f"an SDK does not send commands of type {kind:#06x}")
        entry = Entry(kind, payload)
        self._codec.check_command(entry)
        if self._begin.protocol_version < _RUN_ACK_SINCE and self._codec.wants_ack(frame):
            batch.acknowledge.append(self._commands)
        self._commands += 1
        batch.add(entry)

    def _take_run_proposal(self, frame: ServiceFrame, batch: _Batch) -> None:
        completion, entry = self._codec.read_run_proposal(frame.payload)
        if self._begin.protocol_version >= _RUN_ACK_SINCE and self._codec.wants_ack(frame):
            self._runs_to_acknowledge.add(completion)
        batch.add(entry)

    def _suspension(self, payload: bytes) -> AwaitPoint:
        point = self._codec.read_suspension(payload)
        if is_hopeless(point):
            raise MalformedMessage("a suspension that waits for nothing")
        return point

    def _end(self, event: SessionEvent) -> SessionEvent:
        self._phase = _Phase.OVER
        return event


_RUN_ACK_SINCE = 7
_AWAITING_SINCE = 7
_SDK_COMMANDS = frozenset(
    kind for kind in MessageType if is_command(kind) and kind is not MessageType.INPUT_COMMAND
)
_CUT_SHORT = "the service closed its stream before the handler ended, suspended or failed"


def violation(error: MalformedMessage) -> AttemptFailure:
    """What an operator reads of bytes that an SDK should not have sent."""
    is_size = isinstance(error, MessageTooLarge)
    code = ErrorCode.MESSAGE_TOO_LARGE if is_size else ErrorCode.PROTOCOL_VIOLATION
    return AttemptFailure(PROTOCOL_VIOLATION, f"protocol violation: {error}", error_code=code)


class _Batch:
    """What one piece of the SDK's stream comes to."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self.acknowledge: list[int] = []
        self.last: SessionEvent | None = None

    def add(self, entry: Entry) -> None:
        """A hint from before it is out of date."""
        self._entries.append(entry)
        self.last = None

    def events(self) -> list[SessionEvent]:
        events: list[SessionEvent] = []
        if self._entries:
            events.append(Proposed(self._entries, self.acknowledge))
        if self.last is not None:
            events.append(self.last)
        return events


def _chunks(pieces: Iterator[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """Joins small pieces, so that a journal is few writes; passes large ones on as they are."""
    waiting, size = list[bytes](), 0
    for piece in pieces:
        if waiting and size + len(piece) > chunk_bytes:
            yield b"".join(waiting)
            waiting, size = list[bytes](), 0
        waiting.append(piece)
        size += len(piece)
    if waiting:
        yield b"".join(waiting)
