"""What must not be in the tree: unfinished work, drawers for anything, files without a purpose."""

from __future__ import annotations

import ast
import re

from tests.tidy.sources import GENERATED, ROOT, everything, functions, of_package

DRAWERS = frozenset({"utils.py", "util.py", "helpers.py", "common.py", "misc.py"})
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|Not" r"ImplementedError)\b")
ONE_MACHINE = re.compile(r"/(wo" r"rk|ro" r"ot|ho" r"me|tm" r"p)/|\b(pk" r"ill|kill" r"all)\b")
WAY_OUT = re.compile(r"\btime\.sl" r"eep\(|pytest\.(mark\.)?(sk" r"ip|xf" r"ail)\b")
TEXTS = ("*.py", "*.md", "*.toml", "*.proto", "Makefile")
SKIPPED = frozenset({".venv", ".git", "node_modules", "build", "dist", "cluster-data"})


def places(pattern: re.Pattern[str]) -> list[str]:
    """Where the pattern occurs in what people wrote."""
    return [
        f"{path.relative_to(ROOT)}:{number}"
        for kind in TEXTS
        for path in sorted(ROOT.rglob(kind))
        if not SKIPPED.intersection(path.relative_to(ROOT).parts) and GENERATED not in path.parents
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def test_nothing_is_left_to_do() -> None:
    """Goal: missing is honest, half done is not. How: look for the words in every text."""
    assert places(UNFINISHED) == []


def test_nothing_belongs_to_one_machine() -> None:
    """Goal: the tree works anywhere. How: look for absolute paths, and for killing by name."""
    assert places(ONE_MACHINE) == []


def test_no_test_waits_or_gives_up() -> None:
    """Goal: tests are quick and count. How: look for blocking sleeps and skipped tests."""
    assert [place for place in places(WAY_OUT) if place.startswith("tests/")] == []


def test_no_drawers_for_anything() -> None:
    """Goal: every module is a noun. How: names of files."""
    assert [s.path for s in everything() if s.path.rsplit("/", 1)[-1] in DRAWERS] == []


def test_every_module_says_what_it_is() -> None:
    """Goal: a module starts with its purpose. How: docstring of every module that has code."""
    silent = [s.path for s in everything() if s.tree.body and not ast.get_docstring(s.tree)]
    assert silent == []


def test_every_test_says_its_goal_and_method() -> None:
    """Goal: a failure tells what is at stake. How: docstring of every test function."""
    silent = [
        f"{source.at(function)} {function.name}"
        for source in everything()
        if source.path.startswith("tests/") and source.path.rsplit("/", 1)[-1].startswith("test_")
        for function in functions(source.tree)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert silent == []


def test_no_function_only_pretends() -> None:
    """Goal: no stub outside a Protocol. How: bodies of nothing but `...` or `pass`."""
    hollow = [
        f"{source.at(function)} {function.name}"
        for source in of_package()
        for owner in ast.walk(source.tree)
        if not (isinstance(owner, ast.ClassDef) and _is_protocol(owner))
        for function in ast.iter_child_nodes(owner)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and _is_hollow(function)
    ]
    assert hollow == []


def _is_protocol(owner: ast.ClassDef) -> bool:
    return any("Protocol" in ast.unparse(base) for base in owner.bases)


def _is_hollow(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A deliberate nothing says so in its docstring; an overload and an abstract method may."""
    marks = {ast.unparse(mark).rsplit(".", 1)[-1] for mark in function.decorator_list}
    only = function.body[-1]
    empty = isinstance(only, ast.Pass) or ast.unparse(only) == "..."
    return len(function.body) == 1 and empty and not marks & {"overload", "abstractmethod"}
