"""How many copies of a thing exist, and across how many places they must be spread.

A replication property names one or more *scopes* and, for each, how many distinct failure domains
of that scope hold a copy: `{node: 3, zone: 2}` is three nodes in at least two zones. A plain `2`
means `{node: 2}`.

Invariants: at least one scope; every factor in 1..255; a larger scope never asks for more domains
than a smaller one, because every zone that holds a copy holds it on a node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise


class LocationScope(Enum):
    """The kinds of failure domain, from the smallest to the largest."""

    NODE = "node"
    ZONE = "zone"
    REGION = "region"


FACTOR_MAX = 255
"""Copies or domains that one scope can ask for."""

_ENTRY = re.compile(r"\s*([A-Za-z]+)\s*:\s*([0-9]{1,9})\s*")
_EXPECTED = "write a number such as 2, or scopes such as {node: 3, zone: 2}"


@dataclass(frozen=True, slots=True)
class ReplicationProperty:
    """Factors by scope, ordered from the smallest scope to the largest."""

    factors: tuple[tuple[LocationScope, int], ...]

    def __post_init__(self) -> None:
        if not self.factors:
            raise ValueError(f"a replication property needs at least one scope; {_EXPECTED}")
        if [scope for scope, _ in self.factors] != [s for s in LocationScope if s in self.scopes]:
            raise ValueError(f"replication scopes must be unique and ordered; {_EXPECTED}")
        for scope, factor in self.factors:
            _check_factor(scope, factor)
        for (small, few), (large, many) in pairwise(self.factors):
            if many > few:
                raise ValueError(
                    f"replication asks for {many} {large.value}s but only {few} {small.value}s; "
                    f"lower {large.value} to at most {few}"
                )

    @staticmethod
    def of(factors: Mapping[LocationScope, int]) -> ReplicationProperty:
        """From a mapping in any order; ValueError says which rule is broken."""
        return ReplicationProperty(tuple((s, factors[s]) for s in LocationScope if s in factors))

    @staticmethod
    def of_nodes(copies: int) -> ReplicationProperty:
        """So many copies, each on a node of its own, anywhere."""
        return ReplicationProperty(((LocationScope.NODE, copies),))

    @staticmethod
    def parse(text: str) -> ReplicationProperty:
        """`2` or `{zone: 2, node: 3}` in any case and order; ValueError says what is wrong."""
        stripped = text.strip()
        if stripped.isascii() and stripped.isdecimal() and len(stripped) <= 9:
            return ReplicationProperty.of_nodes(int(stripped))
        if not (stripped.startswith("{") and stripped.endswith("}")):
            raise ValueError(f"{text!r} is not a replication property; {_EXPECTED}")
        return ReplicationProperty.of(_parse_entries(text, stripped[1:-1]))

    @property
    def scopes(self) -> frozenset[LocationScope]:
        """The scopes that are named."""
        return frozenset(scope for scope, _ in self.factors)

    @property
    def copies(self) -> int:
        """Copies in all: the factor of the smallest named scope."""
        return self.factors[0][1]

    def factor(self, scope: LocationScope) -> int | None:
        """Domains asked for at `scope`; for nodes always the number of copies."""
        if scope is LocationScope.NODE:
            return self.copies
        return dict(self.factors).get(scope)

    def __str__(self) -> str:
        return "{" + ", ".join(f"{scope.value}: {factor}" for scope, factor in self.factors) + "}"


def _check_factor(scope: LocationScope, factor: int) -> None:
    if not 1 <= factor <= FACTOR_MAX:
        raise ValueError(f"replication factor of {scope.value} is {factor}; use 1 to {FACTOR_MAX}")


def _parse_entries(text: str, inside: str) -> dict[LocationScope, int]:
    factors: dict[LocationScope, int] = {}
    for entry in inside.split(","):
        matched = _ENTRY.fullmatch(entry)
        if matched is None:
            raise ValueError(f"{text!r} is not a replication property; {_EXPECTED}")
        scope = _parse_scope(matched[1])
        if scope in factors:
            raise ValueError(f"{text!r} names {scope.value} twice; name each scope once")
        factors[scope] = int(matched[2])
    return factors


def _parse_scope(name: str) -> LocationScope:
    try:
        return LocationScope(name.lower())
    except ValueError:
        raise ValueError(f"{name!r} is not a scope; use node, zone or region") from None
