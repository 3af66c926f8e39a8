"""Order, window and release of appends."""

from __future__ import annotations

import random

import pytest

from restate_node.protocol.sequencer import (
    Refused,
    Released,
    Sequencer,
    SequencerOptions,
    SequencerPhase,
    StoreGroup,
    Unresolved,
)
from restate_node.types.log_messages import AppendStatus
from restate_node.types.offsets import OFFSET_MAX, LogletOffset
from restate_node.types.records import RecordBatch, pack


def batch(count: int = 1, size: int = 4) -> RecordBatch:
    return pack([b"x" * size] * count)


def sequencer(tail: int = 1, **limits: int) -> Sequencer[str]:
    return Sequencer(SequencerOptions(**limits), LogletOffset(tail))


def group_of(one: Sequencer[str]) -> StoreGroup[str]:
    group = one.next_group()
    assert group is not None
    return group


def test_waiting_batches_join_into_one_group() -> None:
    """Goal: group size follows the load. Method: one group under way, two batches waiting."""
    one = sequencer()
    one.submit(batch(2), "a")
    first = group_of(one)
    one.submit(batch(1), "b")
    one.submit(batch(3), "c")
    second = group_of(one)
    assert (first.first_offset, first.tail, first.appends) == (1, 3, (("a", 1),))
    assert (second.first_offset, second.tail) == (3, 7)
    assert second.appends == (("b", 3), ("c", 4))
    assert second.batch == batch(4)
    assert one.next_group() is None


def test_groups_are_bounded() -> None:
    """Goal: bytes per group and groups in flight are bounded. Method: small limits."""
    one = sequencer(group_bytes_max=20, groups_in_flight_max=2)
    for token in "abcde":
        one.submit(batch(), token)
    one.submit(batch(1, size=100), "large")
    sizes = [len(group_of(one).appends), len(group_of(one).appends)]
    assert sizes == [2, 2]
    assert one.next_group() is None


def test_a_batch_larger_than_a_group_goes_alone() -> None:
    """Goal: large batches are stored. Method: one above the limit, between two small ones."""
    one = sequencer(group_bytes_max=20)
    for token, size in (("a", 4), ("large", 100), ("b", 4)):
        one.submit(batch(1, size), token)
    tokens = [[placed.token for placed in group_of(one).appends] for _ in range(3)]
    assert tokens == [["a"], ["large"], ["b"]]


@pytest.mark.parametrize("seed", range(20))
def test_release_is_in_order_whatever_commits_first(seed: int) -> None:
    """Goal: nobody is answered before all earlier ones. Method: commit groups in random order."""
    chaos = random.Random(seed)
    one = sequencer(group_bytes_max=1, groups_in_flight_max=8)
    tokens = [str(number) for number in range(8)]
    for token in tokens:
        one.submit(batch(chaos.randint(1, 3)), token)
    groups = [group_of(one) for _ in tokens]
    committed: set[int] = set()
    answered: list[str] = []
    for group in chaos.sample(groups, len(groups)):
        before = one.known_global_tail
        released = one.committed(group)
        committed.add(group.first_offset)
        answered += [placed.token for placed in released.appends]
        pending = [g.first_offset for g in groups if g.first_offset not in committed]
        assert released.known_global_tail == min(pending, default=groups[-1].tail) >= before
        assert one.committed(group).appends == (), "answered twice"
    assert answered == tokens
    assert one.is_idle
    assert one.window_records == 0


@pytest.mark.parametrize(
    ("limits", "fits"), [({"window_records_max": 4}, 4), ({"window_bytes_max": 24}, 3)]
)
def test_a_full_window_refuses(limits: dict[str, int], fits: int) -> None:
    """Goal: memory is bounded. Method: fill the window, release a group, go on."""
    one = sequencer(group_bytes_max=1, **limits)
    for number in range(fits):
        assert one.submit(batch(), str(number)) is None
    assert one.submit(batch(), "late") == Refused(AppendStatus.OVERLOADED)
    one.committed(group_of(one))
    assert one.submit(batch(), "again") is None
    assert one.submit(batch(), "late") == Refused(AppendStatus.OVERLOADED)


def test_a_batch_larger_than_the_window_is_taken_alone() -> None:
    """Goal: no batch starves. Method: one above both limits, on an idle sequencer."""
    one = sequencer(window_records_max=2, window_bytes_max=10, group_bytes_max=10)
    assert one.submit(batch(5), "large") is None
    assert one.submit(batch(), "next") == Refused(AppendStatus.OVERLOADED)
    one.committed(group_of(one))
    assert one.submit(batch(), "next") is None


def test_offsets_end() -> None:
    """Goal: the last offset is used, none beyond. Method: start two below it."""
    one = sequencer(tail=OFFSET_MAX - 1)
    assert one.submit(batch(3), "a") == Refused(AppendStatus.RECONFIGURE)
    assert one.submit(batch(2), "b") is None
    assert one.submit(batch(1), "c") == Refused(AppendStatus.RECONFIGURE)
    assert group_of(one).tail == OFFSET_MAX + 1


def test_drain_finishes_what_is_there() -> None:
    """Goal: an orderly end. Method: drain with one group under way and one batch waiting."""
    one = sequencer(groups_in_flight_max=1)
    one.submit(batch(), "a")
    group = group_of(one)
    one.submit(batch(), "b")
    one.drain()
    assert one.submit(batch(), "c") == Refused(AppendStatus.SEALED)
    assert one.committed(group).appends == (("a", 1),)
    assert not one.is_idle
    assert one.committed(group_of(one)).appends == (("b", 2),)
    assert one.is_idle


def test_nothing_is_acknowledged_after_a_seal() -> None:
    """Goal: no answer above a sealed tail. Method: seal between store and commit."""
    one = sequencer(group_bytes_max=1, groups_in_flight_max=2)
    for token in "abc":
        one.submit(batch(), token)
    first, second = group_of(one), group_of(one)
    one.committed(second)
    assert one.seal() == Unresolved(sent=("a", "b"), unsent=("c",))
    assert one.phase is SequencerPhase.SEALED
    assert one.committed(first) == Released((), LogletOffset(1))
    assert one.submit(batch(), "d") == Refused(AppendStatus.SEALED)
    assert one.next_group() is None
    assert one.seal() == Unresolved((), ())


def test_an_empty_batch_is_malformed() -> None:
    """Goal: every append has an offset of its own. Method: submit nothing."""
    assert sequencer().submit(RecordBatch(0, b""), "a") == Refused(AppendStatus.MALFORMED)


@pytest.mark.parametrize(
    "limits",
    [
        {"window_records_max": 0},
        {"window_bytes_max": 0},
        {"group_bytes_max": 0},
        {"groups_in_flight_max": 0},
        {"group_bytes_max": 10, "window_bytes_max": 9},
    ],
)
def test_options_are_validated(limits: dict[str, int]) -> None:
    """Goal: limits that cannot work are refused. Method: table."""
    with pytest.raises(ValueError, match="must"):
        sequencer(**limits)
