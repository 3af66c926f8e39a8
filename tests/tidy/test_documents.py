"""What the documents say can be done can be done: targets, modules, files, options."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from restate_node.ctl.app import build_app
from restate_node.runtime.tasks import TaskKind
from restate_node.types.options import NodeOptions
from restate_node.types.settings import walk
from tests.tidy.sources import ROOT

DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
COMMAND = re.compile(r"`[^`\n]*`|```(?:sh|console)\n.*?```", re.DOTALL)


def commands(document: str) -> str:
    """All that a document shows as code."""
    return "\n".join(COMMAND.findall((ROOT / document).read_text(encoding="utf-8")))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_targets_exist(document: str) -> None:
    """Goal: every `make x` works. How: targets named in the documents against the Makefile."""
    targets = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    assert set(re.findall(r"\bmake ([a-z][a-z-]*)", commands(document))) <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_exist(document: str) -> None:
    """Goal: every `python -m x` starts something. How: look for the modules."""
    named = set(re.findall(r"-m ((?:restate_node|benchmarks)[\w.]*)", commands(document)))
    assert [name for name in sorted(named) if not _can_start(name)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """Goal: no dead link inside the project. How: relative links and paths in code."""
    text = (ROOT / document).read_text(encoding="utf-8")
    links = set(re.findall(r"\]\((?!https?:|#)([^)#]+)", text))
    paths = set(re.findall(r"`((?:restate_node|tests|config|protos|benchmarks)/[\w./-]*)`", text))
    assert [name for name in sorted(links | paths) if not _exists(name)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_restatectl_knows_its_commands(document: str) -> None:
    """Goal: what is shown of restatectl exists. How: ask each shown command for its help."""
    lines = re.findall(r"restatectl ((?:[a-z][a-z-]* ?)+)", commands(document))
    unknown = [
        line
        for line in sorted(set(lines))
        if CliRunner().invoke(build_app(), [*line.split(), "--help"]).exit_code != 0
    ]
    assert unknown == []


def test_stages_are_those_of_the_task_center() -> None:
    """Goal: the order of shutdown in ARCHITECTURE.md is the one of the code. How: compare."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| (-?\d+) \| `([A-Z_]+)` \| ([a-z ]+?) \|", text, re.MULTILINE)
    kinds = [(str(kind.stage), kind.name, kind.on_failure.value) for kind in TaskKind]
    assert table == kinds


def test_every_option_is_described() -> None:
    """Goal: nobody has to read code to set an option. How: a sentence and a kind for each."""
    silent = [name for name, about, _ in walk(NodeOptions()) if not about.documentation.strip()]
    assert silent == []


def _can_start(module: str) -> bool:
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        return found is not None
    return find_spec(f"{module}.__main__") is not None


def _exists(name: str) -> bool:
    return (ROOT / name).exists() or Path(f"{ROOT / name}.py").exists()
