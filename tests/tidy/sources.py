"""The project's own Python files, parsed once: what every rule of this directory looks at."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "restate_node"
GENERATED = ROOT / PACKAGE / "wire" / "pb"
TREES = (PACKAGE, "tests", "benchmarks", "protos")


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file that a person wrote."""

    path: str
    """Below the root, with slashes."""
    text: str
    tree: ast.Module

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @property
    def layer(self) -> str:
        """`protocol` for restate_node/protocol/raft/log.py; empty outside the package."""
        parts = self.path.split("/")
        return parts[1] if parts[0] == PACKAGE and len(parts) > 2 else ""

    def at(self, node: ast.AST) -> str:
        """Where a node of the tree stands, as editors understand it."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@cache
def everything() -> tuple[Source, ...]:
    """Every Python file of the project, without generated ones."""
    paths = (path for tree in TREES for path in sorted((ROOT / tree).rglob("*.py")))
    return tuple(_read(path) for path in paths if GENERATED not in path.parents)


def of_package(*layers: str) -> list[Source]:
    """The files of these layers; of the whole package when none is named."""
    mine = [source for source in everything() if source.path.startswith(f"{PACKAGE}/")]
    return [source for source in mine if not layers or source.layer in layers]


def imported(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every imported name in full: `random.Random` for `from random import Random`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def dotted(node: ast.AST) -> str:
    """`asyncio.create_task` for that expression; `?` stands for what is not a name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return "?"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _read(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    return Source(path.relative_to(ROOT).as_posix(), text, ast.parse(text))
