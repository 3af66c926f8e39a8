"""Chains: which segment holds an LSN, and what is not a chain."""

from __future__ import annotations

import pytest

from restate_node.types.ids import GenerationalNodeId, LogId, PlainNodeId, SegmentIndex, loglet_id
from restate_node.types.logs import (
    Chain,
    InMemorySegment,
    ReplicatedParams,
    ReplicatedSegment,
    SealMarker,
    Segment,
)
from restate_node.types.offsets import Lsn
from restate_node.types.replication import ReplicationProperty


def segment(base: int, index: int) -> ReplicatedSegment:
    params = ReplicatedParams(
        loglet_id(LogId(1), SegmentIndex(index)),
        GenerationalNodeId(PlainNodeId(1), 1),
        ReplicationProperty.of_nodes(1),
        (PlainNodeId(1),),
    )
    return ReplicatedSegment(Lsn(base), SegmentIndex(index), params)


@pytest.mark.parametrize(
    ("lsn", "index"), [(0, None), (1, 0), (3, 0), (4, 1), (8, 1), (9, 2), (1 << 63, 2)]
)
def test_segment_for(lsn: int, index: int | None) -> None:
    """Goal: every LSN from the head on belongs to exactly one segment.

    Method: table at the edges.
    """
    found = Chain((segment(1, 0), segment(4, 1), segment(9, 2))).segment_for(Lsn(lsn))
    assert (None if found is None else found.index) == index


def test_ends_and_kinds() -> None:
    """Goal: the end of a segment is its successor's base. Method: a chain of every kind."""
    memory = InMemorySegment(Lsn(1), SegmentIndex(0), loglet_id=5)
    marker = SealMarker(Lsn(9), SegmentIndex(1), sealed_at=1)
    chain = Chain((memory, segment(4, 1), marker))
    assert [chain.end_of(s) for s in chain.segments] == [4, 9, None]
    assert chain.replicated == (segment(4, 1),)
    assert chain.is_sealed
    assert chain.head is memory
    assert chain.tail is marker


@pytest.mark.parametrize(
    ("segments", "complaint"),
    [
        ((), "at least one"),
        ((segment(4, 0), segment(4, 1)), "does not come after"),
        ((SealMarker(Lsn(1), SegmentIndex(0), 1), segment(4, 1)), "is not last"),
    ],
)
def test_refuses_what_is_no_chain(segments: tuple[Segment, ...], complaint: str) -> None:
    """Goal: the invariants of a chain hold from construction on. Method: break each."""
    with pytest.raises(ValueError, match=complaint):
        Chain(segments)
