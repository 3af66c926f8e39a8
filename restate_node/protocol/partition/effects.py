"""What happened when records were applied, for those who act on it: leadership, replies, logs.

Effects are consequences, not state: a replica that crashes between the transaction and its effects
loses nothing, since whatever must survive is in the tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from restate_node.types.ids import GenerationalNodeId, LeaderEpoch
from restate_node.types.offsets import Lsn


@dataclass(frozen=True, slots=True)
class LeaderAnnounced:
    """A new leader, of an epoch above all before."""

    node: GenerationalNodeId
    epoch: LeaderEpoch


@dataclass(frozen=True, slots=True)
class StatePatched:
    """The state of an object was replaced."""

    service: str
    key: str


@dataclass(frozen=True, slots=True)
class PatchRejected:
    """The state of an object was not replaced: it has another version than expected."""

    service: str
    key: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class DurabilityAdvanced:
    """Records up to the point are safe without the log, since that time."""

    point: Lsn
    unix_ms: int


Effect: TypeAlias = LeaderAnnounced | StatePatched | PatchRejected | DurabilityAdvanced
