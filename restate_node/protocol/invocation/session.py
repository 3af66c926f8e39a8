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

from restate_node.types.attempts import (
    PROTOCOL_VERSION_MAX,
    PROTOCOL_VERSION_MIN,
    AttemptFailure,
    ServiceFrame,
    SessionBegin,
)
from restate_node.types.journal import AwaitPoint, Entry, is_command


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
