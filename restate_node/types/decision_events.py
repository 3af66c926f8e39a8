"""Decisions of the control plane, kept so that an operator can ask why things are as they are.

Whoever decides keeps its own events, bounded, in memory: they explain the present, and what they
led to is in the metadata store anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

DECISION_EVENTS_MAX = 1000
"""Events that one decider keeps."""


@dataclass(frozen=True, slots=True)
class DecisionEvent:
    """One decision that took effect: what was known, what was decided, what else was possible."""

    at_ms: int
    decision: str
    reason: str
    inputs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    alternatives: tuple[str, ...] = ()
    """Each says why it was not taken."""
