"""One attempt: what is sent, what comes of what is received, and what is not allowed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from restate_node.protocol.invocation.session import (
    Awaiting,
    Ended,
    Failed,
    Proposed,
    Session,
    SessionEvent,
    SessionOptions,
    Suspended,
)
from restate_node.types.attempts import (
    AttemptFailure,
    ErrorCode,
    FailureBehavior,
    ServiceFrame,
    SessionBegin,
)
from restate_node.types.invocations import Success, raw_id
from restate_node.types.journal import AwaitPoint, Entry, MessageType, SignalIndex
from restate_node.wire import journal_codec, service_control
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_frames import REQUESTED_ACK, FrameDecoder, encode_frame

T = MessageType
INPUT = journal_codec.input(b"x", ())
BEGIN = SessionBegin(raw_id(1, 2), 7, [INPUT])
OPTIONS = SessionOptions(message_bytes_max=1000, chunk_bytes=100)

RUN = pb.RunCommandMessage(result_completion_id=1)
RESULT = pb.ProposeRunCompletionMessage(result_completion_id=1, value=b"r")
STORED_RESULT = journal_codec.completion(T.RUN_COMPLETION, 1, Success(b"r"))
SLEEP = pb.SleepCommandMessage(wake_up_time=9, result_completion_id=2)
SLEPT = journal_codec.completion(T.SLEEP_COMPLETION, 2, None)
OUTPUT = pb.OutputCommandMessage(value=pb.Value(content=b"o"))
SUSPENSION = pb.SuspensionMessage(awaiting_on=pb.Future(waiting_completions=[2]))
AWAITING = pb.AwaitingOnMessage(awaiting_on=pb.Future(waiting_completions=[2]))
ERROR = pb.ErrorMessage(code=500, message="m")


def session(version: int = 7, *, is_bidirectional: bool = True) -> Session:
    """One that has begun."""
    begin = replace(BEGIN, protocol_version=version, is_bidirectional=is_bidirectional)
    opened = Session(begin, service_control, OPTIONS)
    opened.opening()
    return opened


def frame(kind: MessageType, message: Message, *, ack: bool = False) -> bytes:
    """What an SDK sends."""
    return encode_frame(kind, message.SerializeToString(), REQUESTED_ACK if ack else 0)


def entry(kind: MessageType, message: Message) -> Entry:
    """What comes of it."""
    return Entry(kind, message.SerializeToString())


def frames(data: bytes) -> list[ServiceFrame]:
    """What an SDK reads."""
    return list(FrameDecoder(10**6).receive(data))


# ---------------------------------------------------------------- opening


def test_an_attempt_opens_with_start_and_journal() -> None:
    """Goal: an SDK replays what it knows. How: three entries, read back."""
    journal = [INPUT, entry(T.SLEEP_COMMAND, SLEEP), SLEPT]
    sent = frames(b"".join(Session(replace(BEGIN, journal=journal), service_control).opening()))
    assert sent[0].kind == T.START
    assert pb.StartMessage.FromString(sent[0].payload).known_entries == 3
    assert [Entry(kind, payload) for kind, _, payload in sent[1:]] == journal


def test_a_large_journal_is_sent_in_pieces() -> None:
    """Goal: neither one huge write nor one per entry. How: small entries, and one that is large."""
    large = Entry(T.RUN_COMPLETION, bytes(5000))
    journal = [INPUT, *[SLEPT] * 50, large, *[SLEPT] * 50]
    pieces = Session(replace(BEGIN, journal=journal), service_control, OPTIONS).opening()
    assert large.payload in pieces
    assert max(len(piece) for piece in pieces if piece is not large.payload) <= 100
    assert len(pieces) < 20
    assert len(frames(b"".join(pieces))) == 103


# ---------------------------------------------------------------- what an SDK sends


EVENTS: list[tuple[str, bytes, list[SessionEvent]]] = [
    ("nothing", b"", []),
    (
        "a run with its result",
        frame(T.RUN_COMMAND, RUN) + frame(T.PROPOSE_RUN_COMPLETION, RESULT),
        [Proposed([entry(T.RUN_COMMAND, RUN), STORED_RESULT], [])],
    ),
    (
        "the end",
        frame(T.OUTPUT_COMMAND, OUTPUT) + frame(T.END, pb.EndMessage()),
        [Proposed([entry(T.OUTPUT_COMMAND, OUTPUT)], []), Ended()],
    ),
    (
        "a suspension",
        frame(T.SLEEP_COMMAND, SLEEP) + frame(T.SUSPENSION, SUSPENSION),
        [Proposed([entry(T.SLEEP_COMMAND, SLEEP)], []), Suspended(AwaitPoint((2,)))],
    ),
    ("an error", frame(T.ERROR, ERROR), [Failed(AttemptFailure(500, "m"))]),
    (
        "a hint",
        frame(T.SLEEP_COMMAND, SLEEP) + frame(T.AWAITING_ON, AWAITING),
        [Proposed([entry(T.SLEEP_COMMAND, SLEEP)], []), Awaiting(AwaitPoint((2,)))],
    ),
    (
        "a hint that is out of date",
        frame(T.AWAITING_ON, AWAITING) + frame(T.SLEEP_COMMAND, SLEEP),
        [Proposed([entry(T.SLEEP_COMMAND, SLEEP)], [])],
    ),
    (
        "a command of its own",
        encode_frame(0xFC01, b"\xff"),
        [Proposed([Entry(0xFC01, b"\xff")], [])],
    ),
    ("half a message", frame(T.OUTPUT_COMMAND, OUTPUT)[:-1], []),
    ("bytes after the end", frame(T.END, pb.EndMessage()) + b"\xff" * 20, [Ended()]),
]


@pytest.mark.parametrize(
    ("data", "events"), [row[1:] for row in EVENTS], ids=[row[0] for row in EVENTS]
)
def test_what_an_sdk_sends(data: bytes, events: list[SessionEvent]) -> None:
    """Goal: one Proposed for each piece, then how it ends. How: bytes and their events."""
    assert session().receive(data) == events


VIOLATIONS: list[tuple[bytes, str, ErrorCode]] = [
    (encode_frame(T.INPUT_COMMAND, INPUT.payload), "0x0400", ErrorCode.PROTOCOL_VIOLATION),
    (encode_frame(T.SLEEP_COMPLETION, SLEPT.payload), "0x800c", ErrorCode.PROTOCOL_VIOLATION),
    (encode_frame(T.START, b""), "0x0000", ErrorCode.PROTOCOL_VIOLATION),
    (encode_frame(T.COMMAND_ACK, b""), "0x0004", ErrorCode.PROTOCOL_VIOLATION),
    (encode_frame(0x0008, b""), "0x0008", ErrorCode.PROTOCOL_VIOLATION),
    (encode_frame(0x040F, b""), "0x040f", ErrorCode.PROTOCOL_VIOLATION),
    (encode_frame(T.RUN_COMMAND, bytes(1001)), "at most 1000", ErrorCode.MESSAGE_TOO_LARGE),
    (encode_frame(T.ERROR, b"\xff"), "no ErrorMessage", ErrorCode.PROTOCOL_VIOLATION),
    (encode_frame(T.SLEEP_COMMAND, b"\xff"), "no SleepCommand", ErrorCode.PROTOCOL_VIOLATION),
    (encode_frame(T.OUTPUT_COMMAND, b""), "without a result", ErrorCode.PROTOCOL_VIOLATION),
    (encode_frame(T.SUSPENSION, b""), "waits for nothing", ErrorCode.PROTOCOL_VIOLATION),
]


@pytest.mark.parametrize(("data", "reason", "error_code"), VIOLATIONS)
def test_violations_end_the_attempt(data: bytes, reason: str, error_code: ErrorCode) -> None:
    """Goal: what a server cannot act on gets into no log. How: each behind a good command, which
    counts, and in front of an End, which does not.
    """
    broken = session()
    good = frame(T.RUN_COMMAND, RUN)
    proposed, failed = broken.receive(good + data + frame(T.END, pb.EndMessage()))
    assert proposed == Proposed([entry(T.RUN_COMMAND, RUN)], [])
    assert isinstance(failed, Failed)
    assert (failed.failure.code, failed.failure.error_code) == (571, error_code)
    assert failed.failure.behavior is FailureBehavior.RETRY
    assert reason in failed.failure.message
    assert "\n" not in failed.failure.message
    assert broken.is_over
    assert broken.receive(good) == broken.stream_ended() == []


@pytest.mark.parametrize("version", [5, 6])
def test_hints_are_of_version_7(version: int) -> None:
    """Goal: a version is kept to. How: a hint in older ones."""
    (failed,) = session(version).receive(frame(T.AWAITING_ON, AWAITING))
    assert isinstance(failed, Failed)


@pytest.mark.parametrize(("data", "ending"), [(b"", "suspended or failed"), (b"\0", "a message")])
def test_a_stream_that_only_stops_is_a_failure(data: bytes, ending: str) -> None:
    """Goal: a crash of a service is noticed. How: the end of a stream, also within a message."""
    stopped = session()
    stopped.receive(data)
    (failed,) = stopped.stream_ended()
    assert isinstance(failed, Failed)
    assert failed.failure.message.endswith(ending)
    assert failed.failure.error_code is ErrorCode.UNREACHABLE
    assert stopped.stream_ended() == []


STREAM = b"".join(
    [
        frame(T.RUN_COMMAND, RUN),
        frame(T.PROPOSE_RUN_COMPLETION, RESULT),
        frame(T.AWAITING_ON, AWAITING),
        frame(T.SLEEP_COMMAND, SLEEP),
        frame(T.AWAITING_ON, AWAITING),
        frame(T.OUTPUT_COMMAND, OUTPUT),
    ]
)
ENDINGS = [
    frame(T.END, pb.EndMessage()),
    frame(T.SUSPENSION, SUSPENSION),
    frame(T.ERROR, ERROR),
    encode_frame(T.START, b""),
    encode_frame(T.RUN_COMMAND, bytes(1001)),
]


def story(events: list[SessionEvent]) -> tuple[list[Entry], list[SessionEvent]]:
    """All entries, and how it ended."""
    entries = [entry for event in events if isinstance(event, Proposed) for entry in event.entries]
    return entries, [event for event in events if not isinstance(event, Proposed | Awaiting)]


@given(st.sampled_from(ENDINGS), st.lists(st.integers(1, 200)))
def test_a_stream_may_be_cut_anywhere(ending: bytes, cuts: list[int]) -> None:
    """Goal: the network does not matter. How: the same bytes whole, and in drawn pieces."""
    stream = STREAM + ending + frame(T.RUN_COMMAND, RUN)
    whole = story(session().receive(stream))
    assert len(whole[0]) == 4
    assert len(whole[1]) == 1
    cut, events = session(), list[SessionEvent]()
    places = sorted({0, len(stream), *(place for place in cuts if place < len(stream))})
    for start, end in pairwise(places):
        events += cut.receive(stream[start:end])
    assert story(events) == whole


@given(st.sampled_from([5, 6, 7]), st.binary(max_size=60))
def test_garbage_only_fails(version: int, data: bytes) -> None:
    """Goal: an attempt survives any service. How: any bytes, then the end of the stream."""
    attacked = session(version)
    events = attacked.receive(data) + attacked.stream_ended()
    assert attacked.is_over
    assert len(story(events)[1]) == 1


# ---------------------------------------------------------------- what an SDK is told


def test_notifications_are_sent_as_they_are_stored() -> None:
    """Goal: an SDK goes on. How: a completion and a signal."""
    told = session()
    cancel = journal_codec.signal(SignalIndex(1), None)
    assert frames(told.notify(SLEPT) + told.notify(cancel)) == [
        ServiceFrame(T.SLEEP_COMPLETION, 0, SLEPT.payload),
        ServiceFrame(T.SIGNAL_NOTIFICATION, 0, cancel.payload),
    ]


@pytest.mark.parametrize(
    ("version", "ack", "kind"),
    [
        (7, True, T.PROPOSE_RUN_COMPLETION_ACK),
        (7, False, T.RUN_COMPLETION),
        (6, True, T.RUN_COMPLETION),
        (5, False, T.RUN_COMPLETION),
    ],
)
def test_results_of_runs_come_back(version: int, ack: bool, kind: MessageType) -> None:
    """Goal: a result is not sent twice over the network when an SDK keeps it. How: propose, store;
    then the result of a run that another attempt made.
    """
    running = session(version)
    running.receive(frame(T.PROPOSE_RUN_COMPLETION, RESULT, ack=ack))
    other = journal_codec.completion(T.RUN_COMPLETION, 9, Success(b"r"))
    sent = frames(running.notify(STORED_RESULT) + running.notify(other))
    assert [frame.kind for frame in sent] == [kind, T.RUN_COMPLETION]
    assert frames(running.notify(STORED_RESULT))[0].kind == T.RUN_COMPLETION


@pytest.mark.parametrize(("version", "wanted"), [(5, [2]), (6, [2]), (7, [])])
def test_commands_are_acknowledged_by_their_index(version: int, wanted: list[int]) -> None:
    """Goal: an SDK knows which command is meant. How: the journal has a command and a notification,
    so the second command sent is number 2.
    """
    journal = [INPUT, journal_codec.signal(SignalIndex(1), None)]
    begun = Session(
        replace(BEGIN, protocol_version=version, journal=journal), service_control, OPTIONS
    )
    begun.opening()
    data = frame(T.SLEEP_COMMAND, SLEEP) + frame(T.RUN_COMMAND, RUN, ack=True)
    (proposed,) = begun.receive(data)
    assert isinstance(proposed, Proposed)
    assert proposed.acknowledge == wanted
    assert begun.acknowledge(2) == bytes.fromhex("0004 0000 00000002 0802")


def test_nothing_is_sent_after_the_request_has_ended() -> None:
    """Goal: a closed request is not written to. How: one that cannot go on after its opening, one
    that is finished, one that is over; all are still listened to, unless over.
    """
    finished, over = session(), session()
    finished.finish()
    over.receive(frame(T.END, pb.EndMessage()))
    for closed in (session(is_bidirectional=False), finished, over):
        assert not closed.may_send
        assert closed.notify(SLEPT) == closed.acknowledge(1) == b""
        closed.finish()
    assert finished.receive(frame(T.SUSPENSION, SUSPENSION)) == [Suspended(AwaitPoint((2,)))]
