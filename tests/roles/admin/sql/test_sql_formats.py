"""Values as JSON: what Arrow's own writer, which Restate uses, makes of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sql_world import CapturedRows, Portions, engine_of, whole

from restate_node.roles.admin.sql.forms import Format
from restate_node.types.introspection import STATE

MOMENT = "arrow_cast({}, 'Timestamp(Millisecond, Some(\"+00:00\"))')"
DURATION = "arrow_cast({}, 'Duration(Millisecond)')"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (MOMENT.format(1), "1970-01-01T00:00:00.001Z"),
        (MOMENT.format(1000), "1970-01-01T00:00:01Z"),
        (MOMENT.format(1500), "1970-01-01T00:00:01.500Z"),
        ("arrow_cast(1500000, 'Timestamp(Microsecond, None)')", "1970-01-01T00:00:01.500"),
        ("to_timestamp('2024-01-01T00:00:00.123456789')", "2024-01-01T00:00:00.123456789"),
        ("arrow_cast(100, 'Timestamp(Second, None)')", "1970-01-01T00:01:40"),
        (DURATION.format(0), "P0D"),
        (DURATION.format(10), "PT0.01S"),
        (DURATION.format(5000), "PT5S"),
        (DURATION.format(-1500), "-PT1.5S"),
        (DURATION.format(90061001), "PT90061.001S"),
        ("arrow_cast(1, 'Duration(Nanosecond)')", "PT0.000000001S"),
        ("arrow_cast(1500, 'Duration(Second)')", "PT1500S"),
        ("interval '1 day'", "1 days"),
        ("interval '1 year 2 months 3 days 4 hours'", "14 mons 3 days 4 hours"),
        ("interval '5 milliseconds'", "0.005000000 secs"),
        ("date '2024-01-02'", "2024-01-02"),
        ("time '12:30:00'", "12:30:00"),
        ("x'ff00'", "ff00"),
        ("''", ""),
        ("'ü\x01\"/'", 'ü\x01"/'),
        ("18446744073709551615", 18446744073709551615),
        ("true", True),
        ("1.5", 1.5),
        ("cast(123456789.12 as decimal(20, 2))", 123456789.12),
        ("[1, 2]", [1, 2]),
        ("[null, 1]", [None, 1]),
        (f"[{MOMENT.format(1)}]", ["1970-01-01T00:00:00.001Z"]),
        ("named_struct('a', 1, 'b', null)", {"a": 1}),
        ("map(['a'], [1])", {"a": 1}),
    ],
)
async def test_values_are_written_as_restate_does(expression: str, value: Any) -> None:
    """Goal: clients that parse Restate's JSON parse this. How: table of captured answers."""
    answer = await whole(engine_of(CapturedRows()), f"select {expression} as x")
    assert json.loads(answer) == {"rows": [{"x": value}]}


async def test_null_is_left_out() -> None:
    """Goal: small answers; a client sees a missing column as null. How: a null and a value."""
    answer = await whole(engine_of(CapturedRows()), "select null as a, 1 as b")
    assert answer == b'{"rows":[{"b":1}]}'


async def test_answers_come_in_pieces() -> None:
    """Goal: large answers need no large memory, and are one document. How: portions one by one."""
    portion = [STATE.row({"key": "k"})] * 3
    engine = engine_of(Portions(portion, portion, portion))
    chunks = [chunk async for chunk in engine.query("select key from state", Format.JSON)]
    assert len(chunks) == 4
    assert json.loads(b"".join(chunks)) == {"rows": [{"key": "k"}] * 9}
