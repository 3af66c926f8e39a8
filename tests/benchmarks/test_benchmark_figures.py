"""The arithmetic of the append benchmark, and the closed loop that feeds it."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.load import ClosedLoop, make_batches
from benchmarks.measurement import Figures, Round, percentile
from restate_node.bifrost.appender import OnCommitted
from restate_node.bifrost.errors import AppendFailed
from restate_node.types.offsets import Lsn
from restate_node.types.records import RecordBatch


@pytest.mark.parametrize(
    ("values", "fraction", "expected"),
    [
        ([], 0.5, 0.0),
        ([7.0], 0.0, 7.0),
        ([7.0], 0.99, 7.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([1.0, 2.0, 3.0, 4.0], 0.51, 3.0),
        ([1.0, 2.0, 3.0, 4.0], 1.0, 4.0),
        ([float(value) for value in range(1, 101)], 0.99, 99.0),
    ],
)
def test_percentile(values: list[float], fraction: float, expected: float) -> None:
    """Goal: nearest rank, on every edge. Method: values whose ranks can be counted by hand."""
    assert percentile(values, fraction) == expected


def test_percentile_refuses_percents() -> None:
    """Goal: 99 for 0.99 is noticed. Method: pass it."""
    with pytest.raises(ValueError, match="not between 0 and 1"):
        percentile([1.0], 99)


def one_round(records: int, p50_ms: float) -> Round:
    return Round(records, 1000, 2.0, p50_ms, 9.0, 1, 500.0, 0.5, 1.5)


def test_figures_are_medians() -> None:
    """Goal: the median round counts, failures add up. Method: three rounds of known figures."""
    rounds = (one_round(1000, 4.0), one_round(9000, 1.0), one_round(2000, 2.0))
    figures = Figures("64", 64, 1, 1000, rounds)
    assert figures.of("records_per_s") == 1000
    assert figures.of("megabytes_per_s") == 1.0
    assert figures.of("records_per_raw_sync") == 2.0
    assert figures.of("latency_per_raw_sync") == 4.0
    assert figures.failures == 3
    assert figures.as_json()["rounds_records_per_s"] == [500, 4500, 1000]


def test_a_round_without_yardstick_has_no_ratio() -> None:
    """Goal: no division by zero. Method: a round whose raw loop did nothing."""
    alone = Round(10, 128, 1.0, 1.0, 1.0, 0, 0.0, 0.0)
    assert alone.records_per_raw_sync == alone.latency_per_raw_sync == 0.0


class Log:
    """Answers in the next turn of the loop; refuses every so many appends."""

    def __init__(self, refuse_each: int) -> None:
        self.under_way = 0
        self.most = 0
        self._refuse_each = refuse_each
        self._count = 0

    def submit(self, batch: RecordBatch, on_committed: OnCommitted) -> None:
        self._count += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        refused = self._count % self._refuse_each == 0
        failure = AppendFailed("refused", maybe_written=False)
        result = failure if refused else Lsn(self._count)
        asyncio.get_running_loop().call_soon(self._answer, on_committed, result)

    def _answer(self, on_committed: OnCommitted, result: Lsn | AppendFailed) -> None:
        self.under_way -= 1
        on_committed(result)


async def test_the_window_is_kept_full_and_drained() -> None:
    """Goal: never more under way than asked for, none at the end, each answer counted once.

    Method: a log that answers at once and refuses each seventh append.
    """
    log = Log(refuse_each=7)
    load = await ClosedLoop(log.submit, 5, make_batches(1, 16)).run(0.03)
    assert log.most == 5
    assert log.under_way == 0
    assert load.batches == len(load.latencies) > 0
    assert load.failures > 0


def test_batches_have_the_size_asked_for() -> None:
    """Goal: what is measured is what was asked for. Method: count records and bytes."""
    for batch in make_batches(3, 100):
        assert [len(record) for record in batch.records()] == [100, 100, 100]
