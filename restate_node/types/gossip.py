"""What nodes tell each other, all the time, about who is up and who leads.

A *life* of a node is its generation and the instant its process started; a *beat* is a number that
the node raises every tick of that life. The triple (generation, start, beat) only ever grows, so
two views of a node merge by taking the greater one, whatever the order, the detours or the delay of
the messages. An age ("heard 300 ms ago") would do for one hop and lie after several: every hop
leaves out the time that the message was under way.
"""

from __future__ import annotations

from enum import Enum, IntEnum

import msgspec

from restate_node.types.ids import GenerationalNodeId, LeaderEpoch, PartitionId


class NodeState(Enum):
    """What one node thinks of another."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    """Not heard of yet, not ready yet, or back from the dead and on probation: no new work."""
    DEAD = "dead"
    FAILING_OVER = "failing-over"
    """Still answers but is about to leave: as good as dead for placement."""


class Phase(IntEnum):
    """How far a life has come, in its own words; it never goes back."""

    STARTING = 1
    READY = 2
    FAILING_OVER = 3


class _Message(msgspec.Struct, frozen=True, array_like=True):
    """Base of all messages here; new fields are appended with a default."""


class Beat(_Message, frozen=True):
    """The newest that is known of a node; its process started at `instance_ts`, in unix ms."""

    node: GenerationalNodeId
    instance_ts: int
    beat: int
    phase: Phase


class Leadership(_Message, frozen=True):
    """Who leads a partition since that epoch; a higher epoch replaces a lower one."""

    partition: PartitionId
    epoch: LeaderEpoch
    node: GenerationalNodeId


class Gossip(_Message, frozen=True):
    """One-way. What the sender knows, its own beat first; `leaderships` are news or a part of all.

    `lonely`: the sender hears nobody, so it has stopped beating; it proves one direction only.
    """

    sender: Beat
    sent_at_ms: int
    lonely: bool
    nodes: tuple[Beat, ...]
    leaderships: tuple[Leadership, ...] = ()


class AskGossip(_Message, frozen=True):
    """Here is mine, tell me yours. Answered with a Gossip; how a node gets its first view."""

    gossip: Gossip
