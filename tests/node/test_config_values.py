"""Values of a configuration: durations, sizes, lists, and back to text."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restate_node.node.config_values import (
    duration_text,
    parse,
    parse_duration,
    parse_size,
    render,
    size_text,
)
from restate_node.types.settings import DurationRange, Kind, of_kind


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("0s", 0),
        ("100ms", 100),
        ("5s", 5000),
        ("1s 500ms", 1500),
        ("1m", 60_000),
        ("1h 30m", 5_400_000),
        ("1d", 86_400_000),
        ("1.5s", 1500),
        ("2 minutes", 120_000),
        ("3000us", 3),
    ],
)
def test_durations(text: str, expected_ms: int) -> None:
    """Goal: humane durations. How: a table."""
    assert parse_duration(text) == expected_ms


@pytest.mark.parametrize("raw", ["", "5", "s", "5 s x", "-5s", "5fortnights", "100us", 5, None])
def test_bad_durations(raw: object) -> None:
    """Goal: nothing is guessed. How: no unit, wrong unit, negative, too fine, not text."""
    with pytest.raises(ValueError, match="write a duration"):
        parse_duration(raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("32MiB", 33_554_432),
        ("32.0 MiB", 33_554_432),
        ("64 KiB", 65_536),
        ("1.5GiB", 1_610_612_736),
        ("1MB", 1_000_000),
        ("512", 512),
        ("512B", 512),
        (512, 512),
    ],
)
def test_sizes(raw: object, expected: int) -> None:
    """Goal: humane sizes, Restate's spelling included. How: a table."""
    assert parse_size(raw) == expected


@pytest.mark.parametrize("raw", ["", "MiB", "-1MiB", "3 apples", True, 1.5])
def test_bad_sizes(raw: object) -> None:
    """Goal: nothing is guessed. How: a table."""
    with pytest.raises(ValueError, match="write a size"):
        parse_size(raw)


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        (Kind.TEXTS, ["a", "b"], ("a", "b")),
        (Kind.TEXTS, '["a", "b"]', ("a", "b")),
        (Kind.TEXTS, "[a, b]", ("a", "b")),
        (Kind.TEXTS, "a,b", ("a", "b")),
        (Kind.TEXTS, "", ()),
        (Kind.URLS, "http://a:1,http://b:2/", ("http://a:1/", "http://b:2/")),
        (Kind.URL, "unix:data/fabric.sock", "unix:data/fabric.sock"),
        (Kind.FLAG, "TRUE", True),
        (Kind.COUNT, "7", 7),
        (Kind.RATIO, "0.5", 0.5),
        (Kind.RATIO, 2, 2.0),
        (Kind.ADDRESS, "[::1]:5122", "[::1]:5122"),
        (Kind.DURATION_RANGE, "250ms..1m", DurationRange(250, 60_000)),
    ],
)
def test_other_kinds(kind: Kind, raw: object, expected: object) -> None:
    """Goal: every kind also takes text, as variables give it. How: a table."""
    assert parse(of_kind(kind, "."), raw) == expected


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        (Kind.TEXTS, [1]),
        (Kind.TEXTS, 1),
        (Kind.URL, "ftp://a"),
        (Kind.URL, "http://a:b"),
        (Kind.ADDRESS, "a:70000"),
        (Kind.DURATION_RANGE, "1s"),
        (Kind.REPLICATION, True),
    ],
)
def test_other_refusals(kind: Kind, raw: Any) -> None:
    """Goal: nonsense is refused. How: a table."""
    with pytest.raises(ValueError):
        parse(of_kind(kind, "."), raw)


@given(st.integers(0, 10**12))
def test_numbers_survive_their_text(number: int) -> None:
    """Goal: text loses nothing. How: any duration and size, written and read."""
    assert parse_duration(duration_text(number)) == number
    assert parse_size(size_text(number)) == number


@given(st.text())
def test_text_survives_toml(text: str) -> None:
    """Goal: any text can be quoted. How: write it as TOML, read it with the TOML parser."""
    import tomllib

    assert tomllib.loads(f"key = {render(of_kind(Kind.TEXT, '.'), text)}")["key"] == text
