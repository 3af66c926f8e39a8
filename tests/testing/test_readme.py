"""The README says how services are tested: what it shows is run, as a new user would."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.tidy.sources import ROOT

SECTION = re.compile(r"^## Testing your services\n(.*?)^## ", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"```python\n# ([a-z_]+\.py)\n(.*?)```", re.DOTALL)
WITHIN_S = 120
ALONE = ("-p", "no:hypothesispytest", "-p", "no:asyncio", "-p", "no:cacheprovider")
"""A new user has no other plugins."""


def run(directory: Path, *arguments: str) -> str:
    """Python in that directory; what it printed. It must succeed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_the_readme_shows(tmp_path: Path) -> None:
    """Goal: the first thing that users try works. How: its files, in an empty directory."""
    section = SECTION.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert section
    files = dict(FILE.findall(section[1]))
    assert list(files) == ["greeter.py", "test_greeter.py", "month.py"]
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    told = run(tmp_path, "-m", "pytest", "-q", *ALONE)
    assert "8 passed" in told
    assert run(tmp_path, "month.py") == "A month has passed, Ada\n"
