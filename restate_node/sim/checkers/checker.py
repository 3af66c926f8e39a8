"""A checker: one invariant in words, and a function that finds where a history breaks it.

A checker reads events and nothing else. It knows no class of the product, so that a
misunderstanding cannot be on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from restate_node.sim.history import History

VIOLATIONS_SHOWN_MAX = 5


@dataclass(frozen=True, slots=True)
class Checker:
    """An invariant and the search for its violations, each one a sentence with the evidence."""

    name: str
    invariant: str
    find: Callable[[History], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Violation:
    """A history that breaks an invariant."""

    name: str
    invariant: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.name} violated: {self.invariant}\n    {self.evidence}"


def violations(checkers: Iterable[Checker], history: History) -> list[Violation]:
    """The first violations of each checker."""
    found: list[Violation] = []
    for checker in checkers:
        shown = islice(checker.find(history), VIOLATIONS_SHOWN_MAX)
        found.extend(Violation(checker.name, checker.invariant, text) for text in shown)
    return found
