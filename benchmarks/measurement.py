"""From latencies and counts to the figures that are printed.

A case is run in several rounds, each beside a raw `fdatasync` loop of the same moment. What is
reported is the median round: a shared disk makes single rounds differ by a factor of two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

MEGABYTE = 1_000_000


def percentile(ordered: Sequence[float], fraction: float) -> float:
    """The nearest-rank percentile of values in ascending order; 0 when there are none."""
    if not 0 <= fraction <= 1:
        raise ValueError(f"{fraction} is not between 0 and 1")
    if not ordered:
        return 0.0
    rank = max(1, -(-len(ordered) * fraction // 1))
    return ordered[int(rank) - 1]


@dataclass(frozen=True, slots=True)
class Round:
    """One round of one case."""

    records: int
    record_bytes: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int
    raw_syncs_per_s: float
    """What a loop of write and fdatasync did right before, with the same payload."""
    raw_p50_ms: float
    cpu_cores: float = 0.0
    """Processor time of all nodes of the cluster per second of the round; 0 when unknown."""

    @property
    def records_per_s(self) -> float:
        return self.records / self.seconds

    @property
    def megabytes_per_s(self) -> float:
        return self.records * self.record_bytes / self.seconds / MEGABYTE

    @property
    def records_per_raw_sync(self) -> float:
        """Records per second, as a multiple of the raw syncs per second."""
        return self.records_per_s / self.raw_syncs_per_s if self.raw_syncs_per_s else 0.0

    @property
    def latency_per_raw_sync(self) -> float:
        """Median latency, as a multiple of the raw sync's."""
        return self.p50_ms / self.raw_p50_ms if self.raw_p50_ms else 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the rounds of a case."""

    case: str
    in_flight: int
    batch_records: int
    record_bytes: int
    rounds: tuple[Round, ...] = field(repr=False)

    def of(self, attribute: str) -> float:
        """Median of an attribute of the rounds."""
        return median(float(getattr(one, attribute)) for one in self.rounds)

    @property
    def failures(self) -> int:
        return sum(one.failures for one in self.rounds)

    def as_json(self) -> dict[str, object]:
        """Plain values, for `--json`."""
        medians = {name: round(self.of(name), digits) for name, digits in _JSON_DIGITS.items()}
        return {
            "case": self.case,
            "in_flight": self.in_flight,
            "batch_records": self.batch_records,
            "record_bytes": self.record_bytes,
            **medians,
            "failures": self.failures,
            "rounds_records_per_s": [round(one.records_per_s) for one in self.rounds],
        }


_JSON_DIGITS = {
    "records_per_s": 0,
    "megabytes_per_s": 2,
    "p50_ms": 3,
    "p99_ms": 3,
    "raw_syncs_per_s": 0,
    "raw_p50_ms": 3,
    "records_per_raw_sync": 2,
    "latency_per_raw_sync": 2,
    "cpu_cores": 2,
}
