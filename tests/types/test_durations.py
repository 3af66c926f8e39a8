"""Durations of users: both notations, rounding, refusals, printing."""

from __future__ import annotations

import pytest

from restate_node.types.durations import duration_text, parse_duration_ms


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("2s", 2_000),
        ("500ms", 500),
        ("1m 30s", 90_000),
        ("1h30m", 5_400_000),
        ("1 day, 2 hours", 93_600_000),
        ("0.5 sec", 500),
        ("1us", 1),
        ("10 milliseconds", 10),
        ("0s", 0),
        ("PT0.5S", 500),
        ("pt10s", 10_000),
        ("P1DT2H3M", 93_780_000),
        ("P1W", 604_800_000),
        ("PT0,25S", 250),
        ("PT1H1.5M", 3_690_000),
        ("+PT1S", 1_000),
        ("0", 0),
        ("1h  2m ", 3_720_000),
        ("1,5s", 1_500),
        ("1h 1.5m", 3_690_000),
        ("01:02:03.5", 3_723_500),
        ("1d 01:00:00", 90_000_000),
        ("1:60:00", 7_200_000),
        ("1hr 2 mins 3 secs 4ms 5us 6ns", 3_723_005),
    ],
)
def test_durations_are_read(text: str, expected_ms: int) -> None:
    """Goal: what the reference reads. Method: table."""
    assert parse_duration_ms(text) == expected_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "xx",
        "5",
        "0 0",
        "-1s",
        "1 parsec",
        "P",
        "PT",
        "P1Y",
        "1s x",
        "s",
        "999999999999999999w",
        "00",
        "0.0",
        " 1s",
        "1S",
        "1 Sec",
        "1s1s",
        "30s1m",
        "1h,2m",
        "1h ,2m",
        "1h 00:00:01",
        "1:00",
        "1.5h 2m",
        "1.5d",
        "0.5w",
        "P0.5D",
        "P1DT",
        "PT1.5H1M",
        "1e3s",
        "1_000s",
        "1s ago",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Goal: a ValueError, whatever is written. Method: table."""
    with pytest.raises(ValueError):
        parse_duration_ms(text)


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [(0, "0s"), (86_400_000, "1d"), (64_000, "1m 4s"), (20_001, "20s 1ms"), (7_200_000, "2h")],
)
def test_durations_are_printed_and_read_back(duration_ms: int, text: str) -> None:
    """Goal: the reference's spelling, and no loss."""
    assert duration_text(duration_ms) == text
    assert parse_duration_ms(text) == duration_ms
