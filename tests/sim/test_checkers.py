"""Each checker accepts a good history and rejects a bad one, both made by hand."""

from __future__ import annotations

import pytest

from restate_node.sim.checkers.catalog import CHECKERS
from restate_node.sim.checkers.checker import Checker, violations
from restate_node.sim.history import (
    Acknowledged,
    ChainSeen,
    CommandApplied,
    EpochBegan,
    Event,
    GapRead,
    Healed,
    History,
    Leading,
    Observed,
    Progress,
    RaftApplied,
    RaftEntry,
    RaftLeader,
    ReadEnded,
    ReadStarted,
    RecordRead,
    RegisterCalled,
    RegisterUsed,
    SegmentAcknowledged,
    SegmentSeen,
    StateSeen,
    TailFound,
    Trimming,
)
from restate_node.sim.linearizability import CompareAndSwap, Operation, Read, Request
from tests.sim import cluster_histories, invocation_histories

BY_NAME: dict[str, Checker] = {checker.name: checker for checker in CHECKERS}


def history_of(*events: Event) -> History:
    history = History()
    for event in events:
        history.add(event)
    return history


def reading(*lsns: int, end: int, complete: bool = True) -> list[Event]:
    """Reader 1 reads these LSNs from 1 on, then stops at `end`."""
    reads = [RecordRead(5.0, "n2#1", 1, 0, lsn, b"r%d" % lsn) for lsn in lsns]
    return [
        ReadStarted(4.0, "n2#1", 1, 0, 1),
        *reads,
        ReadEnded(6.0, "n2#1", 1, 0, end, complete),
    ]


def acked(lsn: int, payload: bytes | None = None) -> Acknowledged:
    return Acknowledged(1.0 + lsn / 100, "n1#1", 0, lsn, payload or b"r%d" % lsn)


def tail(lsn: int, called_at: float, at: float, *, sealed: bool = False) -> TailFound:
    return TailFound(at, "n3#1", 0, called_at, 1, sealed, lsn)


def chain(version: int, *bases: int, marker: bool = False, node: str = "n1#1") -> ChainSeen:
    segments = [SegmentSeen(index, base) for index, base in enumerate(bases)]
    if marker:
        segments[-1] = SegmentSeen(len(bases) - 1, bases[-1], is_marker=True)
    return ChainSeen(2.0, node, version, 0, tuple(segments))


def progress(at: float, applied: int, tail_lsn: int, *, leads: bool = False) -> Progress:
    return Progress(at, "n1#1", 0, applied, tail_lsn, leads)


def called(call: int, at: float, request: Request) -> Event:
    return RegisterCalled(at, "n1#1", call, Operation("k", request, at))


def used(call: int, start: float, end: float, request: Request, result: int | None) -> Event:
    return RegisterUsed(end, "n1#1", call, Operation("k", request, start, end, result))


def swap(call: int, start: float, expected: int | None, new: int, done: bool) -> list[Event]:
    request = CompareAndSwap(expected, new)
    return [called(call, start, request), used(call, start, start + 1.0, request, done)]


LIVE = [Healed(10.0), progress(12.0, 4, 9, leads=True), progress(14.0, 8, 9), Observed(40.0)]

GOOD: dict[str, list[list[Event]]] = {
    "L1": [
        [acked(1), acked(2), *reading(1, 2, end=3)],
        [acked(1), acked(2), *reading(1, end=2, complete=False)],
        [
            acked(1),
            Trimming(3.0, "n1#1", 0, 3),
            ReadStarted(4.0, "n2#1", 1, 0, 1),
            GapRead(5.0, "n2#1", 1, 0, 1, 4),
            ReadEnded(6.0, "n2#1", 1, 0, 4, True),
        ],
    ],
    "L2": [[acked(1), *reading(1, 2, end=3)]],
    "L3": [
        [tail(3, 1.0, 2.0), tail(2, 2.5, 3.0)],
        [tail(3, 1.0, 2.0, sealed=True), tail(4, 2.5, 3.0, sealed=True)],
        [SegmentAcknowledged(2.7, "n1#1", 0, 1, 4, 1), tail(4, 2.5, 3.0)],
        [SegmentAcknowledged(1.0, "n1#1", 0, 2, 9, 1), tail(9, 2.5, 3.0)],
    ],
    "L4": [[SegmentAcknowledged(1.0, "n1#1", 0, 0, 4, 1), chain(2, 1, 5)]],
    "L5": [
        [chain(1, 1), chain(2, 1, 5), chain(2, 1, 5, node="n2#1")],
        [chain(2, 1, 5, marker=True), chain(3, 1, 7)],
        [ChainSeen(2.0, "n1#1", 4, 0, (SegmentSeen(3, 1), SegmentSeen(3, 9, is_marker=True)))],
    ],
    "M1": [[RaftLeader(1.0, "n1", 3, 9), RaftLeader(2.0, "n1", 3, 9), RaftLeader(3.0, "n2", 4, 9)]],
    "M2": [[RaftEntry(1.0, "n1", 7, 2, "aa"), RaftEntry(1.0, "n2", 7, 3, "bb")]],
    "M3": [[RaftApplied(1.0, "n1", 7, 2, "aa"), RaftLeader(2.0, "n2", 3, 7)]],
    "M4": [
        [
            RaftApplied(1.0, "n1#1", 7, 2, "aa"),
            RaftApplied(1.5, "n1#1", 8, 2, "bb"),
            RaftApplied(2.0, "n1#2", 7, 2, "aa"),
        ]
    ],
    "M5": [
        [
            *swap(1, 1.0, None, 1, True),
            called(2, 1.5, CompareAndSwap(1, 3)),
            *swap(3, 3.0, None, 2, False),
            used(4, 5.0, 6.0, Read(), 3),
        ],
        [
            called(1, 1.0, CompareAndSwap(None, 1)),
            RegisterUsed(2.0, "n1#1", 1, None),
            used(2, 3.0, 4.0, Read(), None),
        ],
    ],
    "P1": [
        [
            StateSeen(1.0, "n1#1", 0, 7, "aa"),
            StateSeen(2.0, "n2#1", 0, 7, "aa"),
            StateSeen(2.0, "n2#1", 0, 8, "bb"),
        ]
    ],
    "P2": [
        [Leading(1.0, "n1#1", 0, 1), Leading(2.0, "n2#1", 0, 2)],
        [
            EpochBegan(1.0, "n1#1", 0, 1, 1, "N1:1"),
            EpochBegan(1.0, "n1#1", 0, 5, 2, "N2:1"),
            EpochBegan(3.0, "n1#2", 0, 1, 1, "N1:1"),
            EpochBegan(3.0, "n1#2", 1, 9, 1, "N1:1"),
        ],
    ],
    "P3": [[CommandApplied(1.0, "n1#1", 0, 7, "c1"), CommandApplied(2.0, "n2#1", 0, 7, "c1")]],
    "V1": [LIVE],
    "V2": [LIVE, [Healed(10.0), progress(12.0, 4, 9), Observed(15.0)]],
}

BAD: dict[str, list[list[Event]]] = {
    "L1": [
        [
            Trimming(3.0, "n1#1", 0, 2),
            ReadStarted(4.0, "n2#1", 1, 0, 1),
            GapRead(5.0, "n2#1", 1, 0, 1, 4),
        ],
        [acked(1), acked(2), *reading(1, end=3)],
        [acked(1), acked(2), *reading(1, end=2)],
        [acked(1, b"other"), *reading(1, end=2)],
    ],
    "L2": [
        [acked(1, b"other"), *reading(1, end=2)],
        [*reading(1, 3, end=4)],
        [*reading(1, 1, end=2)],
    ],
    "L3": [
        [SegmentAcknowledged(1.0, "n1#1", 0, 1, 4, 1), tail(4, 2.5, 3.0)],
        [SegmentAcknowledged(1.0, "n1#1", 0, 1, 4, 2), tail(5, 2.5, 3.0)],
        [SegmentAcknowledged(1.0, "n1#1", 0, 1, 4, 1), tail(4, 2.5, 3.0, sealed=True)],
    ],
    "L4": [
        [SegmentAcknowledged(1.0, "n1#1", 0, 0, 5, 1), chain(2, 1, 5)],
        [SegmentAcknowledged(1.0, "n1#1", 0, 0, 4, 2), chain(2, 1, 5)],
        [SegmentAcknowledged(1.0, "n1#1", 0, 1, 4, 1), tail(4, 0.1, 0.2, sealed=True)],
    ],
    "L5": [
        [chain(2, 1, 5), chain(2, 1, 6, node="n2#1")],
        [chain(2, 1, 5), chain(3, 1, 6)],
        [chain(2, 5, 1)],
        [ChainSeen(2.0, "n1#1", 4, 0, (SegmentSeen(3, 1), SegmentSeen(3, 9)))],
    ],
    "M1": [[RaftLeader(1.0, "n1", 3, 9), RaftLeader(2.0, "n2", 3, 9)]],
    "M2": [[RaftEntry(1.0, "n1", 7, 2, "aa"), RaftEntry(1.0, "n2", 7, 2, "bb")]],
    "M3": [[RaftApplied(1.0, "n1", 7, 2, "aa"), RaftLeader(2.0, "n2", 3, 6)]],
    "M4": [
        [RaftApplied(1.0, "n1#1", 7, 2, "aa"), RaftApplied(2.0, "n2#1", 7, 2, "bb")],
        [RaftApplied(1.0, "n1#1", 7, 2, "aa"), RaftApplied(2.0, "n1#1", 7, 2, "aa")],
    ],
    "M5": [
        [*swap(1, 1.0, None, 1, True), *swap(2, 3.0, None, 2, True)],
        [*swap(1, 1.0, None, 1, True), used(2, 3.0, 4.0, Read(), None)],
        [
            called(1, 1.0, CompareAndSwap(None, 1)),
            RegisterUsed(2.0, "n1#1", 1, None),
            used(2, 3.0, 4.0, Read(), 1),
        ],
    ],
    "P1": [[StateSeen(1.0, "n1#1", 0, 7, "aa"), StateSeen(2.0, "n2#1", 0, 7, "bb")]],
    "P2": [
        [Leading(1.0, "n1#1", 0, 1), Leading(2.0, "n2#1", 0, 1)],
        [EpochBegan(1.0, "n1#1", 0, 1, 2, "N2:1"), EpochBegan(1.0, "n1#1", 0, 5, 1, "N1:1")],
        [EpochBegan(1.0, "n1#1", 0, 1, 2, "N2:1"), EpochBegan(1.0, "n1#1", 0, 5, 2, "N2:1")],
    ],
    "P3": [[CommandApplied(1.0, "n1#1", 0, 7, "c1"), CommandApplied(2.0, "n2#1", 0, 9, "c1")]],
    "V1": [
        [progress(5.0, 1, 2, leads=True), Healed(10.0), progress(12.0, 8, 9), Observed(40.0)],
        [progress(5.0, 1, 2), Healed(10.0), progress(21.0, 8, 9, leads=True), Observed(40.0)],
    ],
    "V2": [
        [
            Healed(10.0),
            progress(12.0, 4, 9),
            progress(29.0, 7, 9),
            progress(31.0, 8, 9),
            Observed(40.0),
        ],
        [Healed(10.0), progress(12.0, 0, 0), progress(29.0, 0, 0), Observed(40.0)],
    ],
}


GOOD |= cluster_histories.GOOD | invocation_histories.GOOD
BAD |= cluster_histories.BAD | invocation_histories.BAD


def test_every_checker_has_good_and_bad_histories() -> None:
    """Goal: no checker goes untested. Method: compare names."""
    assert BY_NAME.keys() == GOOD.keys() == BAD.keys()
    assert len(BY_NAME) == len(CHECKERS)


@pytest.mark.parametrize("name", GOOD)
def test_accepts_good_histories(name: str) -> None:
    """Goal: no false alarm. Method: histories that look suspicious and are not."""
    for events in GOOD[name]:
        assert violations([BY_NAME[name]], history_of(*events)) == []


@pytest.mark.parametrize("name", BAD)
def test_rejects_bad_histories(name: str) -> None:
    """Goal: each way to break an invariant is found. Method: one violation per history."""
    for events in BAD[name]:
        found = violations([BY_NAME[name]], history_of(*events))
        assert found, events
        assert BY_NAME[name].invariant in str(found[0])


@pytest.mark.parametrize("name", BY_NAME)
def test_an_empty_history_breaks_nothing(name: str) -> None:
    """Goal: a checker needs evidence. Method: no events at all."""
    assert violations([BY_NAME[name]], History()) == []
