"""Reads what restatectl prints for people: lines of columns under a line of titles.

    NODE  GEN  NAME    ADDRESS                 ROLES
    N1    6    node-1  http://127.0.0.1:5122/  admin | worker

Columns are told apart by two blanks or more, as on the operations page; a cell is never empty.
"""

from __future__ import annotations

import re

COLUMN = re.compile(r"\s{2,}")


def table(text: str, titles: str) -> list[dict[str, str]]:
    """The rows below exactly these titles, up to the next empty line; the titles must be there."""
    wanted = COLUMN.split(titles.strip())
    lines = [COLUMN.split(line.strip()) for line in text.splitlines()]
    assert wanted in lines, f"no line {titles!r} in:\n{text}"
    rows: list[dict[str, str]] = []
    for cells in lines[lines.index(wanted) + 1 :]:
        if cells == [""]:
            break
        assert len(cells) == len(wanted), f"{cells} under {wanted} in:\n{text}"
        rows.append(dict(zip(wanted, cells, strict=True)))
    return rows


def members(nodeset: str) -> set[str]:
    """`[N1, N2]` as a set."""
    assert re.fullmatch(r"\[N\d+(, N\d+)*\]", nodeset), nodeset
    return set(nodeset[1:-1].split(", "))
