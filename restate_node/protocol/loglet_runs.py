"""What a log server has on disk, as runs of offsets: digests, holes and answers to readers.

A *run* is what one store left behind: consecutive records under the key of their first offset. Runs
never overlap, and between them there may be holes (see `loglet_store`). Everything here works on
the ends of the runs; records are only looked into where a run is cut in two.

    stored      [3 . . 6)     [9 . . . . 14)[14 . 16)
    spans       (3,6)         (9,14)        (14,16)
    digest of [1,15], trimmed up to 2:   TRIMMED 1-2, EXISTS 3-5, EXISTS 9-15
    holes of  [4,11):  (6,9)

Driven by the loglet worker (answers, backfill) and by the opening of a log store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import xxhash

from restate_node.types.log_messages import ChecksumRun, DigestEntry, RecordStatus, StoredRun
from restate_node.types.offsets import LogletOffset
from restate_node.types.records import RecordBatch, cut, iterate, join


class Span(NamedTuple):
    """Offsets `[first, tail)`."""

    first: LogletOffset
    tail: LogletOffset


def span(run: StoredRun) -> Span:
    """The offsets of a run."""
    return Span(run.first_offset, LogletOffset(run.first_offset + run.count))


def merged(spans: Iterable[Span]) -> list[Span]:
    """Ascending spans with neighbours joined."""
    found: list[Span] = []
    for one in spans:
        if found and one.first <= found[-1].tail:
            found[-1] = Span(found[-1].first, max(found[-1].tail, one.tail))
        else:
            found.append(one)
    return found


def clipped(spans: Iterable[Span], window: Span) -> list[Span]:
    """The parts of ascending spans that lie in the window."""
    inside = (Span(max(s.first, window.first), min(s.tail, window.tail)) for s in spans)
    return [one for one in inside if one.first < one.tail]


def holes(spans: Iterable[Span], window: Span) -> list[Span]:
    """What of the window no span covers: the parts that a backfill has to write."""
    missing: list[Span] = []
    position = window.first
    for first, tail in clipped(spans, window):
        if first > position:
            missing.append(Span(position, first))
        position = max(position, tail)
    if position < window.tail:
        missing.append(Span(position, window.tail))
    return missing


def digest(spans: Iterable[Span], window: Span, trim_point: LogletOffset) -> list[DigestEntry]:
    """What of the window is here, as a digest says it (inclusive ends).

    The spans MUST be durable: a repair relies on a digest as on an OK.
    """
    entries: list[DigestEntry] = []
    trimmed = LogletOffset(min(trim_point, window.tail - 1))
    if trimmed >= window.first:
        entries.append(DigestEntry(window.first, trimmed, RecordStatus.TRIMMED))
    rest = Span(LogletOffset(max(window.first, trim_point + 1)), window.tail)
    for first, tail in merged(clipped(spans, rest)):
        entries.append(DigestEntry(first, LogletOffset(tail - 1), RecordStatus.EXISTS))
    return entries


def joined(runs: Sequence[StoredRun], bytes_max: int) -> list[StoredRun]:
    """Contiguous runs as fewer ones, none larger than `bytes_max` unless it was before."""
    groups: list[list[StoredRun]] = []
    size = 0
    for run in runs:
        if groups and size + len(run.body) <= bytes_max:
            groups[-1].append(run)
        else:
            groups.append([run])
            size = 0
        size += len(run.body)
    return [_as_one(group) for group in groups]


def _as_one(runs: Sequence[StoredRun]) -> StoredRun:
    batch = join([RecordBatch(run.count, run.body) for run in runs])
    return StoredRun(runs[0].first_offset, batch.count, batch.body)


def checksums(run: StoredRun) -> ChecksumRun:
    """One sum per record, so that runs which were cut differently can be compared."""
    sum_of = xxhash.xxh3_64_digest
    return ChecksumRun(run.first_offset, b"".join([sum_of(one) for one in iterate(run.body)]))


def unbroken_from(spans: Iterable[Span], trim_point: LogletOffset) -> LogletOffset:
    """Where the last stretch without holes begins; behind the trim point when nothing is stored."""
    joined = merged(spans)
    return joined[-1].first if joined else LogletOffset(trim_point + 1)


def part(run: StoredRun, window: Span) -> StoredRun:
    """The records of the run inside the window, which must overlap it; the run itself if all."""
    first = max(run.first_offset, window.first)
    tail = min(run.first_offset + run.count, window.tail)
    assert first < tail, f"run {span(run)} lies outside {window}"
    if tail - first == run.count:
        return run
    kept = cut(RecordBatch(run.count, run.body), first - run.first_offset, tail - first)
    return StoredRun(LogletOffset(first), kept.count, kept.body)


def answer(
    runs: Iterable[StoredRun], window: Span, bytes_max: int
) -> tuple[list[StoredRun], LogletOffset]:
    """The runs for a reader of the window, and where it goes on.

    Stops before the run that would pass `bytes_max`, but never without one: a run that is larger
    than the reader's limit is still answered whole. Takes no more from `runs` than it needs.
    """
    answered: list[StoredRun] = []
    room = bytes_max
    for run in runs:
        if run.first_offset >= window.tail:
            break
        if run.first_offset + run.count <= window.first:
            continue
        room -= len(run.body)
        if answered and room < 0:
            return answered, run.first_offset
        answered.append(part(run, window))
    return answered, window.tail
