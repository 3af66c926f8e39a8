"""Reports: what a command found, as a JSON document and as text.

A command returns a `Report` and prints nothing itself, so every table can be checked without a
server or a terminal. Tables are plain: columns start at fixed offsets, two spaces apart, and are
named by their titles, so that `awk` and `column` users get what they see.

    NODE  GEN  NAME          a title line
    N1    6    node-1        rows, padded to the widest cell; no spaces at line ends

Colours are escape sequences around a cell's text; they never change its width and are left out
unless stdout is a terminal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"

_GAP = "  "
_RESET = "\x1b[0m"


class Style(Enum):
    """Escape sequences of the styles in use."""

    PLAIN = ""
    TITLE = "\x1b[1m"
    GOOD = "\x1b[32m"
    BAD = "\x1b[31m"
    WARNING = "\x1b[33m"


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text in one style."""

    text: str
    style: Style = Style.PLAIN


CellLike: TypeAlias = "Cell | str | int"


@dataclass(frozen=True, slots=True)
class Table:
    """Titles, and rows of the same length."""

    columns: tuple[str, ...]
    rows: tuple[tuple[CellLike, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row) == len(self.columns), f"{len(row)} cells for {self.columns}"


Block: TypeAlias = "Table | str"


@dataclass(frozen=True, slots=True)
class Report:
    """What a command found. Problems are printed one per line on stderr and make it fail."""

    document: Json
    blocks: tuple[Block, ...]
    problems: tuple[str, ...] = ()


def render_json(document: Json) -> str:
    """The document as indented JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def render(blocks: Sequence[Block], colour: bool = False) -> str:
    """Blocks as text; each ends its line."""
    return "".join(
        f"{block}\n" if isinstance(block, str) else render_table(block, colour) for block in blocks
    )


def render_table(table: Table, colour: bool = False) -> str:
    """One table as text."""
    titles = tuple(Cell(title, Style.TITLE) for title in table.columns)
    rows = [titles, *(tuple(_cell(value) for value in row) for row in table.rows)]
    widths = [max(len(row[index].text) for row in rows) for index in range(len(titles))]
    return "".join(_line(row, widths, colour) + "\n" for row in rows)


def size_text(size_bytes: int) -> str:
    """`707 B`, `2.1 KiB`."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def paint(cell: Cell, colour: bool) -> str:
    """The text of a cell, in its style if there are colours."""
    if not colour or cell.style is Style.PLAIN or not cell.text:
        return cell.text
    return f"{cell.style.value}{cell.text}{_RESET}"


def _cell(value: CellLike) -> Cell:
    return value if isinstance(value, Cell) else Cell(str(value))


def _line(row: tuple[Cell, ...], widths: list[int], colour: bool) -> str:
    pieces: list[str] = []
    pending = ""
    for cell, width in zip(row, widths, strict=True):
        if cell.text:
            pieces.append(pending + paint(cell, colour))
            pending = ""
        pending += " " * (width - len(cell.text)) + _GAP
    return "".join(pieces)
