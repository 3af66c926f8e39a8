"""Where decisions are made nothing is ambient: no clock, no dice, no loop, no disk, no log."""

from __future__ import annotations

import ast

import pytest

from tests.tidy.sources import Source, imported, of_package

PURE_LAYERS = ("types", "wire", "protocol")
BANNED = frozenset(
    {
        "asyncio",
        "concurrent",
        "contextvars",
        "logging",
        "multiprocessing",
        "os",
        "queue",
        "random",
        "secrets",
        "select",
        "selectors",
        "signal",
        "socket",
        "ssl",
        "structlog",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "uuid",
    }
)
ALLOWED = frozenset({"random.Random"})
"""The class, as the type of an argument: whoever calls brings the dice."""

AWAITING = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)


def impurities(source: Source) -> list[str]:
    """What a pure module must not contain, each with its place."""
    found = [
        f"{source.at(node)} imports {name}"
        for node, name in imported(source.tree)
        if name.split(".")[0] in BANNED and name not in ALLOWED
    ]
    found += [
        f"{source.at(node)} makes dice of its own"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Random")
    ]
    return found + [
        f"{source.at(node)} waits" for node in ast.walk(source.tree) if isinstance(node, AWAITING)
    ]


@pytest.mark.parametrize("layer", PURE_LAYERS)
def test_pure_layers_touch_nothing(layer: str) -> None:
    """Goal: decisions can be tested in tables. How: imports, calls and awaits of every module."""
    sources = of_package(layer)
    assert sources
    assert [line for source in sources for line in impurities(source)] == []


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio",
        "from time import monotonic",
        "import random",
        "from random import choice",
        "from os.path import join",
        "async def wait(): ...",
        "from random import Random\ndice = Random(1)",
    ],
)
def test_the_rule_notices(text: str) -> None:
    """Goal: the rule has teeth. How: one small sin each."""
    assert len(impurities(Source("sin.py", text, ast.parse(text)))) == 1


def test_the_rule_lets_dice_be_an_argument() -> None:
    """Goal: `rng: Random` stays possible. How: the import that a type needs."""
    text = "from random import Random\ndef draw(rng: Random) -> float:\n    return rng.random()\n"
    assert impurities(Source("fine.py", text, ast.parse(text))) == []
