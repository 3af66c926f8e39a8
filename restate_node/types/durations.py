"""Durations as users of the HTTP APIs write and read them.

    2s · 1m 30s · 500ms · 2 days · 0         read and printed by the admin API and metadata
    PT0.5S · P1DT2H                          read as well
    00:00:02                                 not read

Options in configuration files are stricter, see the loader. Here everything is in milliseconds;
what is finer than one is rounded up, so that nothing is ever early.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

EXPECTED: Final = "write a duration such as 500ms, 10s, 1m 30s, 2h, 1d or PT10S"
TEXT_CHARACTERS_MAX: Final = 256
DURATION_MS_MAX: Final = 1 << 53
PARSED_MAX: Final = 256

_SECOND_MS = 1000
_MINUTE_MS = 60 * _SECOND_MS
_HOUR_MS = 60 * _MINUTE_MS
_DAY_MS = 24 * _HOUR_MS
_UNITS: dict[str, Fraction] = {
    word: length
    for words, length in (
        ("ns nsec nsecs nano nanos nanosecond nanoseconds", Fraction(1, 1_000_000)),
        ("us µs usec usecs micro micros microsecond microseconds", Fraction(1, 1000)),
        ("ms msec msecs milli millis millisecond milliseconds", Fraction(1)),
        ("s sec secs second seconds", Fraction(_SECOND_MS)),
        ("m min mins minute minutes", Fraction(_MINUTE_MS)),
        ("h hr hrs hour hours", Fraction(_HOUR_MS)),
        ("d day days", Fraction(_DAY_MS)),
        ("w wk wks week weeks", Fraction(7 * _DAY_MS)),
    )
    for word in words.split()
}
_PART = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]{1,9})?)\s*([a-zµ]+)\s*,?", re.IGNORECASE)
_NUMBER = r"([0-9]{1,18}(?:[.,][0-9]{1,9})?)"
_ISO = re.compile(
    rf"P(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?",
    re.IGNORECASE,
)
_ISO_UNITS = ("w", "d", "h", "m", "s")
_PRINTED = (("d", _DAY_MS), ("h", _HOUR_MS), ("m", _MINUTE_MS), ("s", _SECOND_MS), ("ms", 1))


@lru_cache(maxsize=PARSED_MAX)
def parse_duration_ms(text: str) -> int:
    """Either notation; ValueError says what was expected. Clients send the same few."""
    written = text.strip()
    if not written or len(written) > TEXT_CHARACTERS_MAX:
        raise ValueError(EXPECTED)
    iso = written[0] in "Pp"
    exact = _of_iso(written) if iso else _of_words(written)
    whole = -int(-exact // 1)
    if whole > DURATION_MS_MAX:
        raise ValueError(f"{written!r} is longer than 285,000 years")
    return whole


def duration_text(duration_ms: int) -> str:
    """`1d`, `1m 30s`, `500ms`; `0s` for none."""
    assert duration_ms >= 0, f"{duration_ms} ms is no duration"
    parts: list[str] = []
    for unit, length in _PRINTED:
        count, duration_ms = divmod(duration_ms, length)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"


def _of_words(written: str) -> Fraction:
    if written == "0":
        return Fraction(0)  # The one number that needs no unit.
    total, position = Fraction(0), 0
    while position < len(written):
        part = _PART.match(written, position)
        unit = _UNITS.get(part[2].lower()) if part else None
        if part is None or unit is None:
            raise ValueError(f"{written!r}: {EXPECTED}")
        total += Fraction(part[1]) * unit
        position = part.end()
    return total


def _of_iso(written: str) -> Fraction:
    found = _ISO.fullmatch(written)
    if found is None or written[-1] in "PpTt":
        raise ValueError(f"{written!r}: {EXPECTED}")
    return sum(
        (
            Fraction(amount.replace(",", ".")) * _UNITS[unit]
            for amount, unit in zip(found.groups(), _ISO_UNITS, strict=True)
            if amount is not None
        ),
        Fraction(0),
    )
