"""Nothing grows beyond what one can hold in mind: files, functions, lines, nesting."""

from __future__ import annotations

import ast
import re

from tests.tidy.sources import everything, functions, of_package

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LINE_CHARACTERS_MAX = 100
NESTING_MAX = 4
"""Aim for three; the fourth is for a `match` or an `async with` that cannot be lifted out."""

COMPOUND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)
FOR_THE_TYPE_CHECKER = re.compile(r"\s+# (type|pyright): ignore.*")


def depth(node: ast.AST) -> int:
    """Compound statements around the deepest statement; `elif` adds none, nor a function within."""
    children = ast.iter_child_nodes(node)
    within = [c for c in children if not isinstance(c, ast.FunctionDef | ast.AsyncFunctionDef)]
    if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        below = [depth(child) for child in within if child is not node.orelse[0]]
        return max(1 + max(below, default=0), depth(node.orelse[0]))
    deepest = max((depth(child) for child in within), default=0)
    return deepest + isinstance(node, COMPOUND)


def test_files_are_short() -> None:
    """Goal: a file has one noun. How: count lines."""
    long = [f"{s.path}: {len(s.lines)}" for s in everything() if len(s.lines) > FILE_LINES_MAX]
    assert long == []


def test_functions_are_short() -> None:
    """Goal: a function fits a screen. How: count lines from `def` to the end."""
    long = [
        f"{source.at(function)} {function.name}"
        for source in everything()
        for function in functions(source.tree)
        if (function.end_lineno or 0) - function.lineno >= FUNCTION_LINES_MAX
    ]
    assert long == []


def test_lines_are_short() -> None:
    """Goal: two files side by side. How: count characters, less what the type checker is told."""
    long = [
        f"{source.path}:{number}"
        for source in everything()
        for number, line in enumerate(source.lines, 1)
        if len(FOR_THE_TYPE_CHECKER.sub("", line)) > LINE_CHARACTERS_MAX
    ]
    assert long == []


def test_nesting_is_shallow() -> None:
    """Goal: branches above, computation below. How: count compound statements around statements."""
    deep = [
        f"{source.at(function)} {function.name}: {depth(function)}"
        for source in of_package()
        for function in functions(source.tree)
        if depth(function) > NESTING_MAX
    ]
    assert deep == []


def test_depth_counts_as_people_do() -> None:
    """Goal: the rule has teeth, and `elif` is no deeper than `if`. How: two small functions."""
    chain = "def f():\n    if a: x\n    elif b: y\n    else: z\n"
    nest = "def f():\n    for a in b:\n        if a:\n            with c: d\n"
    assert [depth(next(functions(ast.parse(text)))) for text in (chain, nest)] == [1, 3]
