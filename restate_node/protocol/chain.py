"""How one version of the chains becomes the next.

    AddLog      base LSN 1, index 0
    ExtendLog   seal marker at the base  -> replaced
                empty tail at the base   -> replaced
                tail below the base      -> followed         always with the tail's index plus one
    SealLog     a marker at the tail LSN, with the index of the segment that it closes
    TrimLog     segments that lie wholly at or below the trim point go; the last one stays

An edit names the tail index that its author saw. If the chain has moved on, the answer is
SegmentMismatch with the tail as it is: somebody else won, and the author uses what is there.
Edits are applied in batches, one version for all of them, because every version is fetched by
every node.

Invariants: chains stay contiguous, an index is never used twice, the last segment that holds data
is never removed.

Driven by the chain keeper, which compares and swaps the result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias, assert_never

from restate_node.types.ids import LogId, SegmentIndex, Version, loglet_id
from restate_node.types.logs import (
    Chain,
    InMemorySegment,
    Logs,
    ProviderKind,
    ReplicatedParams,
    ReplicatedSegment,
    SealMarker,
    Segment,
)
from restate_node.types.offsets import OLDEST_LSN, Lsn


@dataclass(frozen=True, slots=True)
class MemoryParams:
    """A loglet that lives in one process."""

    loglet_id: int
    kind: ProviderKind = ProviderKind.IN_MEMORY


SegmentParams: TypeAlias = ReplicatedParams | MemoryParams


@dataclass(frozen=True, slots=True)
class AddLog:
    """Create a log with its first segment."""

    log: LogId
    params: SegmentParams


@dataclass(frozen=True, slots=True)
class ExtendLog:
    """Begin a new segment at `base_lsn`, the tail of the sealed one before it."""

    log: LogId
    expected: SegmentIndex
    base_lsn: Lsn
    params: SegmentParams


@dataclass(frozen=True, slots=True)
class SealLog:
    """Close the log at `tail_lsn` without a successor."""

    log: LogId
    expected: SegmentIndex
    tail_lsn: Lsn
    sealed_at: int
    context: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class TrimLog:
    """Forget segments of which nothing is left above `trim_point`."""

    log: LogId
    trim_point: Lsn


Edit: TypeAlias = AddLog | ExtendLog | SealLog | TrimLog


@dataclass(frozen=True, slots=True)
class Edited:
    """The chain as it will be."""

    chain: Chain


@dataclass(frozen=True, slots=True)
class Unchanged:
    """What was asked for is so already."""

    chain: Chain


@dataclass(frozen=True, slots=True)
class LogMissing:
    """There is no such log: add it first."""


@dataclass(frozen=True, slots=True)
class SegmentMismatch:
    """Somebody else changed the tail: use this one."""

    tail: Segment


@dataclass(frozen=True, slots=True)
class BaseMismatch:
    """The LSN does not continue the tail: find the tail again."""

    tail: Segment


@dataclass(frozen=True, slots=True)
class PermanentlySealed:
    """The log takes no more records, ever."""

    marker: SealMarker


EditOutcome: TypeAlias = (
    Edited | Unchanged | LogMissing | SegmentMismatch | BaseMismatch | PermanentlySealed
)


@dataclass(frozen=True, slots=True)
class EditedLogs:
    """The chains after a batch, and what became of each edit, in order."""

    logs: Logs
    outcomes: tuple[EditOutcome, ...]


def apply_edits(logs: Logs, edits: Sequence[Edit], now_hlc: int | None = None) -> EditedLogs:
    """Apply a batch; the version rises by one if anything changed and not otherwise."""
    chains = dict(logs.chains)
    outcomes: list[EditOutcome] = []
    for edit in edits:
        outcome = edit_chain(chains.get(edit.log), edit)
        if isinstance(outcome, Edited):
            chains[edit.log] = outcome.chain
        outcomes.append(outcome)
    if not any(isinstance(outcome, Edited) for outcome in outcomes):
        return EditedLogs(logs, tuple(outcomes))
    version = Version(logs.version + 1)
    edited = replace(logs, version=version, chains=chains, modified_at=now_hlc)
    return EditedLogs(edited, tuple(outcomes))


def edit_chain(chain: Chain | None, edit: Edit) -> EditOutcome:
    """Apply one edit to one chain."""
    if isinstance(edit, AddLog):
        return _add(chain, edit)
    if chain is None:
        return LogMissing()
    match edit:
        case ExtendLog():
            return _extend(chain, edit)
        case SealLog():
            return _seal(chain, edit)
        case TrimLog():
            return _trim(chain, edit.trim_point)
        case _:
            assert_never(edit)


def next_index(chain: Chain | None) -> SegmentIndex:
    """The index that the next segment will have."""
    return SegmentIndex(0 if chain is None else chain.tail.index + 1)


def _add(chain: Chain | None, edit: AddLog) -> EditOutcome:
    if chain is not None:
        return Unchanged(chain)
    return Edited(Chain((_segment(edit.log, OLDEST_LSN, SegmentIndex(0), edit.params),)))


def _extend(chain: Chain, edit: ExtendLog) -> EditOutcome:
    tail = chain.tail
    if tail.index != edit.expected:
        return SegmentMismatch(tail)
    if isinstance(tail, SealMarker) and tail.permanent:
        return PermanentlySealed(tail)
    must_replace = isinstance(tail, SealMarker)
    if edit.base_lsn < tail.base_lsn or (must_replace and edit.base_lsn != tail.base_lsn):
        return BaseMismatch(tail)
    segment = _segment(edit.log, edit.base_lsn, next_index(chain), edit.params)
    return Edited(_ending_in(chain, segment))


def _seal(chain: Chain, edit: SealLog) -> EditOutcome:
    tail = chain.tail
    if tail.index != edit.expected:
        return SegmentMismatch(tail)
    if isinstance(tail, SealMarker):
        return Unchanged(chain)
    if edit.tail_lsn < tail.base_lsn:
        return BaseMismatch(tail)
    marker = SealMarker(
        base_lsn=edit.tail_lsn,
        index=tail.index,
        sealed_at=edit.sealed_at,
        context=edit.context,
        permanent=edit.permanent,
    )
    return Edited(_ending_in(chain, marker))


def _trim(chain: Chain, trim_point: Lsn) -> EditOutcome:
    last = len(chain.segments) - 1
    if chain.is_sealed:
        last = max(0, last - 1)  # a later extension takes its parameters from the last segment
    first = 0
    while first < last and chain.segments[first + 1].base_lsn <= trim_point + 1:
        first += 1
    return Edited(Chain(chain.segments[first:])) if first else Unchanged(chain)


def _ending_in(chain: Chain, segment: Segment) -> Chain:
    """Append, in place of a tail with the same base: that one holds nothing."""
    kept = chain.segments
    if chain.tail.base_lsn == segment.base_lsn:
        kept = kept[:-1]
    return Chain((*kept, segment))


def _segment(log: LogId, base: Lsn, index: SegmentIndex, params: SegmentParams) -> Segment:
    match params:
        case ReplicatedParams():
            expected = loglet_id(log, index)
            assert params.loglet_id == expected, f"loglet {params.loglet_id} is not {expected}"
            return ReplicatedSegment(base, index, params)
        case MemoryParams():
            return InMemorySegment(base, index, params.loglet_id, params.kind)
