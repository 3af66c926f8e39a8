"""Giving every record below a sealed tail its write quorum back.

A sequencer that died leaves records on fewer nodes than promised, none of them acknowledged. The
sealed tail lies above them, so they become part of the log, and must be replicated like all others
before anyone relies on that tail. The digests of the nodes tell who holds what:

             known global tail             tail
                    |                       |
    N1   . . . . . .|█ █ █ █ █ █ █ █ █ █ █ █|          replication 2
    N2   . . . . . .|█ █ █ █ █ █            |          - first half on N1, N2: nothing to do
    N3   . . . . . .|                       |          - the rest on N1 only: copy to N2

Steps come in order and MUST be taken in order, each one finished before the next begins: a target
accepts a repair past its own tail because all below is known to be replicated.

Trimmed counts as replicated: it was committed, and nobody will read it. A node after data loss may
still prove that it holds a record, never that there is none. Records that nobody has are not lost
until everybody was asked: `DataUnavailable` says whom to wait for.

Where all members that can be written are too few, by configuration and not because they are
silent, a stretch is given to all of them and that is that: no more copies can be had. It takes a
tail that stands without the write quorum, as `tail` explains; otherwise it is `TooFewTargets`.

A repair can be repeated, interrupted, and run twice at the same time: it brings nothing new.

Driven by the repair procedure of `bifrost`: GetDigest to all readable members, then per step
GetRecords (beyond the global tail) and Store (repair).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from restate_node.protocol.quorum import NodesetChecker
from restate_node.types.ids import PlainNodeId
from restate_node.types.log_messages import DigestEntry, RecordStatus
from restate_node.types.offsets import LogletOffset


@dataclass(frozen=True, slots=True)
class RepairStep:
    """Copy `[first, tail)`: read from the first source that answers, store to all targets."""

    first: LogletOffset
    tail: LogletOffset
    sources: tuple[PlainNodeId, ...]
    targets: tuple[PlainNodeId, ...]


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """Steps in order; none when everything is replicated."""

    steps: tuple[RepairStep, ...]


@dataclass(frozen=True, slots=True)
class DataUnavailable:
    """Nobody who answered holds `[first, tail)`; ask again, above all those who did not answer."""

    first: LogletOffset
    tail: LogletOffset
    unheard: tuple[PlainNodeId, ...]


@dataclass(frozen=True, slots=True)
class TooFewTargets:
    """`[first, tail)` is here, but the nodes that can be written make no write quorum."""

    first: LogletOffset
    tail: LogletOffset


RepairDecision: TypeAlias = RepairPlan | DataUnavailable | TooFewTargets
Digests: TypeAlias = Mapping[PlainNodeId, Sequence[DigestEntry]]


@dataclass(frozen=True, slots=True)
class RepairScope:
    """Who takes part."""

    quorum: NodesetChecker
    readable: tuple[PlainNodeId, ...]
    """All who were asked for a digest, in the order in which to read."""
    writable: tuple[PlainNodeId, ...]
    """All who may be stored to, in the order of preference; silent ones too."""
    is_proven: bool = False
    """The tail stands even if its records cannot get a write quorum any more."""


def plan_repair(
    scope: RepairScope, digests: Digests, first: LogletOffset, tail: LogletOffset
) -> RepairDecision:
    """What to do so that each offset of `[first, tail)` has a write quorum, or all that is left."""
    steps: list[RepairStep] = []
    for start, stop in _stretches(digests, first, tail):
        holders = _holders(digests, start)
        if holders is None or scope.quorum.write_quorum(holders):
            continue
        if not holders:
            unheard = tuple(node for node in scope.readable if node not in digests)
            return DataUnavailable(start, stop, unheard)
        targets = _targets(scope, digests, holders)
        if targets is None:
            return TooFewTargets(start, stop)
        if not targets:
            continue
        sources = tuple(node for node in scope.readable if node in holders)
        steps.append(RepairStep(start, stop, sources, targets))
    return RepairPlan(tuple(steps))


def _stretches(
    digests: Digests, first: LogletOffset, tail: LogletOffset
) -> Iterator[tuple[LogletOffset, LogletOffset]]:
    """Cut `[first, tail)` where any digest changes."""
    edges = {first, tail}
    for entries in digests.values():
        for entry in entries:
            edges.update((entry.from_offset, LogletOffset(entry.to_offset + 1)))
    inside = sorted(edge for edge in edges if first <= edge <= tail)
    return pairwise(inside)


def _holders(digests: Digests, offset: LogletOffset) -> set[PlainNodeId] | None:
    """Who holds the offset; None when it is trimmed."""
    holders: set[PlainNodeId] = set()
    for node, entries in digests.items():
        match _status(entries, offset):
            case RecordStatus.EXISTS:
                holders.add(node)
            case RecordStatus.TRIMMED | RecordStatus.ARCHIVED:
                return None
            case None:
                pass
    return holders


def _status(entries: Sequence[DigestEntry], offset: LogletOffset) -> RecordStatus | None:
    for entry in entries:
        if entry.from_offset <= offset <= entry.to_offset:
            return entry.status
    return None


def _targets(
    scope: RepairScope, digests: Digests, holders: set[PlainNodeId]
) -> tuple[PlainNodeId, ...] | None:
    """The fewest preferred nodes that complete a write quorum; those that answered come first.

    None if there are not enough, unless all that lack it are enough for a proven tail.
    """
    lacking = [node for node in scope.writable if node not in holders]
    lacking.sort(key=lambda node: node not in digests)
    chosen: list[PlainNodeId] = []
    for node in lacking:
        chosen.append(node)
        if scope.quorum.write_quorum(holders.union(chosen)):
            return _without_needless(scope.quorum, holders, chosen)
    return tuple(lacking) if scope.is_proven else None


def _without_needless(
    quorum: NodesetChecker, holders: set[PlainNodeId], chosen: list[PlainNodeId]
) -> tuple[PlainNodeId, ...]:
    """Drop nodes that do not help, such as a second one of the same zone."""
    needed = list(chosen)
    for node in chosen[:-1]:
        others = [other for other in needed if other != node]
        if quorum.write_quorum(holders.union(others)):
            needed = others
    return tuple(needed)
