"""What the operations benchmark found, as medians over rounds, with the floors beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.measurement import MEGABYTE

SHARE = "share of a plain copy"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    case: str
    figure: str
    measured: str
    beside: str = ""
    """The yardstick of the same run."""
    floor: str = ""


@dataclass(frozen=True, slots=True)
class TransferRound:
    """Transfers of the partition, by turns with plain copies of the same bytes; then appends."""

    seconds: tuple[float, ...]
    plain_seconds: tuple[float, ...]
    hashed_seconds: tuple[float, ...]
    """A plain copy that also takes SHA-256; none at a bucket."""
    memory_mb: float
    late_ms: float
    busy_ms: float
    late_beside_plain_ms: float
    """The same loop while another process made the plain copy."""
    appends_alone_per_s: float
    appends_per_s: float
    appends_beside_plain_per_s: float
    seconds_beside_appends: tuple[float, ...]
    plain_seconds_beside_appends: tuple[float, ...]

    @property
    def share_of_plain(self) -> float:
        """Speed as a share of the plain copy's."""
        return median(self.plain_seconds) / median(self.seconds)

    @property
    def share_of_hashed(self) -> float:
        """The same beside a plain copy that hashes; 0 without one."""
        return median(self.hashed_seconds or (0.0,)) / median(self.seconds)

    @property
    def appends_kept(self) -> float:
        """Rate of the appends meanwhile, as a share of the rate without."""
        return self.appends_per_s / self.appends_alone_per_s

    @property
    def appends_kept_beside_plain(self) -> float:
        """The same for the plain copy."""
        return self.appends_beside_plain_per_s / self.appends_alone_per_s


@dataclass(frozen=True, slots=True)
class TransferFigures:
    """Snapshots, or replicas started from them, at one object store."""

    case: str
    size_bytes: int
    rounds: tuple[TransferRound, ...]
    is_snapshot: bool = True
    """A replica's start has a floor for its speed only."""

    def of(self, attribute: str) -> float:
        """Median of an attribute of the rounds."""
        return median(float(getattr(one, attribute)) for one in self.rounds)

    def all_of(self, attribute: str) -> list[float]:
        """The values of an attribute that has many in each round."""
        return [float(value) for one in self.rounds for value in getattr(one, attribute)]

    def lines(self) -> list[Line]:
        """Speed, memory, loop and appends."""
        beside = f"{_percent(self.of('appends_kept_beside_plain'))} beside plain"
        block = f"{self.of('late_ms'):.0f} ms, {self.of('busy_ms'):.0f} ms computing"
        idle = f"{self.of('late_beside_plain_ms'):.0f} ms beside plain"
        hashed = self.of("share_of_hashed")
        of_hashed = f"{_percent(hashed)} of one with SHA-256" if hashed else ""
        speed, plain_speed = self._speed("seconds"), self._speed("plain_seconds")
        beside_appends = self._speed("seconds_beside_appends")
        rows = [
            ("speed", speed, plain_speed, ""),
            (SHARE, self._spread("share_of_plain"), of_hashed, "≥ 60 %"),
            ("extra memory", f"{self.of('memory_mb'):.0f} MB", "", "≤ 64 MB"),
            ("longest loop block", block, idle, "≤ 20 ms"),
            (
                "appends kept",
                self._spread("appends_kept"),
                beside,
                "≥ 70 %",
            ),
            ("… speed then", beside_appends, self._speed("plain_seconds_beside_appends"), ""),
        ]
        return [
            Line(self.case, name, measured, yardstick, floor if self._has_floor(name) else "")
            for name, measured, yardstick, floor in rows
        ]

    def _speed(self, attribute: str) -> str:
        """The median of all transfers, and the slowest and fastest."""
        megabytes, found = self.size_bytes / MEGABYTE, self.all_of(attribute)
        if not found:
            return ""
        slowest, fastest = megabytes / max(found), megabytes / min(found)
        return f"{megabytes / median(found):.0f} ({slowest:.0f}–{fastest:.0f}) MB/s"

    def _spread(self, attribute: str) -> str:
        """The median of the rounds, and the lowest and highest."""
        found = [float(getattr(one, attribute)) * 100 for one in self.rounds]
        return f"{_percent(self.of(attribute))} ({min(found):.0f}–{max(found):.0f})"

    def _has_floor(self, figure: str) -> bool:
        return self.is_snapshot or figure == SHARE

    def as_json(self) -> dict[str, object]:
        """Plain values, for `--json`."""
        names = ("share_of_plain", "memory_mb", "late_ms", "busy_ms", "appends_kept")
        names += ("share_of_hashed", "appends_kept_beside_plain")
        medians = {name: round(self.of(name), 3) for name in names}
        rounds = [_rounded_fields(one) for one in self.rounds]
        return {"case": self.case, "size_bytes": self.size_bytes, **medians, "rounds": rounds}


@dataclass(frozen=True, slots=True)
class ReplicationFigures:
    """Log replication 1 → 2 under load, once per fresh cluster."""

    logs: int
    reconfigured_s: tuple[float, ...]
    """From the request until every log has its new segment."""
    pause_s: tuple[float, ...]
    """Longest time in which one partition acknowledged nothing, from the request on."""
    usual_pause_s: tuple[float, ...]
    """The same in the moments before."""

    def lines(self) -> list[Line]:
        """Time and pause."""
        case = f"log replication 1 → 2, {self.logs} logs"
        usual = f"{median(self.usual_pause_s) * 1000:.0f} ms before"
        return [
            Line(case, "all reconfigured", f"{median(self.reconfigured_s):.2f} s", "", "≤ 8 s"),
            Line(case, "longest pause", f"{median(self.pause_s) * 1000:.0f} ms", usual, "≤ 500 ms"),
        ]

    def as_json(self) -> dict[str, object]:
        """Plain values, for `--json`."""
        return {
            "case": "replication",
            "logs": self.logs,
            "reconfigured_s": _rounded(self.reconfigured_s),
            "pause_s": _rounded(self.pause_s),
            "usual_pause_s": _rounded(self.usual_pause_s),
        }


@dataclass(frozen=True, slots=True)
class TrimFigures:
    """Disk of all log servers: before the records, with them, and some time after the trim."""

    records: int
    before_bytes: int
    full_bytes: int
    after_bytes: int
    trim_s: float
    """Until the trim was answered."""
    floor_reached_s: float | None
    """Until 90 % were back; None when they were not in time."""

    @property
    def share_back(self) -> float:
        """Share of what the records took that is free again."""
        taken = self.full_bytes - self.before_bytes
        return (self.full_bytes - self.after_bytes) / taken if taken > 0 else 0.0

    def lines(self) -> list[Line]:
        """The share, and how soon."""
        case = f"trim of {self.records:,} records"
        taken = f"of {(self.full_bytes - self.before_bytes) / MEGABYTE:.0f} MB"
        soon = "never" if self.floor_reached_s is None else f"{self.floor_reached_s:.1f} s"
        return [
            Line(case, "disk back in 60 s", _percent(self.share_back), taken, "≥ 90 %"),
            Line(case, "90 % back after", soon, f"answered in {self.trim_s:.2f} s", "≤ 60 s"),
        ]

    def as_json(self) -> dict[str, object]:
        """Plain values, for `--json`."""
        return {"case": "trim", **asdict(self), "share_back": round(self.share_back, 3)}


Figures = TransferFigures | ReplicationFigures | TrimFigures


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _rounded_fields(one: TransferRound) -> dict[str, object]:
    return {
        name: _rounded(value) if isinstance(value, tuple) else round(value, 3)
        for name, value in asdict(one).items()
    }


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in values]
