"""Counting quorums and headers, shared by the tests of the loglet's procedures."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from restate_node.types.ids import PlainNodeId
from restate_node.types.log_messages import LogletHeader, LogletInfo, Status
from restate_node.types.offsets import LogletOffset


@dataclass(frozen=True)
class Copies:
    """Plain counting over a nodeset of `size`."""

    size: int
    replication: int

    def write_quorum(self, nodes: Set[PlainNodeId], /) -> bool:
        return len(nodes) >= self.replication

    def f_majority(self, nodes: Set[PlainNodeId], /) -> bool:
        return len(nodes) >= self.size - self.replication + 1


@dataclass(frozen=True)
class TwoZones:
    """Two copies in two zones; odd nodes are in one, even nodes in the other."""

    def write_quorum(self, nodes: Set[PlainNodeId], /) -> bool:
        return len({node % 2 for node in nodes}) == 2

    def f_majority(self, nodes: Set[PlainNodeId], /) -> bool:
        return {1, 3} <= nodes or {2, 4} <= nodes


def header(local: int, known: int = 1, sealed: bool = False) -> LogletHeader:
    return LogletHeader(Status.OK, LogletOffset(local), LogletOffset(known), sealed)


def info(local: int, known: int = 1, sealed: bool = False, trim_point: int = 0) -> LogletInfo:
    return LogletInfo(header(local, known, sealed), LogletOffset(trim_point))
