"""A bug on purpose: what `plants` and its sisters are made of."""

from __future__ import annotations

from dataclasses import dataclass

from restate_node.sim.substitution import Substitution


@dataclass(frozen=True, slots=True)
class Plant:
    """A bug: what is done wrong, and what of it should show."""

    name: str
    mistake: str
    substitutions: tuple[Substitution, ...]
