"""How an attempt begins and ends, as bytes."""

from __future__ import annotations

import contextlib

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from restate_node.types.attempts import (
    AttemptFailure,
    ErrorCode,
    FailureBehavior,
    MalformedMessage,
    SessionBegin,
)
from restate_node.types.invocations import Failure, Success, id_text, raw_id
from restate_node.types.journal import AwaitPoint, Combinator, Entry, MessageType, SignalIndex
from restate_node.wire import journal_codec, service_control
from restate_node.wire.pb import service_protocol_pb2 as pb
from restate_node.wire.service_frames import FrameDecoder

INVOCATION = raw_id(1, 2)


def start_of(begin: SessionBegin) -> pb.StartMessage:
    """The Start message of a frame."""
    (frame,) = FrameDecoder(1000).receive(service_control.start_frame(begin))
    assert frame.kind == MessageType.START
    return pb.StartMessage.FromString(frame.payload)


def begin(version: int) -> SessionBegin:
    """An attempt with everything in it."""
    return SessionBegin(
        invocation=INVOCATION,
        protocol_version=version,
        journal=[journal_codec.input(b"x", ()), journal_codec.signal(SignalIndex(1), None)],
        state=[("a", b""), ("ä", b"1")],
        is_state_partial=True,
        key="k",
        retry_count=3,
        since_last_entry_ms=4,
        random_seed=2**64 - 1,
        idempotency_key="i",
    )


@pytest.mark.parametrize(("version", "seed", "key"), [(5, 0, ""), (6, -1, ""), (7, -1, "i")])
def test_start_says_what_its_version_knows(version: int, seed: int, key: str) -> None:
    """Goal: an SDK knows whom it runs. How: all fields, in each version."""
    start = start_of(begin(version))
    assert start.id == INVOCATION
    assert start.debug_id == id_text(INVOCATION)
    assert start.known_entries == 2
    assert [(entry.key, entry.value) for entry in start.state_map] == [
        (b"a", b""),
        ("ä".encode(), b"1"),
    ]
    assert start.partial_state
    assert start.key == "k"
    assert start.retry_count_since_last_stored_entry == 3
    assert start.duration_since_last_stored_entry == 4
    assert start.random_seed == seed % 2**64
    assert start.idempotency_key == key


FUTURE = pb.Future(
    waiting_completions=[3],
    combinator_type=pb.ALL_SUCCEEDED_OR_FIRST_FAILED,
    nested_futures=[
        pb.Future(waiting_signals=[1, 17]),
        pb.Future(waiting_named_signals=["s"], combinator_type=pb.ALL_COMPLETED),
    ],
)
POINT = AwaitPoint(
    (3,),
    nested=(
        AwaitPoint(signals=(1, 17)),
        AwaitPoint(named_signals=("s",), combinator=Combinator.ALL_COMPLETED),
    ),
    combinator=Combinator.ALL_SUCCEEDED_OR_FIRST_FAILED,
)
FLAT = pb.SuspensionMessage(
    waiting_completions=[3], waiting_signals=[1], waiting_named_signals=["s"]
)


@pytest.mark.parametrize(
    ("message", "point"),
    [
        (FLAT, AwaitPoint((3,), (1,), ("s",))),
        (pb.SuspensionMessage(awaiting_on=FUTURE), POINT),
        (pb.SuspensionMessage(), AwaitPoint()),
    ],
)
def test_suspensions_of_all_versions_are_read(message: Message, point: AwaitPoint) -> None:
    """Goal: one value for both forms. How: the flat one, the tree, and an empty one."""
    assert service_control.read_suspension(message.SerializeToString()) == point


def test_hints_are_read() -> None:
    """Goal: what a handler waits for is known. How: a tree."""
    payload = pb.AwaitingOnMessage(awaiting_on=FUTURE).SerializeToString()
    assert service_control.read_awaiting_on(payload) == POINT


def test_a_combinator_of_the_future_is_a_race() -> None:
    """Goal: a newer SDK is woken too soon rather than never. How: a number nobody knows."""
    payload = b"\x22\x04\x08\x03\x28\x63"
    assert service_control.read_suspension(payload) == AwaitPoint((3,))


def test_a_bottomless_tree_is_refused() -> None:
    """Goal: recursion has an end. How: a tree of ten thousand levels."""
    payload = b""
    for _ in range(10_000):
        size, head = len(payload), b"\x22"
        while size >= 0x80:
            head += bytes([size & 0x7F | 0x80])
            size >>= 7
        payload = head + bytes([size]) + payload
    with pytest.raises(MalformedMessage):
        service_control.read_suspension(payload)


ERRORS: list[tuple[pb.ErrorMessage, AttemptFailure]] = [
    (pb.ErrorMessage(code=500, message="m"), AttemptFailure(500, "m")),
    (
        pb.ErrorMessage(code=570, message="m"),
        AttemptFailure(570, "m", error_code=ErrorCode.JOURNAL_MISMATCH),
    ),
    (
        pb.ErrorMessage(code=571, message="m"),
        AttemptFailure(571, "m", error_code=ErrorCode.PROTOCOL_VIOLATION),
    ),
    (
        pb.ErrorMessage(
            code=1,
            message="m",
            stacktrace="s",
            related_command_index=0,
            related_command_name="n",
            related_command_type=0x0411,
            next_retry_delay=0,
            behavior=pb.PAUSE,
        ),
        AttemptFailure(1, "m", "s", 0, "n", 0x0411, 0, FailureBehavior.PAUSE),
    ),
    (pb.ErrorMessage(behavior=pb.FAIL), AttemptFailure(0, "", behavior=FailureBehavior.FAIL)),
]


@pytest.mark.parametrize(("message", "failure"), ERRORS)
def test_errors_are_read(message: pb.ErrorMessage, failure: AttemptFailure) -> None:
    """Goal: absent and zero are different. How: a table, first without then with each field."""
    assert service_control.read_error(message.SerializeToString()) == failure


def test_long_texts_of_errors_are_cut() -> None:
    """Goal: a failure fits into a record. How: texts of a megabyte, and one that just fits."""
    long, fits = "ä" * (1 << 20), "ä" * service_control.MESSAGE_CHARACTERS_MAX
    message = pb.ErrorMessage(message=long, stacktrace=long, related_command_name=long)
    failure = service_control.read_error(message.SerializeToString())
    assert len(failure.message) == service_control.MESSAGE_CHARACTERS_MAX
    assert len(failure.stacktrace) == service_control.STACKTRACE_CHARACTERS_MAX
    assert failure.related_command_name is not None
    assert len(failure.related_command_name) == service_control.NAME_CHARACTERS_MAX
    assert failure.message.endswith("ä…")
    message = pb.ErrorMessage(message=fits)
    assert service_control.read_error(message.SerializeToString()).message == fits


def test_a_behavior_of_the_future_is_a_retry() -> None:
    """Goal: a newer SDK is not killed by mistake. How: a number nobody knows."""
    assert service_control.read_error(b"\x48\x63").behavior is FailureBehavior.RETRY


def test_run_results_become_notifications() -> None:
    """Goal: what is proposed is what is stored. How: a value, an empty one, a failure."""
    for message, outcome in [
        (pb.ProposeRunCompletionMessage(result_completion_id=3, value=b"v"), Success(b"v")),
        (pb.ProposeRunCompletionMessage(result_completion_id=3, value=b""), Success(b"")),
        (
            pb.ProposeRunCompletionMessage(result_completion_id=3, failure=pb.Failure(code=4)),
            Failure(4, ""),
        ),
    ]:
        completion, entry = service_control.read_run_proposal(message.SerializeToString())
        assert completion == service_control.completion_of(entry) == 3
        assert (entry.kind, journal_codec.outcome(entry)) == (0x8011, outcome)


def test_a_run_without_result_is_refused() -> None:
    """Goal: nothing half done is stored. How: a proposal with an id only."""
    with pytest.raises(MalformedMessage, match="without a result"):
        service_control.read_run_proposal(b"\x08\x03")


def test_acknowledgements_are_those_of_the_protocol() -> None:
    """Goal: SDKs read them. How: byte for byte."""
    assert service_control.command_ack_frame(3) == bytes.fromhex("0004 0000 00000002 0803")
    assert service_control.run_ack_frame(3) == bytes.fromhex("0007 0000 00000002 0803")


@given(st.binary(max_size=60))
def test_garbage_surprises_nobody(payload: bytes) -> None:
    """Goal: no other exception. How: any bytes to each reader."""
    for read in (
        service_control.read_error,
        service_control.read_suspension,
        service_control.read_awaiting_on,
        service_control.read_run_proposal,
    ):
        with contextlib.suppress(MalformedMessage):
            read(payload)
    with contextlib.suppress(MalformedMessage):
        service_control.completion_of(Entry(MessageType.RUN_COMPLETION, payload))
