"""Dedup: the rule, and what follows from it for doubled and reordered streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from restate_node.protocol.dedup import SELF, Number, is_new, number_of, producer_of
from restate_node.types.ids import LeaderEpoch, PartitionId
from restate_node.types.wal import IngressProducer, PartitionProducer, SelfProposal


@pytest.mark.parametrize(
    ("highest", "number", "expected"),
    [
        (None, (0, 0), True),
        ((3, 17), (3, 17), False),
        ((3, 17), (3, 16), False),
        ((3, 17), (3, 18), True),
        ((3, 17), (3, 19), True),
        ((3, 17), (4, 0), True),
        ((4, 0), (3, 900), False),
        ((4, 0), (4, 0), False),
    ],
)
def test_rule(highest: Number | None, number: Number, expected: bool) -> None:
    """Goal: doubles and deposed leaders are dropped. Method: the table of the module."""
    assert is_new(highest, number) is expected


def test_writers_are_told_apart() -> None:
    """Goal: numbers of one writer say nothing of another. Method: one of each kind."""
    dedups = (
        SelfProposal(LeaderEpoch(2), 5),
        IngressProducer(b"a" * 16, 5),
        IngressProducer(b"b" * 16, 5),
        PartitionProducer(PartitionId(1), 5),
    )
    assert [producer_of(dedup) for dedup in dedups] == [SELF, b"a" * 16, b"b" * 16, 1]
    assert [number_of(dedup) for dedup in dedups] == [(2, 5), (0, 5), (0, 5), (0, 5)]


@given(some.integers(1, 30), some.lists(some.tuples(some.integers(0, 30), some.integers(0, 30))))
def test_resends_after_failovers_change_nothing(
    count: int, attempts: list[tuple[int, int]]
) -> None:
    """Goal: P3. Method: an appender that resends, in order, all that it is not sure of; each
    attempt writes some records and learns of fewer."""
    log: list[int] = []
    acknowledged = 0
    for written, heard_of in [*attempts, (count, count)]:
        reached = min(count, acknowledged + written)
        log.extend(range(acknowledged, reached))
        acknowledged = min(reached, acknowledged + heard_of)
    highest: Number | None = None
    applied: list[int] = []
    for sequence in log:
        if is_new(highest, (0, sequence)):
            highest = (0, sequence)
            applied.append(sequence)
    assert applied == list(range(count))
