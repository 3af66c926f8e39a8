"""Imports run down the layers, and the picture of the layers is the contract."""

from __future__ import annotations

import re
import tomllib

import pytest
from importlinter.cli import lint_imports

from tests.tidy.sources import PACKAGE, ROOT

PICTURE = re.compile(r"<!-- layers -->\s*```text\n(.*?)```", re.DOTALL)


def test_contracts_hold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """Goal: no import goes up or aside. How: import-linter on the contracts of pyproject.toml."""
    monkeypatch.chdir(ROOT)
    code = lint_imports(config_filename="pyproject.toml", no_cache=True)
    assert code == 0, capsys.readouterr().out


def test_picture_is_the_contract() -> None:
    """Goal: ARCHITECTURE.md does not drift. How: first column of its picture against the layers."""
    picture = PICTURE.search((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    assert picture
    drawn = [re.split(r"\s{2,}", line)[0] for line in picture[1].splitlines() if line[:1].isalpha()]
    assert drawn == _contract("layers")["layers"]


def test_every_package_has_its_layer() -> None:
    """Goal: no package stands outside. How: directories against the layers."""
    layers = {name for row in _contract("layers")["layers"] for name in row.split(" | ")}
    packages = {path.parent.name for path in (ROOT / PACKAGE).glob("*/__init__.py")}
    assert packages == layers


def _contract(wanted: str) -> dict[str, list[str]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    return next(contract for contract in contracts if contract["id"] == wanted)
