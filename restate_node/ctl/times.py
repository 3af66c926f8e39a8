"""Moments and durations for people.

    ago        1 second and 170 ms ago · 11 minutes, 40 seconds and 995 ms ago
    compact    2m 1s                        (status)
    rough      2 minutes                    (nodes list --extra)

Moments follow `--time-format`: as a distance from now, or as an ISO-8601 or RFC-2822 timestamp.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum

_UNITS_MS = (
    ("year", 31_557_600_000),
    ("month", 2_629_800_000),
    ("week", 604_800_000),
    ("day", 86_400_000),
    ("hour", 3_600_000),
    ("minute", 60_000),
    ("second", 1_000),
)
_COMPACT_UNITS_S = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


class TimeFormat(StrEnum):
    """How moments are printed."""

    HUMAN = "human"
    ISO8601 = "iso8601"
    RFC2822 = "rfc2822"


@dataclass(frozen=True, slots=True)
class TimeStyle:
    """A format, and the moment that `ago` counts from."""

    format: TimeFormat
    now_ms: int

    def moment(self, unix_ms: int) -> str:
        """A moment in milliseconds since 1970."""
        match self.format:
            case TimeFormat.HUMAN:
                return f"{precise(max(0, self.now_ms - unix_ms))} ago"
            case TimeFormat.ISO8601:
                return iso8601(unix_ms)
            case TimeFormat.RFC2822:
                return format_datetime(_utc(unix_ms))


def precise(duration_ms: int) -> str:
    """`11 minutes, 40 seconds and 995 ms`."""
    parts: list[str] = []
    for unit, size in _UNITS_MS:
        count, duration_ms = divmod(duration_ms, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    if duration_ms or not parts:
        parts.append(f"{duration_ms} ms")
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def rough(duration_s: int) -> str:
    """`2 minutes`: the largest unit only."""
    for unit, size in _UNITS_MS:
        count = duration_s * 1000 // size
        if count:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "0 seconds"


def compact(duration_s: int) -> str:
    """`2m 1s`: the two largest units."""
    parts: list[str] = []
    for unit, size in _COMPACT_UNITS_S:
        count, duration_s = divmod(duration_s, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def iso8601(unix_ms: int) -> str:
    """`2026-11-23T06:39:55.684+00:00`."""
    return _utc(unix_ms).isoformat(timespec="milliseconds")


def _utc(unix_ms: int) -> datetime:
    seconds, milliseconds = divmod(unix_ms, 1000)
    moment = datetime.fromtimestamp(seconds, tz=UTC)
    return moment.replace(microsecond=milliseconds * 1000)
