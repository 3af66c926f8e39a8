"""Replaces functions of the product for the time of a run: by ones that also tell the history
(`probes`), or by ones with a bug in them (`plants`).

The product stays free of hooks and of branches that only exist for tests. What is replaced is named
in one place, and everything is put back, whatever happened.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Substitution:
    """`make` is given the function that `owner` has under `name`, and returns the other one."""

    owner: Any
    name: str
    make: Callable[[Any], Any]


@contextmanager
def substituted(substitutions: Iterable[Substitution]) -> Generator[None]:
    """Within the block the substitutes are in place, the later ones around the earlier ones."""
    former: list[tuple[Any, str, Any]] = []
    try:
        for substitution in substitutions:
            present = getattr(substitution.owner, substitution.name)
            former.append((substitution.owner, substitution.name, present))
            setattr(substitution.owner, substitution.name, substitution.make(present))
        yield
    finally:
        for owner, name, present in reversed(former):
            setattr(owner, name, present)
