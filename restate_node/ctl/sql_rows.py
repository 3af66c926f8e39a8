"""The answer of a query, from Arrow to what people and programs read.

    pieces of an Arrow IPC stream ─▶ columns and rows ─▶ a table, or JSON without nulls

pyarrow is loaded here and nowhere else in this tool, by the one command that needs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pyarrow as _pyarrow  # pyright: ignore[reportMissingTypeStubs]

from restate_node.ctl.errors import CtlError
from restate_node.ctl.render import Json, Table

_pa: Any = _pyarrow


@dataclass(frozen=True, slots=True)
class Answer:
    """Values as JSON has them; None where there is none."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Json, ...], ...]

    def table(self) -> Table:
        """For people: titles in capitals, nothing where there is no value."""
        titles = tuple(name.upper() for name in self.columns)
        return Table(titles, tuple(tuple(_text(v) for v in row) for row in self.rows))

    def objects(self) -> list[dict[str, Json]]:
        """For programs: an object per row."""
        return [
            {name: v for name, v in zip(self.columns, row, strict=True) if v is not None}
            for row in self.rows
        ]


def read_answer(pieces: Iterable[bytes]) -> Answer:
    """From the pieces of one stream; CtlError if they are none."""
    stream = b"".join(pieces)
    if not stream:
        return Answer((), ())
    try:
        table = _pa.ipc.open_stream(stream).read_all()
        columns = [[_json(value) for value in column.to_pylist()] for column in table.columns]
    except (_pa.ArrowException, ValueError) as error:
        raise CtlError(f"the answer is no readable Arrow stream: {error}") from None
    rows = tuple(zip(*columns, strict=True)) if columns else ()
    return Answer(tuple(table.schema.names), rows)


def _json(value: Any) -> Json:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            zone = "Z" if value.tzinfo else ""
            return moment.isoformat(timespec="milliseconds") + zone
        case timedelta():
            return f"PT{value.total_seconds():g}S"
        case bytes():
            return value.hex()
        case list():
            return [_json(item) for item in cast("list[Any]", value)]
        case _:
            return str(value)


def _text(value: Json) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(_text(item) for item in value)}]"
        case _:
            return str(value)
