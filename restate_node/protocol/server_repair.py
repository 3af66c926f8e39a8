"""Making a log server whole again: what it should hold, what it lacks, and what must be refused.

A log server that lost its data has forgotten two things: records, and promises. Both are restored
from what cannot change any more. So the open segments that name the server are closed first; then
every loglet that does has an end, in the chain, and below it each offset has one value for ever:

    chain of log 0     segment 0          segment 1           segment 2
                       [N1, N2, N3]       [N1, N3]            [N1, N2]   open, not ours
    offsets            . . █ █ █ █ █|     █ █ █ █ █|
                         ^          ^ end: base of the next
                         trim point

**Records.** All nodes of a nodeset tell a sum for each record that they hold. What the server lacks
and another holds is copied; what is trimmed anywhere was committed and is not wanted any more. What
nobody holds is refused, and so are two values at one offset: neither can be decided here.

**Promises.** *Sealed* is forgotten with the rest: a sequencer that missed the end of its loglet
could find a write quorum in a server that does not remember. `ended_logs` says up to which segment
each log has ended; the server takes no record of those but from repairs. No segment above that may
have promises in it that were forgotten, because none existed when the data was lost: a server that
is not read-write is in no new nodeset.

Why no quorum is asked: an end in the chain was decided by compare-and-swap, whoever proved it. And
a copy of a committed record is good wherever it comes from, even from a server that lost others.

Driven by `bifrost.server_repair`: GetChecksums to all, then per step GetRecords and Store (repair).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from restate_node.types.ids import LogId, PlainNodeId, SegmentIndex
from restate_node.types.log_messages import Checksums
from restate_node.types.logs import Logs, ReplicatedParams, ReplicatedSegment
from restate_node.types.nodes import Node, Role, StorageState
from restate_node.types.offsets import LogletOffset, Lsn, to_offset

SUM_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class LogletWork:
    """A loglet that names the server: all of `[1, end)` that is not trimmed belongs on it."""

    log: LogId
    base_lsn: Lsn
    params: ReplicatedParams
    end: LogletOffset


@dataclass(frozen=True, slots=True)
class CopyStep:
    """Copy `[first, tail)` from the first source that answers."""

    first: LogletOffset
    tail: LogletOffset
    sources: tuple[PlainNodeId, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """All below `tail` is well once the steps are done."""

    tail: LogletOffset
    steps: tuple[CopyStep, ...]
    trim_point: LogletOffset
    """The highest that was told."""


@dataclass(frozen=True, slots=True)
class NoCopy:
    """Nobody who answered holds `[first, tail)`."""

    first: LogletOffset
    tail: LogletOffset


@dataclass(frozen=True, slots=True)
class Differing:
    """These nodes hold something else than others at the same offset."""

    offset: LogletOffset
    nodes: tuple[PlainNodeId, ...]


WindowVerdict: TypeAlias = Window | NoCopy | Differing


def unrepairable(node: Node) -> str | None:
    """Why there is nothing to repair, and what to do instead; None if there may be."""
    if not node.has_role(Role.LOG_SERVER):
        return f"N{node.id} has not the role log-server: choose a node that has"
    if node.storage_state is StorageState.PROVISIONING:
        return f"the log server of N{node.id} was never used: it becomes read-write when it starts"
    return None


def open_segments(logs: Logs, node: PlainNodeId) -> dict[LogId, ReplicatedSegment]:
    """Tails of logs that name the node and have no end yet."""
    return {
        log: chain.tail
        for log, chain in sorted(logs.chains.items())
        if isinstance(chain.tail, ReplicatedSegment) and node in chain.tail.params.nodeset
    }


def ended_loglets(logs: Logs, node: PlainNodeId) -> tuple[LogletWork, ...]:
    """Loglets that name the node and have an end, log by log."""
    found: list[LogletWork] = []
    for log, chain in sorted(logs.chains.items()):
        for segment in chain.replicated:
            end = chain.end_of(segment)
            if end is not None and node in segment.params.nodeset:
                tail = to_offset(segment.base_lsn, end)
                found.append(LogletWork(log, segment.base_lsn, segment.params, tail))
    return tuple(found)


def ended_logs(logs: Logs) -> dict[LogId, SegmentIndex]:
    """Up to which segment the node takes no records any more. No segment that names it MUST be
    open; that of others counts as ended, for nothing of it comes here.
    """
    return {log: chain.tail.index for log, chain in sorted(logs.chains.items())}


def judge_window(
    target: PlainNodeId,
    first: LogletOffset,
    end: LogletOffset,
    answers: Mapping[PlainNodeId, Checksums],
) -> WindowVerdict:
    """How to go on at `first`, which the target and maybe others have answered about.

    Answers are in the order in which to read. A window ends before what must be refused, so that
    all that can be saved is saved.
    """
    assert target in answers, "the target knows best what it lacks"
    trim_point = max(answer.trim_point for answer in answers.values())
    start = LogletOffset(min(max(first, trim_point + 1), end))
    tail = min(end, *(answer.next_offset for answer in answers.values()))
    if tail <= start:
        return Window(start, (), trim_point)
    simple = _simple_steps(target, start, tail, answers)
    if simple is not None:
        return Window(tail, simple, trim_point)
    held = {node: _held(answer, start, tail) for node, answer in answers.items()}
    problem = _first_problem(held, start, tail)
    if problem is None:
        return Window(tail, tuple(_steps(target, held, start, tail)), trim_point)
    at = problem.first if isinstance(problem, NoCopy) else problem.offset
    if at > start:
        return Window(at, tuple(_steps(target, held, start, at)), trim_point)
    return problem


def _simple_steps(
    target: PlainNodeId,
    start: LogletOffset,
    tail: LogletOffset,
    answers: Mapping[PlainNodeId, Checksums],
) -> tuple[CopyStep, ...] | None:
    """The usual case, at a twentieth of the cost: each node has all of the window or nothing, and
    those that have it agree. None: look at every offset.
    """
    sums = {node: _sums(answer, start, tail) for node, answer in answers.items()}
    holders = tuple(node for node, one in sums.items() if one)
    if len({sums[node] for node in holders}) != 1:
        return None
    if len(sums[holders[0]]) != (tail - start) * SUM_BYTES:
        return None
    return () if target in holders else (CopyStep(start, tail, holders),)


def _sums(answer: Checksums, start: LogletOffset, tail: LogletOffset) -> bytes:
    """Of a window without holes; of one that has some, too little for that."""
    pieces: list[bytes] = []
    for run in answer.runs:
        first = (start - run.first_offset) * SUM_BYTES
        last = (tail - run.first_offset) * SUM_BYTES
        pieces.append(run.sums[max(0, first) : max(0, last)])
    return b"".join(pieces)


_Held: TypeAlias = Sequence[bytes | None]
"""The sum at each offset of a window; None where the node holds nothing."""


def _held(answer: Checksums, start: LogletOffset, tail: LogletOffset) -> _Held:
    found: list[bytes | None] = [None] * (tail - start)
    for run in answer.runs:
        count = len(run.sums) // SUM_BYTES
        for offset in range(max(start, run.first_offset), min(tail, run.first_offset + count)):
            position = (offset - run.first_offset) * SUM_BYTES
            found[offset - start] = run.sums[position : position + SUM_BYTES]
    return found


def _first_problem(
    held: Mapping[PlainNodeId, _Held], start: LogletOffset, tail: LogletOffset
) -> NoCopy | Differing | None:
    for index in range(tail - start):
        sums = {one[index] for one in held.values() if one[index] is not None}
        if len(sums) == 1:
            continue
        offset = LogletOffset(start + index)
        if not sums:
            return NoCopy(offset, _end_of_hole(held, offset, start, tail))
        nodes = tuple(sorted(node for node, one in held.items() if one[index] is not None))
        return Differing(offset, nodes)
    return None


def _end_of_hole(
    held: Mapping[PlainNodeId, _Held],
    offset: LogletOffset,
    start: LogletOffset,
    tail: LogletOffset,
) -> LogletOffset:
    while offset < tail and all(one[offset - start] is None for one in held.values()):
        offset = LogletOffset(offset + 1)
    return offset


def _steps(
    target: PlainNodeId,
    held: Mapping[PlainNodeId, _Held],
    start: LogletOffset,
    tail: LogletOffset,
) -> Iterator[CopyStep]:
    """Stretches that the target lacks, cut where other nodes hold them."""
    own = held[target]
    first, sources = start, ()
    for offset in range(start, tail + 1):
        index = offset - start
        now: tuple[PlainNodeId, ...] = ()
        if offset < tail and own[index] is None:
            now = tuple(node for node, one in held.items() if one[index] is not None)
        if now == sources:
            continue
        if sources:
            yield CopyStep(first, LogletOffset(offset), sources)
        first, sources = LogletOffset(offset), now
