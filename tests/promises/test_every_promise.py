"""The twenty promises of the operations page have a scenario each, named by it."""

from __future__ import annotations

import re
from pathlib import Path

PROMISES = 20


def test_every_promise_has_a_scenario() -> None:
    """Goal: none is forgotten. How: the names of the tests beside this one."""
    here = Path(__file__).parent
    texts = [path.read_text("utf-8") for path in sorted(here.glob("test_o*.py"))]
    named = {int(number) for text in texts for number in re.findall(r"def test_o(\d+)_", text)}
    assert named == set(range(1, PROMISES + 1))
