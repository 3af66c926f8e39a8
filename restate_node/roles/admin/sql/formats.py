"""Batches as the bytes that clients read: an Arrow IPC stream, or JSON.

    ff ff ff ff …                         schema, batches, end: what the command line reads
    {"rows":[{"id":"inv_1…",…},…]}        one object per row, without columns that are null

JSON follows Arrow's own writer, for clients parse it: `2026-11-25T22:19:42.680Z` with as many
digits as count, `PT86400S`, bytes in hexadecimal, null inside of lists only.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

import msgspec

from restate_node.roles.admin.sql.arrow import DataType, RecordBatch, pa
from restate_node.roles.admin.sql.forms import Format
from restate_node.roles.admin.sql.session import Answer

_EPOCH: Final = datetime(1970, 1, 1)
_DIGITS: Final = {"s": 0, "ms": 3, "us": 6, "ns": 9}

Convert = Callable[[Any], list[Any]]
"""The values of an array, ready for JSON."""


def encode(answer: Answer, form: Format) -> Iterator[bytes]:
    """The answer in pieces, the first of which comes when the first batch is there. An answer
    without batches is no error.
    """
    return _arrow(answer) if form is Format.ARROW else _json(answer)


# ---------------------------------------------------------------- Arrow


def _arrow(answer: Answer) -> Iterator[bytes]:
    batches = (batch for batch in answer.batches if batch.num_rows)
    first = next(batches, None)
    sink = _Sink()
    schema = answer.schema if first is None else first.schema
    with pa.ipc.new_stream(sink, schema) as writer:
        if first is not None:
            writer.write_batch(first)
            yield sink.taken()
        for batch in batches:
            writer.write_batch(batch)
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Collects what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._written += data
        return len(data)

    def taken(self) -> bytes:
        written, self._written = self._written, bytearray()
        return bytes(written)


# ---------------------------------------------------------------- JSON


def _json(answer: Answer) -> Iterator[bytes]:
    encoder = msgspec.json.Encoder()
    before = b'{"rows":['
    for batch in answer.batches:
        if batch.num_rows:
            yield before + b",".join(encoder.encode(row) for row in rows_of(batch))
            before = b","
    yield (before if before != b"," else b"") + b"]}"


def rows_of(batch: RecordBatch) -> Iterator[dict[str, Any]]:
    """Rows by the names of their columns, without nulls, as JSON has them."""
    names = batch.schema.names
    columns = [_converter(column.type)(column) for column in batch.columns]
    for values in zip(*columns, strict=True):
        yield {n: v for n, v in zip(names, values, strict=True) if v is not None}


def _converter(kind: DataType) -> Convert:
    types = pa.types
    if types.is_timestamp(kind):
        return _moments(kind.unit, "Z" if kind.tz else "")
    if types.is_duration(kind):
        return _durations(kind.unit)
    if types.is_interval(kind):
        return _intervals
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists
    if types.is_struct(kind):
        return _structs
    if types.is_map(kind):
        return _maps
    return _plain


def _plain(column: Any) -> list[Any]:
    return [_scalar(value) for value in column.to_pylist()]


def _scalar(value: Any) -> Any:
    match value:
        case bytes():
            return value.hex()
        case Decimal():
            return msgspec.Raw(str(value).encode())
        case None | bool() | int() | float() | str():
            return value
        case date() | time():
            return value.isoformat()
        case _:
            return str(value)


def _moments(unit: str, zone: str) -> Convert:
    digits = _DIGITS[unit]

    def convert(column: Any) -> list[Any]:
        return [_moment(v, digits, zone) for v in column.cast(pa.int64()).to_pylist()]

    return convert


def _moment(value: int | None, digits: int, zone: str) -> str | None:
    if value is None:
        return None
    seconds, fraction = divmod(value, 10**digits)
    try:
        moment = _EPOCH + timedelta(seconds=seconds)
    except OverflowError:  # beyond the year 9999
        return None
    return f"{moment.isoformat()}{_fraction(fraction, digits, groups=3)}{zone}"


def _durations(unit: str) -> Convert:
    digits = _DIGITS[unit]

    def convert(column: Any) -> list[Any]:
        return [_duration(v, digits) for v in column.cast(pa.int64()).to_pylist()]

    return convert


def _duration(value: int | None, digits: int) -> str | None:
    """ISO 8601, in seconds however long it is."""
    if not value:
        return None if value is None else "P0D"
    seconds, fraction = divmod(abs(value), 10**digits)
    return f"{'-' if value < 0 else ''}PT{seconds}{_fraction(fraction, digits, groups=1)}S"


def _intervals(column: Any) -> list[Any]:
    return [None if value is None else _interval(*value) for value in column.to_pylist()]


def _interval(months: int, days: int, nanoseconds: int) -> str:
    """`14 mons 3 days 4 hours`; an interval of nothing is `0 secs`."""
    sign = "-" if nanoseconds < 0 else ""
    seconds, rest = divmod(abs(nanoseconds), 10**9)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    parts = [f"{months} mons"] if months else []
    parts += [f"{days} days"] if days else []
    parts += [f"{sign}{hours} hours"] if hours else []
    parts += [f"{sign}{minutes} mins"] if minutes else []
    parts += [f"{sign}{seconds % 60}.{rest:09} secs"] if seconds % 60 or rest else []
    return " ".join(parts) or "0 secs"


def _fraction(fraction: int, digits: int, groups: int) -> str:
    """`.680`: nothing if it is zero, else as few groups of digits as tell it exactly."""
    if not fraction:
        return ""
    text = f"{fraction:0{digits}}"
    while text.endswith("0" * groups):
        text = text[:-groups]
    return f".{text}"


def _lists(column: Any) -> list[Any]:
    """Each list apart: long ones are rare."""
    convert = _converter(column.type.value_type)
    return [convert(scalar.values) if scalar.is_valid else None for scalar in column]


def _structs(column: Any) -> list[Any]:
    names = [field.name for field in column.type]
    fields = [_converter(field.type)(column.field(field.name)) for field in column.type]
    return [
        {n: v for n, v in zip(names, values, strict=True) if v is not None} if valid else None
        for valid, *values in zip(column.is_valid().to_pylist(), *fields, strict=True)
    ]


def _maps(column: Any) -> list[Any]:
    """As objects, with the texts of the keys."""
    keys, items = _converter(column.type.key_type), _converter(column.type.item_type)

    def entries(scalar: Any) -> dict[str, Any]:
        pairs = scalar.values
        return dict(zip(map(str, keys(pairs.field(0))), items(pairs.field(1)), strict=True))

    return [entries(scalar) if scalar.is_valid else None for scalar in column]
