"""Who is who: nodes, logs, loglets, partitions, and the versions and epochs that order them.

A *plain* node id (`N1`) names a member for ever; a *generational* id (`N1:6`) names one of its
lives, so that a message of a former life can be refused. A loglet id packs the log id and the
segment index that it was created for; its text form is `<log>_<segment>`.

Plain integers would do for all of these, and would let a log id be passed for a partition id.
`NewType` costs nothing at run time and makes that a type error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType

PlainNodeId = NewType("PlainNodeId", int)
LogId = NewType("LogId", int)
PartitionId = NewType("PartitionId", int)
SegmentIndex = NewType("SegmentIndex", int)
LogletId = NewType("LogletId", int)
LeaderEpoch = NewType("LeaderEpoch", int)
Version = NewType("Version", int)

INVALID_VERSION = Version(0)
"""An object that does not exist yet; the first real version is 1."""

_NODE_ID = re.compile(r"N?(\d{1,9})(?::(\d{1,9}))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class GenerationalNodeId:
    """One life of a node. Ordered by id, then generation."""

    id: PlainNodeId
    generation: int

    def __str__(self) -> str:
        return f"N{self.id}:{self.generation}"

    @staticmethod
    def parse(text: str) -> GenerationalNodeId:
        """`N1:6` or `1:6`; ValueError says what was expected."""
        matched = _NODE_ID.fullmatch(text.strip())
        if matched is None or matched[2] is None:
            raise ValueError(f"{text!r} is not a generational node id such as N1:6")
        return GenerationalNodeId(PlainNodeId(int(matched[1])), int(matched[2]))


def parse_plain_node_id(text: str) -> PlainNodeId:
    """`N1`, `1` or `N1:6`; ValueError says what was expected."""
    matched = _NODE_ID.fullmatch(text.strip())
    if matched is None:
        raise ValueError(f"{text!r} is not a node id such as N1")
    return PlainNodeId(int(matched[1]))


def plain_text(node: PlainNodeId) -> str:
    """`N1`."""
    return f"N{node}"


def loglet_id(log: LogId, segment: SegmentIndex) -> LogletId:
    """Pack log and segment into the 64-bit id of a loglet."""
    return LogletId((log << 32) | segment)


def loglet_log(loglet: LogletId) -> LogId:
    """The log that a loglet belongs to."""
    return LogId(loglet >> 32)


def loglet_segment(loglet: LogletId) -> SegmentIndex:
    """The segment index that a loglet was created for."""
    return SegmentIndex(loglet & 0xFFFF_FFFF)


def loglet_text(loglet: LogletId) -> str:
    """`0_1`: log 0, segment 1."""
    return f"{loglet >> 32}_{loglet & 0xFFFF_FFFF}"


def parse_loglet_id(text: str) -> LogletId:
    """`0_1`, or the raw 64-bit number; ValueError says what was expected."""
    log, separator, segment = text.strip().partition("_")
    if separator and log.isdecimal() and segment.isdecimal():
        return loglet_id(LogId(int(log)), SegmentIndex(int(segment)))
    if not separator and log.isdecimal():
        return LogletId(int(log))
    raise ValueError(f"{text!r} is not a loglet id such as 0_1")
