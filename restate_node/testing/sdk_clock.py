"""Makes an SDK live in virtual time, although it asks the machine for the time of day.

An SDK turns "in thirty days" into a moment itself, by its own clock, and sends the moment: the
wrong one when the cluster's clock is elsewhere. On the way to the node the moments are put right:

    sleep(30 days) ─▶ noted: No. 3 ─▶ SDK: now + 3 steps ─▶ frame ─▶ virtual now + 30 days

The duration itself never meets the machine's clock, only its number does, in steps that are far
longer than anything takes. So runs of one seed have the same moments to the millisecond. What an
SDK sends that was not noted (one in another language, or a newer one) is moved by the difference of
the clocks, which is right to some milliseconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any, Final

from restate_node.sim.substitution import Substitution
from restate_node.types.attempts import ServiceFrame
from restate_node.types.journal import MessageType
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_frames import FrameDecoder, encode_frame
from restate_node.wire.service_values import parse

STEP_MS: Final = 10_000_000
"""Nearly three hours; a frame is never under way for half of it."""
MESSAGE_BYTES_MAX: Final = 64 * 1024 * 1024

_noted: ContextVar[list[int] | None] = ContextVar("durations of an attempt", default=None)
"""Of the attempt that runs; None outside of virtual time."""


def begin_attempt() -> list[int]:
    """What the code that is started from here notes; for its `FrameShift`."""
    durations: list[int] = []
    _noted.set(durations)
    return durations


class FrameShift:
    """Puts moments right in what one attempt sends."""

    def __init__(self, durations: list[int], virtual_ms: Callable[[], int]) -> None:
        self._durations = durations
        self._virtual_ms = virtual_ms
        self._decoder = FrameDecoder(MESSAGE_BYTES_MAX)

    def shift(self, data: bytes) -> bytes:
        """Bytes from the SDK; the frames that they complete."""
        return b"".join(self._frames(data))

    def _frames(self, data: bytes) -> Iterator[bytes]:
        for frame in self._decoder.receive(data):
            yield encode_frame(frame.kind, self._payload(frame), frame.flags)

    def _payload(self, frame: ServiceFrame) -> bytes:
        match frame.kind:
            case MessageType.SLEEP_COMMAND:
                sleep = parse(pb.SleepCommandMessage, frame.payload)
                sleep.wake_up_time = self._moment(sleep.wake_up_time)
                return sleep.SerializeToString()
            case MessageType.ONE_WAY_CALL_COMMAND:
                call = parse(pb.OneWayCallCommandMessage, frame.payload)
                if call.invoke_time:
                    call.invoke_time = self._moment(call.invoke_time)
                return call.SerializeToString()
            case _:
                return frame.payload

    def _moment(self, sent_ms: int) -> int:
        distance_ms = sent_ms - _machine_ms()
        number = round(distance_ms / STEP_MS)
        if 1 <= number <= len(self._durations):
            distance_ms = self._durations[number - 1]
        return max(1, self._virtual_ms() + distance_ms)


def substitutions(virtual_ms: Callable[[], int]) -> list[Substitution]:
    """For the SDK of Python, if it is loaded: note durations, tell handlers the virtual time."""
    machine = sys.modules.get("restate.vm")
    context = sys.modules.get("restate.server_context")
    if machine is None or context is None:
        return []
    wrapper: Any = getattr(machine, "VMWrapper", None)
    clock = _Clock(virtual_ms)
    return [
        Substitution(wrapper, "sys_sleep", _noting_sleep),
        Substitution(wrapper, "sys_send", _noting_send),
        Substitution(context, "time", lambda _: clock),
    ]


class _Clock:
    """Stands for the module `time` in the SDK's own code."""

    def __init__(self, virtual_ms: Callable[[], int]) -> None:
        self._virtual_ms = virtual_ms

    def time(self) -> float:
        return self._virtual_ms() / 1000

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


def _noting_sleep(inner: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(inner)
    def sys_sleep(self_: Any, millis: int, *arguments: Any, **named: Any) -> Any:
        return inner(self_, _note(millis), *arguments, **named)

    return sys_sleep


def _noting_send(inner: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(inner)
    def sys_send(*arguments: Any, **named: Any) -> Any:
        if named.get("delay"):
            named["delay"] = _note(named["delay"])
        return inner(*arguments, **named)

    return sys_send


def _note(duration_ms: int) -> int:
    """What to tell the SDK instead."""
    durations = _noted.get()
    if durations is None:
        return duration_ms
    durations.append(duration_ms)
    return len(durations) * STEP_MS


def _machine_ms() -> int:
    return time.time_ns() // 1_000_000
