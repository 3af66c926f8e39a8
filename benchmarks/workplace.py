"""Where a benchmark works: a directory of its own, that is gone afterwards unless it is to stay."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def workplace(name: str, wanted: Path | None, *, keep: bool) -> Iterator[Path]:
    """The absolute path of `wanted`, or of a new directory. With `keep` it stays, and people are
    told where it is.
    """
    directory = (wanted or Path(tempfile.mkdtemp(prefix=f"{name}-benchmark-"))).absolute()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        yield directory
    finally:
        if keep:
            print(f"data kept in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
