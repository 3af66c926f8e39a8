"""L5: all nodes see one chain, which only grows at its end and loses segments only at its head."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from restate_node.sim.checkers.checker import Checker
from restate_node.sim.history import ChainSeen, History, SegmentSeen


def find(history: History) -> Iterator[str]:
    bases: dict[tuple[int, int], tuple[int, ChainSeen]] = {}
    versions: dict[tuple[int, int], ChainSeen] = {}
    for seen in history.of(ChainSeen):
        same = versions.setdefault((seen.log, seen.version), seen)
        if same.segments != seen.segments:
            yield (
                f"log {seen.log}, version {seen.version}: {same.node} and {seen.node} have "
                "different chains"
            )
        yield from _gaps(seen)
        for segment in _records(seen):
            base, first = bases.setdefault((seen.log, segment.index), (segment.base, seen))
            if base != segment.base:
                yield (
                    f"log {seen.log}, segment {segment.index}: begins at LSN {base} in version "
                    f"{first.version} on {first.node}, at {segment.base} in version "
                    f"{seen.version} on {seen.node}"
                )


def _records(seen: ChainSeen) -> list[SegmentSeen]:
    """A marker is no segment: another one may begin where it stood."""
    return [segment for segment in seen.segments if not segment.is_marker]


def _gaps(seen: ChainSeen) -> Iterator[str]:
    for former, latter in pairwise(seen.segments):
        # A marker carries the index of the segment that it closes.
        behind = latter.index < former.index if latter.is_marker else latter.index <= former.index
        if latter.base < former.base or behind:
            yield (
                f"log {seen.log}, version {seen.version} on {seen.node}: segment {latter.index} "
                f"at LSN {latter.base} follows segment {former.index} at LSN {former.base}"
            )


CHECKER = Checker("L5", "a log has one chain, contiguous, that only grows at its end", find)
