"""Records of partitions: what was written is read, what cannot be read is told apart."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from restate_node.types.ids import (
    GenerationalNodeId,
    LeaderEpoch,
    PartitionId,
    PlainNodeId,
    Version,
)
from restate_node.types.partitions import KeyRange
from restate_node.types.wal import (
    AnnouncedReplicas,
    AnnounceLeader,
    Command,
    Dedup,
    Envelope,
    IngressProducer,
    PartitionProducer,
    PatchState,
    SelfProposal,
    Unreadable,
)
from restate_node.wire.wal import TAGS, decode_record, encode_record

KEY_MAX = (1 << 64) - 1
ANNOUNCEMENT = AnnounceLeader(
    GenerationalNodeId(PlainNodeId(2), 7),
    LeaderEpoch(4),
    KeyRange(0, KEY_MAX),
    Version(9),
    AnnouncedReplicas(Version(2), "{node: 2}", (2, 3)),
    None,
)
PATCH = PatchState("Box", "k", {"a": b"1", "b": b""}, "v")


@pytest.mark.parametrize("command", [ANNOUNCEMENT, PATCH, PatchState("s", "", {})])
@pytest.mark.parametrize(
    "dedup",
    [
        None,
        SelfProposal(LeaderEpoch(3), 0),
        IngressProducer(b"p" * 16, KEY_MAX),
        PartitionProducer(PartitionId(5), 12),
    ],
)
def test_round_trip(dedup: Dedup | None, command: Command) -> None:
    """Goal: nothing is lost on the way. Method: every writer with every command."""
    envelope = Envelope(dedup, KEY_MAX, command)
    assert decode_record(memoryview(encode_record(envelope))) == envelope


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"", "empty"),
        (b"\x02rest", "format 2"),
        (b"\x02rest", "newer release"),
        (b"\x01" + msgspec.msgpack.encode([None, 1, ["fly", 2]]), "'fly' is not known"),
        (b"\x01" + msgspec.msgpack.encode([None, 1, ["fly", 2]]), "newer release"),
        (b"\x01" + msgspec.msgpack.encode([None, 1, ["patch-state", 2]]), "damaged"),
        (b"\x01" + msgspec.msgpack.encode([None, -1, PATCH]), "partition key"),
        (b"\x01" + msgspec.msgpack.encode([["ingress", b"x", 1], 1, PATCH]), "dedup"),
        (b"\x01" + msgspec.msgpack.encode([["partition", -1, 1], 1, PATCH]), "dedup"),
        (b"\x01" + msgspec.msgpack.encode([["self", -1, 1], 1, PATCH]), "dedup"),
        (b"\x01" + msgspec.msgpack.encode([["self", 1, -4], 1, PATCH]), "dedup"),
        (b"\x01\xc1", "damaged"),
        (b"\x01" + b"\x91" * 100_000, "damaged"),
        (encode_record(Envelope(None, 1, PATCH))[:-2], "damaged"),
    ],
)
def test_unreadable_records_say_why(record: bytes, reason: str) -> None:
    """Goal: the reader stops with a reason. Method: a table of broken records."""
    decoded = decode_record(record)
    assert isinstance(decoded, Unreadable)
    assert reason in decoded.reason


def test_known_tags_are_those_of_the_commands() -> None:
    """Goal: a known command is never called unknown. Method: compare with the union itself."""
    commands: tuple[type[msgspec.Struct], ...] = Command.__args__
    assert {str(command.__struct_config__.tag) for command in commands} == TAGS


def test_a_field_of_a_newer_release_is_tolerated() -> None:
    """Goal: fields may be appended. Method: a longer array than this release knows."""
    raw = msgspec.msgpack.encode([None, 7, ["patch-state", "s", "k", {}, None, "new"]])
    assert decode_record(b"\x01" + raw) == Envelope(None, 7, PatchState("s", "k", {}))


@given(some.binary(max_size=200))
def test_noise_never_raises(noise: bytes) -> None:
    """Goal: the decoder is total. Method: random bytes behind a good and a random format byte."""
    for record in (noise, b"\x01" + noise):
        assert isinstance(decode_record(record), Envelope | Unreadable)


@given(some.data())
def test_a_damaged_record_never_raises(data: some.DataObject) -> None:
    """Goal: a flipped byte is survived. Method: change one byte of a good record."""
    record = bytearray(encode_record(Envelope(SelfProposal(LeaderEpoch(1), 2), 3, ANNOUNCEMENT)))
    record[data.draw(some.integers(0, len(record) - 1))] = data.draw(some.integers(0, 255))
    assert isinstance(decode_record(bytes(record)), Envelope | Unreadable)
