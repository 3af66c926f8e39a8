"""The record cache: what it returns was put in, without a gap, and it stays within its bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from restate_node.bifrost.replicated.record_cache import RecordCache, cost
from restate_node.types.ids import LogletId
from restate_node.types.log_messages import StoredRun
from restate_node.types.offsets import LogletOffset

STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 700), st.booleans()),
    max_size=300,
)


@given(STEPS, st.integers(1, 900), st.integers(1, 900))
def test_reads_are_what_was_added(
    steps: list[tuple[int, int, int, bool]], first: int, length: int
) -> None:
    """Goal: bounded bytes; a read starts at the run that holds `first`, goes on without a gap and
    stops below the tail. Method: random adds to three loglets, a few forgotten, against a list."""
    cache = RecordCache(8_000)
    tails = [1, 1, 1]
    added: list[list[StoredRun]] = [[], [], []]
    for loglet, count, size, forget in steps:
        run = StoredRun(LogletOffset(tails[loglet]), count, bytes(size))
        cache.add(LogletId(loglet), run)
        tails[loglet] += count
        added[loglet].append(run)
        if forget and size > 650:
            cache.forget(LogletId(loglet))
            added[loglet].clear()
        assert cache.size_bytes <= 8_000
    for loglet in range(3):
        found = cache.read(
            LogletId(loglet), LogletOffset(first), LogletOffset(first + length), 10_000
        )
        if found:
            index = added[loglet].index(found[0])
            assert added[loglet][index : index + len(found)] == found
            assert found[0].first_offset <= first < found[0].first_offset + found[0].count
            assert found[-1].first_offset < first + length


def test_the_newest_runs_stay() -> None:
    """Goal: first in, first out, over many more runs than fit; a run above a quarter of the cache
    is not kept and makes its loglet start anew."""
    cache = RecordCache(100_000)
    loglet = LogletId(1)
    for offset in range(1, 5_000):
        cache.add(loglet, StoredRun(LogletOffset(offset), 1, b"x" * 100))
    assert cache.read(loglet, LogletOffset(1), LogletOffset(2), 100) == []
    assert len(cache.read(loglet, LogletOffset(4_900), LogletOffset(5_000), 1 << 20)) == 100
    assert cache.size_bytes > 100_000 - 2 * cost(StoredRun(LogletOffset(1), 1, b"x" * 100))
    cache.add(loglet, StoredRun(LogletOffset(5_000), 1, bytes(50_000)))
    assert cache.size_bytes == 0
    assert cache.read(loglet, LogletOffset(4_999), LogletOffset(5_001), 100) == []
