"""Moments in what an SDK sends: exact when the duration was noted, near when it was not."""

from __future__ import annotations

import time

import pytest

from restate_node.testing.sdk_clock import STEP_MS, FrameShift
from restate_node.types.journal import MessageType
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_frames import FrameDecoder, encode_frame

VIRTUAL_MS = 1_000_000
MONTH_MS = 30 * 24 * 3600 * 1000


def sleep(distance_ms: int) -> bytes:
    """What an SDK sends for a moment that far from the machine's now."""
    moment = time.time_ns() // 1_000_000 + distance_ms
    message = pb.SleepCommandMessage(wake_up_time=moment, result_completion_id=1, name="x")
    return encode_frame(MessageType.SLEEP_COMMAND, message.SerializeToString(), 0x8000)


def wake_up_ms(data: bytes) -> int:
    """The moment in a frame, counted from the virtual now."""
    (frame,) = FrameDecoder(1024).receive(data)
    assert frame.flags == 0x8000
    message = pb.SleepCommandMessage.FromString(frame.payload)
    assert (message.result_completion_id, message.name) == (1, "x")
    return message.wake_up_time - VIRTUAL_MS


@pytest.mark.parametrize("late_ms", [-3_000, 0, 3_000])
def test_noted_durations_are_exact(late_ms: int) -> None:
    """Goal: the machine's clock has no part in it. How: the second of two, sent early and late."""
    shift = FrameShift([7, MONTH_MS], lambda: VIRTUAL_MS)
    assert wake_up_ms(shift.shift(sleep(2 * STEP_MS + late_ms))) == MONTH_MS


def test_others_are_near() -> None:
    """Goal: SDKs that are not known work too. How: a month that nobody noted."""
    shift = FrameShift([], lambda: VIRTUAL_MS)
    assert wake_up_ms(shift.shift(sleep(MONTH_MS))) == pytest.approx(MONTH_MS, abs=5_000)


def test_frames_in_pieces() -> None:
    """Goal: how bytes are cut does not matter. How: one byte at a time, other frames around."""
    shift = FrameShift([5], lambda: VIRTUAL_MS)
    end = encode_frame(MessageType.END, b"")
    sent = end + sleep(STEP_MS) + end
    pieces = [shift.shift(sent[n : n + 1]) for n in range(len(sent))]
    got = b"".join(pieces)
    assert got.startswith(end) and got.endswith(end)
    assert wake_up_ms(got[len(end) : -len(end)]) == 5


def test_calls_with_a_delay() -> None:
    """Goal: delayed calls as well, and calls without delay as they are. How: one of each."""
    shift = FrameShift([], lambda: VIRTUAL_MS)
    now_ms = time.time_ns() // 1_000_000
    for given, expected in ((0, 0), (now_ms + 60_000, VIRTUAL_MS + 60_000)):
        call = pb.OneWayCallCommandMessage(service_name="s", invoke_time=given)
        frame = encode_frame(MessageType.ONE_WAY_CALL_COMMAND, call.SerializeToString())
        (moved,) = FrameDecoder(1024).receive(shift.shift(frame))
        told = pb.OneWayCallCommandMessage.FromString(moved.payload)
        assert told.service_name == "s"
        assert told.invoke_time == pytest.approx(expected, abs=5_000)
