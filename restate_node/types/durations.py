"""Durations as users of the HTTP APIs write and read them.

    2s · 1m 30s · 1h30m · 500ms · 2 days     read and printed by the admin API and metadata
    PT0.5S · P1DT2H · 00:00:02 · 1d 06:00:00 · 0     read as well

Words are in lower case and go from large to small, each at most once; a fraction is the last part,
and days and weeks have none. It is the notation that Restate's tools read, no more and no less: a
client that is tested against one server must not surprise with the other.

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
_PART = re.compile(r"([0-9]{1,18})([.,][0-9]{1,9})?\s*([a-zµ]+)(?:,\s+|\s*)")
_CLOCK = re.compile(r"([0-9]{1,18}):([0-9]{1,18}):([0-9]{1,18}(?:[.,][0-9]{1,9})?)\s*")
_WHOLE, _NUMBER = r"([0-9]{1,18})", r"([0-9]{1,18}(?:[.,][0-9]{1,9})?)"
_ISO = re.compile(
    rf"\+?P(?:{_WHOLE}W)?(?:{_WHOLE}D)?(?:T(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?",
    re.IGNORECASE,
)
_ISO_UNITS = ("w", "d", "h", "m", "s")
_PRINTED = (("d", _DAY_MS), ("h", _HOUR_MS), ("m", _MINUTE_MS), ("s", _SECOND_MS), ("ms", 1))


@lru_cache(maxsize=PARSED_MAX)
def parse_duration_ms(text: str) -> int:
    """Either notation; ValueError says what was expected. Clients send the same few."""
    if not text or len(text) > TEXT_CHARACTERS_MAX:
        raise ValueError(EXPECTED)
    if text == "0":
        return 0
    exact = _of_iso(text) if text.lstrip("+")[:1] in ("P", "p") else _of_words(text)
    if exact is None:
        raise ValueError(f"{text!r}: {EXPECTED}")
    whole = -int(-exact // 1)
    if whole > DURATION_MS_MAX:
        raise ValueError(f"{text!r} is longer than 285,000 years")
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


def _of_words(written: str) -> Fraction | None:
    total, position, above = Fraction(0), 0, Fraction(8 * _DAY_MS)
    while position < len(written):
        clock = _CLOCK.fullmatch(written, position)
        if clock is not None:
            hours = _of_parts(clock.groups(), _ISO_UNITS[2:])
            return total + hours if above >= _DAY_MS else None
        part = _PART.match(written, position)
        unit = _UNITS.get(part[3]) if part else None
        if part is None or unit is None or unit >= above:
            return None
        position, above = part.end(), unit
        if part[2] is not None and (position < len(written) or unit >= _DAY_MS):
            return None
        total += _number(part[1] + (part[2] or "")) * unit
    return total


def _of_iso(written: str) -> Fraction | None:
    found = _ISO.fullmatch(written)
    if found is None or written[-1] in "PpTt":
        return None
    given = [amount for amount in found.groups() if amount is not None]
    if not all(amount.isdigit() for amount in given[:-1]):
        return None
    return _of_parts(found.groups(), _ISO_UNITS)


def _of_parts(amounts: tuple[str | None, ...], units: tuple[str, ...]) -> Fraction:
    return sum(
        (
            _number(amount) * _UNITS[unit]
            for amount, unit in zip(amounts, units, strict=True)
            if amount is not None
        ),
        Fraction(0),
    )


def _number(text: str) -> Fraction:
    return Fraction(text.replace(",", "."))
