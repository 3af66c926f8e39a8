"""What a filter says about the columns that tell where rows are.

DataFusion hands each scan the part of the `where` that it must apply, as an Arrow expression, which
cannot be taken apart from outside. So we guess and let Arrow prove:

    filter         (id == "a" or id == "b") and n > 1
    guess          every text in it: a, b
    proof          a row whose id is below a, between a and b, above b or null never passes

Arrow proves it as it leaves out files of a partitioned data set: by simplifying the filter with
what is known of a file. A guess that cannot be proved (`id = 'a' or n = 3`) restricts nothing, and
since the filter is applied to all rows anyway, too weak a restriction costs time only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from restate_node.roles.admin.sql.arrow import DataType, Expression, Schema, ds, fs, pa, pc
from restate_node.roles.admin.sql.sources import Restriction
from restate_node.types.introspection import Table

VALUES_MAX: Final = 128
"""More values than these are not worth looking up one by one."""

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")


def restriction_of(table: Table, schema: Schema, expression: Expression) -> Restriction:
    """What the filter of a scan leaves over; `expression` None filters nothing."""
    if expression is None:
        return Restriction()
    text = str(expression)
    texts = sorted({t for match in _TEXT.findall(text) if (t := _unquoted(match)) is not None})
    numbers = sorted({int(number) for number in _NUMBER.findall(_TEXT.sub("", text))})

    def proved(column: str | None, guesses: Sequence[Any]) -> frozenset[Any] | None:
        if column is None or column not in text:
            return None
        return _proved(expression, schema, column, guesses)

    return Restriction(
        ids=proved(table.id_column, texts),
        services=proved(table.service_column, texts),
        keys=proved(table.key_column, texts),
        partition_keys=proved(table.partition_key_column, numbers),
    )


def _proved(
    expression: Expression, schema: Schema, column: str, guesses: Sequence[Any]
) -> frozenset[Any] | None:
    """The guesses that can pass, if nothing else can."""
    kind = schema.field(column).type
    fitting = [guess for guess in guesses if _fits(guess, kind)]
    if not 0 < len(fitting) <= VALUES_MAX:
        return None
    scalars = [pa.scalar(guess, kind) for guess in fitting]
    field = pc.field(column)
    elsewhere = [
        field < scalars[0],
        field > scalars[-1],
        field.is_null(),
        *((field > below) & (field < above) for below, above in pairwise(scalars)),
    ]
    if _satisfiable(expression, schema, elsewhere):
        return None
    possible = _satisfiable(expression, schema, [field == scalar for scalar in scalars])
    return frozenset(fitting[at] for at in possible)


def _satisfiable(expression: Expression, schema: Schema, cases: Sequence[Any]) -> list[int]:
    """The cases that the expression does not rule out: each is a file of which that is known."""
    files = ds.FileSystemDataset.from_paths(
        [str(at) for at in range(len(cases))],
        schema=schema,
        format=ds.IpcFileFormat(),
        filesystem=fs.LocalFileSystem(),
        partitions=list(cases),
    )  # no file is opened: there are none
    return [int(fragment.path) for fragment in files.get_fragments(filter=expression)]


def _fits(guess: Any, kind: DataType) -> bool:
    return not pa.types.is_uint64(kind) or guess < 1 << 64


def _unquoted(literal: str) -> str | None:
    """A literal as Arrow prints it; None if that is not understood."""
    try:
        return json.loads(literal, strict=False)
    except ValueError:
        return None
