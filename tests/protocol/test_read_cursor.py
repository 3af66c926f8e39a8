"""A reader's way along a chain."""

from __future__ import annotations

from random import Random

import pytest

from restate_node.protocol.read_cursor import (
    AwaitChain,
    AwaitTail,
    Finished,
    Gap,
    ReadCursor,
    ReadFrom,
    ReadStep,
    Run,
)
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    PlainNodeId,
    SegmentIndex,
    loglet_id,
)
from restate_node.types.log_messages import LogletHeader, Records, Status, StoredRun
from restate_node.types.logs import Chain, ReplicatedParams, ReplicatedSegment, SealMarker
from restate_node.types.offsets import LogletOffset, Lsn
from restate_node.types.records import RecordBatch, pack
from restate_node.types.replication import ReplicationProperty

SEQUENCER = GenerationalNodeId(PlainNodeId(2), 1)


def segment(index: int, base: int) -> ReplicatedSegment:
    params = ReplicatedParams(
        loglet_id(LogId(1), SegmentIndex(index)),
        SEQUENCER,
        ReplicationProperty.of_nodes(2),
        (PlainNodeId(1), PlainNodeId(2), PlainNodeId(3)),
    )
    return ReplicatedSegment(Lsn(base), SegmentIndex(index), params)


FIRST, SECOND, THIRD = segment(0, 1), segment(1, 11), segment(2, 21)
MARKER = SealMarker(Lsn(21), SegmentIndex(1), 0)


def run(first: int, count: int) -> StoredRun:
    batch = pack([b"%d" % (first + number) for number in range(count)])
    return StoredRun(LogletOffset(first), batch.count, batch.body)


def answer(*runs: StoredRun, next_offset: int, known: int = 1, trim_point: int = 0) -> Records:
    header = LogletHeader(Status.OK, LogletOffset(99), LogletOffset(known), False)
    return Records(header, LogletOffset(trim_point), LogletOffset(next_offset), list(runs))


def read(part: ReplicatedSegment, first: int, tail: int, sealed: bool) -> ReadFrom:
    return ReadFrom(part, LogletOffset(first), LogletOffset(tail), sealed)


def found(first: int, offsets: range) -> Run:
    return Run(Lsn(first), pack([b"%d" % offset for offset in offsets]))


STEPS: list[tuple[str, Chain, int, int | None, ReadStep]] = [
    ("open, nothing known", Chain((FIRST,)), 1, None, AwaitTail(FIRST, LogletOffset(2))),
    ("sealed", Chain((FIRST, SECOND)), 4, None, read(FIRST, 4, 11, True)),
    ("sealed, up to an end", Chain((FIRST, SECOND)), 4, 6, read(FIRST, 4, 7, True)),
    ("the next segment", Chain((FIRST, SECOND, THIRD)), 11, None, read(SECOND, 1, 11, True)),
    ("at the seal marker", Chain((SECOND, MARKER)), 21, None, AwaitChain()),
    ("before the seal marker", Chain((SECOND, MARKER)), 20, None, read(SECOND, 10, 11, True)),
    ("before the head", Chain((SECOND, THIRD)), 3, None, Gap(Lsn(3), Lsn(10))),
    ("before the head, up to an end", Chain((SECOND, THIRD)), 3, 5, Gap(Lsn(3), Lsn(5))),
    ("past the end", Chain((FIRST,)), 4, 3, Finished()),
]


@pytest.mark.parametrize(
    ("name", "chain", "position", "last", "expected"), STEPS, ids=[step[0] for step in STEPS]
)
def test_next_step(
    name: str, chain: Chain, position: int, last: int | None, expected: ReadStep
) -> None:
    """Goal: where to read next. Method: table of chains and positions."""
    cursor = ReadCursor(chain, Lsn(position), None if last is None else Lsn(last))
    assert cursor.next_step() == expected


def test_only_what_is_committed_is_delivered() -> None:
    """Goal: nothing at or above the global tail. Method: an open segment, an answer with more."""
    cursor = ReadCursor(Chain((FIRST,)), Lsn(1))
    cursor.tail_moved(FIRST, LogletOffset(4))
    cursor.tail_moved(FIRST, LogletOffset(3))
    asked = cursor.next_step()
    assert asked == read(FIRST, 1, 4, False)
    assert isinstance(asked, ReadFrom)
    got = cursor.received(asked, answer(run(1, 6), next_offset=7))
    assert got.delivered == (found(1, range(1, 4)),)
    assert not got.lacks_next
    assert cursor.next_step() == AwaitTail(FIRST, LogletOffset(5))
    cursor.tail_moved(SECOND, LogletOffset(9))
    assert cursor.next_step() == AwaitTail(FIRST, LogletOffset(5)), "a tail of another segment"


def asked_of(cursor: ReadCursor) -> ReadFrom:
    step = cursor.next_step()
    assert isinstance(step, ReadFrom)
    return step


def test_a_hole_stops_the_delivery() -> None:
    """Goal: contiguous deliveries. Method: a source without 3 and 4, then one that has them."""
    cursor = ReadCursor(Chain((FIRST, SECOND)), Lsn(1))
    holey = answer(run(1, 2), run(5, 6), next_offset=11)
    got = cursor.received(asked_of(cursor), holey)
    assert got.delivered == (found(1, range(1, 3)),)
    assert got.lacks_next
    asked = asked_of(cursor)
    assert cursor.received(asked, holey).lacks_next
    got = cursor.received(asked, answer(run(1, 10), next_offset=11))
    assert got.delivered == (found(3, range(3, 11)),)
    assert not got.lacks_next


def test_an_answer_cut_by_its_size_lacks_nothing() -> None:
    """Goal: the same source goes on. Method: the answer says that it stopped at 3."""
    cursor = ReadCursor(Chain((FIRST, SECOND)), Lsn(1))
    assert not cursor.received(asked_of(cursor), answer(run(1, 2), next_offset=3)).lacks_next
    assert cursor.next_step() == read(FIRST, 3, 11, True)


@pytest.mark.parametrize(
    ("trim_point", "gap", "position"), [(3, (1, 3), 4), (10, (1, 10), 11), (50, (1, 10), 11)]
)
def test_trimmed_records_are_one_gap(trim_point: int, gap: tuple[int, int], position: int) -> None:
    """Goal: a gap names what is gone, within its segment. Method: trim points, sealed segment."""
    cursor = ReadCursor(Chain((FIRST, SECOND)), Lsn(1))
    got = cursor.received(
        asked_of(cursor), answer(next_offset=trim_point + 1, trim_point=trim_point)
    )
    assert got.delivered == (Gap(Lsn(gap[0]), Lsn(gap[1])),)
    assert cursor.position == position


def test_a_late_answer_of_a_finished_segment_is_ignored() -> None:
    """Goal: each LSN once. Method: the same answer twice, over the segment's end."""
    cursor = ReadCursor(Chain((FIRST, SECOND, THIRD)), Lsn(1))
    asked = asked_of(cursor)
    cursor.received(asked, answer(run(1, 10), next_offset=11))
    assert cursor.received(asked, answer(run(1, 10), next_offset=11, known=11)).delivered == ()
    assert cursor.next_step() == read(SECOND, 1, 11, True)


def test_the_open_segment_is_sealed_while_being_read() -> None:
    """Goal: the chain's tail replaces the global tail. Method: the chain grows below a wait."""
    cursor = ReadCursor(Chain((FIRST,)), Lsn(5))
    assert cursor.next_step() == AwaitTail(FIRST, LogletOffset(6))
    cursor.chain_changed(Chain((FIRST, SECOND)))
    assert cursor.next_step() == read(FIRST, 5, 11, True)


def test_the_seal_marker_is_not_the_segment_it_closed() -> None:
    """Goal: a marker shares an index with its segment. Method: read to its end; a late answer."""
    cursor = ReadCursor(Chain((SECOND, MARKER)), Lsn(20))
    asked = asked_of(cursor)
    full = answer(run(1, 12), next_offset=13, known=13)
    assert cursor.received(asked, full).delivered == (found(20, range(10, 11)),)
    assert cursor.received(asked, full).delivered == ()
    assert cursor.next_step() == AwaitChain()
    cursor.chain_changed(Chain((SECOND, THIRD)))
    assert cursor.next_step() == AwaitTail(THIRD, LogletOffset(2))


@pytest.mark.parametrize("seed", range(20))
def test_any_sources_give_the_whole_log(seed: int) -> None:
    """Goal: every LSN once, in order. Method: random holes, sizes, trims; two sealed segments."""
    chance = Random(seed)
    cursor = ReadCursor(Chain((FIRST, SECOND, MARKER)), Lsn(1))
    position = 1
    while isinstance(step := cursor.next_step(), ReadFrom):
        starts = sorted(chance.sample(range(1, 11), 3))
        runs = [run(start, chance.randint(1, 2)) for start in starts[::2]]
        trim_point = chance.choice((0, 0, 0, 2))
        reply = answer(*runs, next_offset=chance.randint(step.first, 11), trim_point=trim_point)
        for item in cursor.received(step, reply).delivered:
            assert item.first == position
            position = item.last + 1 if isinstance(item, Gap) else position + item.batch.count
            if isinstance(item, Run):
                offset = (item.first - 1) % 10 + 1
                expected = range(offset, offset + item.batch.count)
                assert RecordBatch(item.batch.count, item.batch.body).records() == [
                    b"%d" % one for one in expected
                ]
    assert position == cursor.position == 21
