"""The promises of one log server about one loglet, rule by rule."""

from __future__ import annotations

import pytest

from restate_node.protocol.loglet_runs import (
    Span,
    answer,
    clipped,
    digest,
    holes,
    merged,
    span,
    unbroken_from,
)
from restate_node.protocol.loglet_store import (
    Admit,
    AlreadyDurable,
    AlreadySealed,
    AlreadyTrimmed,
    LogletState,
    PersistedLoglet,
    PersistSeal,
    PersistTrim,
    Reject,
    WaitForSeal,
    WaitInFlight,
)
from restate_node.types.ids import GenerationalNodeId, LogletId, PlainNodeId
from restate_node.types.log_messages import (
    DigestEntry,
    GetRecords,
    RecordStatus,
    Seal,
    Status,
    Store,
    StoredRun,
    TrimLoglet,
)
from restate_node.types.offsets import OFFSET_MAX, LogletOffset
from restate_node.types.records import RecordBatch, pack

LOGLET = LogletId(7)
SEQUENCER = GenerationalNodeId(PlainNodeId(1), 3)
OTHER = GenerationalNodeId(PlainNodeId(2), 1)


def offset(value: int) -> LogletOffset:
    return LogletOffset(value)


def store(
    first: int,
    count: int,
    known: int = 1,
    sequencer: GenerationalNodeId = SEQUENCER,
    expires_at_ms: int = 0,
    repair: bool = False,
) -> Store:
    return Store(LOGLET, sequencer, offset(known), offset(first), count, b"", expires_at_ms, repair)


def loglet(stored: int = 4, staged: int = 2) -> LogletState:
    """A loglet with `stored` durable and `staged` further records."""
    state = LogletState(LOGLET)
    state.admit(store(1, stored), SEQUENCER, 0)
    state.durable(offset(stored + 1))
    if staged:
        state.admit(store(stored + 1, staged), SEQUENCER, 0)
    return state


def sealed(stored: int = 4) -> LogletState:
    state = loglet(stored, staged=0)
    state.begin_seal(Seal(LOGLET, SEQUENCER))
    state.seal_durable()
    return state


# With 4 durable and 2 staged records: local tail 5, staged tail 7.
OPEN = [
    ("next", store(7, 2), SEQUENCER, Admit(offset(7), offset(9))),
    ("next, from anyone", store(7, 2), OTHER, Admit(offset(7), offset(9))),
    ("offset zero", store(0, 2), SEQUENCER, Reject(Status.MALFORMED)),
    ("empty", store(7, 0), SEQUENCER, Reject(Status.MALFORMED)),
    ("past the last offset", store(OFFSET_MAX, 2), SEQUENCER, Reject(Status.MALFORMED)),
    ("gap", store(8, 2), SEQUENCER, Reject(Status.OUT_OF_BOUNDS)),
    ("gap past the global tail", store(9, 2, known=8), SEQUENCER, Reject(Status.OUT_OF_BOUNDS)),
    ("jump to the global tail", store(9, 2, known=9), SEQUENCER, Admit(offset(9), offset(11))),
    ("repair jumps", store(9, 2, repair=True), OTHER, Admit(offset(9), offset(11))),
    ("foreign life", store(7, 2, sequencer=OTHER), OTHER, Reject(Status.SEQUENCER_MISMATCH)),
    ("late, not the sequencer", store(5, 2), OTHER, Reject(Status.SEQUENCER_MISMATCH)),
    (
        "below the global tail, not the sequencer",
        store(7, 2, known=9),
        OTHER,
        Reject(Status.SEQUENCER_MISMATCH),
    ),
    ("durable", store(1, 4), SEQUENCER, AlreadyDurable()),
    ("durable part", store(2, 2), SEQUENCER, AlreadyDurable()),
    ("durable, by a repair", store(1, 4, repair=True), OTHER, AlreadyDurable()),
    ("in flight", store(5, 2), SEQUENCER, WaitInFlight(offset(7))),
    ("durable and in flight", store(1, 6), SEQUENCER, WaitInFlight(offset(7))),
    ("overlap", store(5, 4), SEQUENCER, Admit(offset(7), offset(9), skip=2)),
    ("expired", store(7, 2, expires_at_ms=100), SEQUENCER, Reject(Status.DROPPED)),
    ("not yet expired", store(7, 2, expires_at_ms=101), SEQUENCER, Admit(offset(7), offset(9))),
]


@pytest.mark.parametrize(("name", "message", "sender", "expected"), OPEN, ids=[c[0] for c in OPEN])
def test_admission_on_an_open_loglet(
    name: str, message: Store, sender: GenerationalNodeId, expected: object
) -> None:
    """Goal: each admission rule. Method: one store against 4 durable and 2 staged records."""
    state = loglet()
    assert state.admit(message, sender, 100) == expected
    if not isinstance(expected, Admit):
        assert (state.local_tail, state.staged_tail) == (5, 7), "a refusal changed the tails"


SEALED = [
    ("durable", store(1, 4), Reject(Status.SEALED)),
    ("next", store(5, 1), Reject(Status.SEALED)),
    ("foreign life", store(5, 1, sequencer=OTHER), Reject(Status.SEALED)),
    ("malformed", store(0, 1), Reject(Status.MALFORMED)),
    ("repair of the next", store(5, 1, repair=True), Admit(offset(5), offset(6))),
    ("repair of the durable", store(1, 4, repair=True), AlreadyDurable()),
]


@pytest.mark.parametrize(("name", "message", "expected"), SEALED, ids=[c[0] for c in SEALED])
def test_admission_on_a_sealed_loglet(name: str, message: Store, expected: object) -> None:
    """Goal: a seal binds before all else but repairs. Method: a store against a sealed loglet.

    Even a durable record is refused: it may have come by a repair.
    """
    assert sealed().admit(message, SEQUENCER, 0) == expected


def test_the_first_store_fixes_the_sequencer() -> None:
    """Goal: the sequencer is persisted with the first records. Method: two stores, a recovery."""
    state = LogletState(LOGLET)
    first = state.admit(store(1, 1), SEQUENCER, 0)
    second = state.admit(store(2, 1), SEQUENCER, 0)
    assert first == Admit(offset(1), offset(2), persist=PersistedLoglet(SEQUENCER))
    assert second == Admit(offset(2), offset(3))
    assert isinstance(first, Admit)
    again = LogletState(LOGLET, first.persist, offset(2), offset(1))
    assert again.admit(store(2, 1, sequencer=OTHER), OTHER, 0) == Reject(Status.SEQUENCER_MISMATCH)


def test_fail_safe_takes_nothing_but_tells_a_seal() -> None:
    """Goal: DISABLED after a disk error. Method: every kind of write before and after a seal."""
    state = loglet(staged=0)
    state.fail_safe()
    assert state.admit(store(5, 1), SEQUENCER, 0) == Reject(Status.DISABLED)
    assert state.begin_seal(Seal(LOGLET, SEQUENCER)) == Reject(Status.DISABLED)
    assert state.trim(TrimLoglet(LOGLET, offset(2), offset(5))) == Reject(Status.DISABLED)
    assert state.info().header.status is Status.DISABLED
    closed = sealed()
    closed.fail_safe()
    assert closed.admit(store(5, 1), SEQUENCER, 0) == Reject(Status.SEALED)
    assert closed.begin_seal(Seal(LOGLET, SEQUENCER)) == AlreadySealed()


def test_a_hole_is_never_taken_for_stored() -> None:
    """Goal: no OK for records that are not here. Method: jump, then offer what was jumped over.

    A duplicate of the backfill is written again, because the first may not be durable yet.
    """
    state = loglet(stored=4, staged=0)
    state.admit(store(8, 2, known=8), SEQUENCER, 0)
    state.durable(offset(10))
    assert state.unbroken_from == 8
    backfill = Admit(offset(5), offset(8), backfill=True)
    assert state.admit(store(5, 3, repair=True), OTHER, 0) == backfill
    assert state.admit(store(5, 3, repair=True), OTHER, 0) == backfill
    assert state.admit(store(8, 2), SEQUENCER, 0) == AlreadyDurable()
    longer = state.admit(store(7, 6, repair=True), OTHER, 0)
    assert longer == Admit(offset(7), offset(13), backfill=True)
    assert (state.staged_tail, state.local_tail) == (13, 10)


def test_a_recovered_loglet_looks_before_it_promises() -> None:
    """Goal: nothing is taken for stored after a restart. Method: recover, offer the old records."""
    kept = PersistedLoglet(SEQUENCER, known_global_tail=offset(3))
    state = LogletState(LOGLET, kept, local_tail=offset(5))
    assert state.admit(store(3, 2), SEQUENCER, 0) == Admit(offset(3), offset(5), backfill=True)
    told = LogletState(LOGLET, kept, local_tail=offset(5), unbroken_from=offset(1))
    assert told.admit(store(3, 2), SEQUENCER, 0) == AlreadyDurable()


def test_the_known_global_tail_only_rises() -> None:
    """Goal: late messages do no harm. Method: rising and falling values, one in a refusal."""
    state = loglet(staged=0)
    state.admit(store(20, 1, known=9), SEQUENCER, 0)
    state.release(offset(6))
    assert state.header().known_global_tail == 9


def test_seal_waits_for_what_is_staged() -> None:
    """Goal: the sealed local tail covers all promises. Method: seal with a store in flight."""
    state = loglet(stored=4, staged=2)
    assert state.begin_seal(Seal(LOGLET, OTHER)) == Reject(Status.SEQUENCER_MISMATCH)
    written = state.begin_seal(Seal(LOGLET, SEQUENCER))
    assert written == PersistSeal(PersistedLoglet(SEQUENCER, sealed=True))
    assert state.begin_seal(Seal(LOGLET, SEQUENCER)) == WaitForSeal()
    assert state.admit(store(7, 1), SEQUENCER, 0) == WaitForSeal()
    assert state.admit(store(7, 1, repair=True), OTHER, 0) == Reject(Status.SEALING)
    assert state.admit(store(5, 2), SEQUENCER, 0) == WaitInFlight(offset(7))
    assert not state.header().sealed
    with pytest.raises(AssertionError, match="overtook"):
        state.seal_durable()
    state.durable(offset(7))
    state.seal_durable()
    assert state.header().sealed
    assert state.header().local_tail == 7
    assert state.begin_seal(Seal(LOGLET, SEQUENCER)) == AlreadySealed()


def test_durable_refuses_what_was_never_staged() -> None:
    """Goal: a driver that lies is stopped. Method: report more than was staged."""
    with pytest.raises(AssertionError, match="never staged"):
        loglet().durable(offset(8))


@pytest.mark.parametrize(
    ("known", "point", "expected", "trim_point"),
    [
        (1, 3, PersistTrim, 3),
        (1, 4, PersistTrim, 4),
        (1, 5, Reject, 0),
        (10, 9, PersistTrim, 4),
        (10, 10, Reject, 0),
        (1, 0, AlreadyTrimmed, 0),
    ],
)
def test_trim(known: int, point: int, expected: type, trim_point: int) -> None:
    """Goal: a trim stays within what is here. Method: table, local tail 5."""
    state = loglet(staged=0)
    decision = state.trim(TrimLoglet(LOGLET, offset(point), offset(known)))
    assert isinstance(decision, expected)
    assert state.info().trim_point == trim_point
    again = state.trim(TrimLoglet(LOGLET, offset(min(point, 1)), offset(known)))
    assert isinstance(again, AlreadyTrimmed) or expected is Reject


def test_trimmed_records_count_as_stored() -> None:
    """Goal: nobody brings trimmed records back. Method: trim, then offer them."""
    state = loglet(staged=0)
    state.trim(TrimLoglet(LOGLET, offset(3), offset(5)))
    assert state.admit(store(1, 3, repair=True), OTHER, 0) == AlreadyDurable()
    assert LogletState(LOGLET, state.persisted()).local_tail == 4, "the tail follows the trim point"


@pytest.mark.parametrize(
    ("start", "stop", "beyond", "expected"),
    [
        (1, 9, False, (3, 4)),
        (1, 9, True, (3, 6)),
        (3, 4, True, (3, 4)),
        (4, 9, False, (4, 4)),
        (1, 2, False, (3, 3)),
    ],
)
def test_readable_window(start: int, stop: int, beyond: bool, expected: tuple[int, int]) -> None:
    """Goal: readers get committed, untrimmed records. Method: trim point 2, global 4, local 6."""
    state = loglet(stored=5, staged=2)
    state.release(offset(4))
    state.trim(TrimLoglet(LOGLET, offset(2), offset(4)))
    request = GetRecords(LOGLET, offset(start), offset(stop), 1000, beyond)
    assert state.readable(request) == expected


# ---------------------------------------------------------------- runs


def spans(*pairs: tuple[int, int]) -> list[Span]:
    return [Span(offset(first), offset(tail)) for first, tail in pairs]


STORED = spans((3, 6), (9, 14), (14, 16))


def test_digest_of_the_drawing() -> None:
    """Goal: the module's drawing is true. Method: compute it."""
    assert digest(STORED, spans((1, 16))[0], offset(2)) == [
        DigestEntry(offset(1), offset(2), RecordStatus.TRIMMED),
        DigestEntry(offset(3), offset(5), RecordStatus.EXISTS),
        DigestEntry(offset(9), offset(15), RecordStatus.EXISTS),
    ]
    assert holes(STORED, spans((4, 11))[0]) == spans((6, 9))


@pytest.mark.parametrize(
    ("window", "trim_point", "expected"),
    [
        ((1, 3), 0, []),
        ((4, 5), 0, [(4, 4, RecordStatus.EXISTS)]),
        ((4, 5), 9, [(4, 4, RecordStatus.TRIMMED)]),
        ((5, 10), 3, [(5, 5, RecordStatus.EXISTS), (9, 9, RecordStatus.EXISTS)]),
        ((16, 20), 0, []),
    ],
)
def test_digest_edges(
    window: tuple[int, int], trim_point: int, expected: list[tuple[int, int, RecordStatus]]
) -> None:
    """Goal: windows and trim points cut runs exactly. Method: table over the drawing."""
    found = digest(STORED, spans(window)[0], offset(trim_point))
    assert [(e.from_offset, e.to_offset, e.status) for e in found] == expected


def test_span_arithmetic() -> None:
    """Goal: merge, clip and holes complement each other. Method: the drawing and its edges."""
    assert merged(STORED) == spans((3, 6), (9, 16))
    assert clipped(STORED, spans((5, 10))[0]) == spans((5, 6), (9, 10))
    assert holes([], spans((2, 4))[0]) == spans((2, 4))
    assert holes(STORED, spans((1, 20))[0]) == spans((1, 3), (6, 9), (16, 20))
    assert holes(STORED, spans((9, 16))[0]) == []
    assert unbroken_from(STORED, offset(0)) == 9
    assert unbroken_from([], offset(4)) == 5


def run(first: int, count: int) -> StoredRun:
    batch = pack([b"r%02d" % (first + i) for i in range(count)])
    return StoredRun(offset(first), batch.count, batch.body)


def texts(runs: list[StoredRun]) -> list[tuple[int, list[bytes]]]:
    return [(r.first_offset, RecordBatch(r.count, r.body).records()) for r in runs]


@pytest.mark.parametrize(
    ("window", "bytes_max", "expected", "next_offset"),
    [
        ((3, 10), 1000, [(3, [b"r03", b"r04", b"r05"]), (9, [b"r09"])], 10),
        ((4, 5), 1000, [(4, [b"r04"])], 5),
        ((6, 9), 1000, [], 9),
        ((3, 10), 21, [(3, [b"r03", b"r04", b"r05"])], 9),
        ((3, 10), 1, [(3, [b"r03", b"r04", b"r05"])], 9),
        ((1, 99), 1000, [(3, [b"r03", b"r04", b"r05"]), (9, [b"r09", b"r10"])], 99),
    ],
)
def test_answer(
    window: tuple[int, int],
    bytes_max: int,
    expected: list[tuple[int, list[bytes]]],
    next_offset: int,
) -> None:
    """Goal: the window is answered whole, or as far as the bytes go. Method: table, two runs."""
    found, goes_on = answer([run(3, 3), run(9, 2)], spans(window)[0], bytes_max)
    assert texts(found) == expected
    assert goes_on == next_offset


def test_span_of_a_run() -> None:
    """Goal: a run covers its records. Method: compare."""
    assert span(run(3, 3)) == spans((3, 6))[0]
