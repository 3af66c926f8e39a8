"""What a failure detector wants done; carried out by `cluster.membership`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from restate_node.types.gossip import Gossip, Leadership, NodeState
from restate_node.types.ids import GenerationalNodeId, PartitionId, PlainNodeId


@dataclass(frozen=True, slots=True)
class Send:
    """Tell these peers, one way."""

    peers: Sequence[PlainNodeId]
    gossip: Gossip


@dataclass(frozen=True, slots=True)
class Ask:
    """Tell these peers and feed their answer to `received`."""

    peers: Sequence[PlainNodeId]
    gossip: Gossip


@dataclass(frozen=True, slots=True)
class StatesChanged:
    """The state of every member, this node included; `alive` are the lives to count on."""

    states: Mapping[PlainNodeId, NodeState]
    alive: frozenset[GenerationalNodeId]


@dataclass(frozen=True, slots=True)
class LeadersChanged:
    """Every leadership that is known."""

    leaders: Mapping[PartitionId, Leadership]


Effect: TypeAlias = Send | Ask | StatesChanged | LeadersChanged
