"""What a log server should hold, what it lacks, and what is refused."""

from __future__ import annotations

import random

import pytest

from restate_node.protocol.loglet_runs import checksums, joined
from restate_node.protocol.server_repair import (
    CopyStep,
    Differing,
    NoCopy,
    Window,
    WindowVerdict,
    ended_loglets,
    ended_logs,
    judge_window,
    open_segments,
    unrepairable,
)
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    PlainNodeId,
    SegmentIndex,
    Version,
    loglet_id,
)
from restate_node.types.log_messages import (
    ChecksumRun,
    Checksums,
    LogletHeader,
    Status,
    StoredRun,
)
from restate_node.types.logs import (
    Chain,
    InMemorySegment,
    Logs,
    ReplicatedParams,
    ReplicatedSegment,
    SealMarker,
    Segment,
)
from restate_node.types.nodes import Node, Role, StorageState
from restate_node.types.offsets import LogletOffset, Lsn
from restate_node.types.records import RecordBatch, pack
from restate_node.types.replication import ReplicationProperty

HEADER = LogletHeader(Status.OK, LogletOffset(1), LogletOffset(1), False)


def node_id(number: int) -> PlainNodeId:
    return PlainNodeId(number)


def held(picture: str, *, trimmed: int = 0, answered: int | None = None) -> Checksums:
    """A node that holds one letter per offset from 1; a dot is a hole."""
    runs = [
        ChecksumRun(LogletOffset(offset), letter.encode() * 8)
        for offset, letter in enumerate(picture, start=1)
        if letter != "."
    ]
    next_offset = len(picture) + 1 if answered is None else answered
    return Checksums(HEADER, LogletOffset(trimmed), LogletOffset(next_offset), runs)


def window(tail: int, *steps: tuple[int, int, tuple[int, ...]], trimmed: int = 0) -> Window:
    made = tuple(
        CopyStep(LogletOffset(first), LogletOffset(stop), tuple(node_id(n) for n in sources))
        for first, stop, sources in steps
    )
    return Window(LogletOffset(tail), made, LogletOffset(trimmed))


def no_copy(first: int, tail: int) -> NoCopy:
    return NoCopy(LogletOffset(first), LogletOffset(tail))


def differing(offset: int, *nodes: int) -> Differing:
    return Differing(LogletOffset(offset), tuple(node_id(node) for node in nodes))


# N3 is repaired; the loglet ends at 6; what each node holds, and the verdict from offset 1 on.
CASES: list[tuple[str, dict[int, Checksums], WindowVerdict]] = [
    ("nothing is missing", {1: held("abcde"), 3: held("abcde")}, window(6)),
    ("the others lack what it has", {1: held("ab..."), 2: held("....."), 3: held("abcde")},
     window(6)),
    ("it lost everything", {1: held("abcde"), 2: held("abcde"), 3: held(".....")},
     window(6, (1, 6, (1, 2)))),
    ("holes, by who can fill them", {1: held("ab.d."), 2: held(".bcd."), 3: held("....e")},
     window(6, (1, 2, (1,)), (2, 3, (1, 2)), (3, 4, (2,)), (4, 5, (1, 2)))),
    ("two holes", {1: held("abcde"), 3: held("a.c.e")},
     window(6, (2, 3, (1,)), (4, 5, (1,)))),
    ("trimmed anywhere is not wanted", {1: held("...de", trimmed=3), 3: held(".....")},
     window(6, (4, 6, (1,)), trimmed=3)),
    ("trimmed by the target is not wanted", {1: held("abcde"), 3: held("..cde", trimmed=2)},
     window(6, trimmed=2)),
    ("all trimmed", {1: held(".....", trimmed=5), 3: held(".....")}, window(6, trimmed=5)),
    ("as far as all have answered", {1: held("abc", answered=4), 3: held(".....")},
     window(4, (1, 4, (1,)))),
    ("nobody is left", {1: held("....."), 2: held("....."), 3: held(".....")}, no_copy(1, 6)),
    ("nobody else is there", {3: held(".....")}, no_copy(1, 6)),
    ("the first is lost", {1: held("..cde"), 3: held(".....")}, no_copy(1, 3)),
    ("saved before what is lost", {1: held("ab..e"), 3: held(".b...")}, window(3, (1, 2, (1,)))),
    ("another record in the target", {1: held("xbcde"), 2: held("xbcde"), 3: held("abcde")},
     differing(1, 1, 2, 3)),
    ("other records in the sources", {1: held("a...."), 2: held("b...."), 3: held(".....")},
     differing(1, 1, 2)),
    ("saved before what differs", {1: held("abcXe"), 3: held("a..de")},
     window(4, (2, 4, (1,)))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "told", "verdict"), CASES, ids=[case[0] for case in CASES])
def test_windows(name: str, told: dict[int, Checksums], verdict: WindowVerdict) -> None:
    """Goal: what is missing is copied from who has it, and nothing is decided that cannot be.

    How: one letter per record of each node.
    """
    answers = {node_id(number): answer for number, answer in told.items()}
    assert judge_window(node_id(3), LogletOffset(1), LogletOffset(6), answers) == verdict


def test_a_window_in_the_middle() -> None:
    """Goal: what lies before the window or behind the end is nobody's business.

    How: windows of the same answers from several offsets.
    """
    answers = {node_id(1): held("abcdefg"), node_id(3): held("x......")}
    for first, end, verdict in (
        (2, 6, window(6, (2, 6, (1,)))),
        (5, 6, window(6, (5, 6, (1,)))),
        (1, 6, differing(1, 1, 3)),
        (6, 6, window(6)),
    ):
        found = judge_window(node_id(3), LogletOffset(first), LogletOffset(end), answers)
        assert found == verdict, first


@pytest.mark.parametrize("seed", range(300))
def test_a_repair_ends_whole_or_says_why_not(seed: int) -> None:
    """Goal: step by step the target gets everything that others hold, and stops at the first offset
    that nobody holds or that differs. How: random holdings, steps done by hand, answers that end
    early; compared with a look at each offset by itself.
    """
    rng = random.Random(seed)
    end = rng.randint(1, 12)
    density, spoiled = rng.choice((0.3, 0.9, 1.0)), rng.choice((0.0, 0.0, 0.1))
    pictures = {
        number: [
            "." if rng.random() > density else "x" if rng.random() < spoiled else "abcd"[index % 4]
            for index in range(end - 1)
        ]
        for number in (1, 2, 3)
    }
    if rng.random() < 0.5:
        pictures[3] = ["."] * (end - 1)
    columns = [{picture[index] for picture in pictures.values()} for index in range(end - 1)]
    bad = [index + 1 for index, column in enumerate(columns) if len(column - {"."}) != 1]
    position, verdict = LogletOffset(1), None
    while position < end:
        answered = rng.randint(position + 1, end)
        answers = {node_id(n): held("".join(pictures[n]), answered=answered) for n in (1, 2, 3)}
        verdict = judge_window(node_id(3), position, LogletOffset(end), answers)
        if not isinstance(verdict, Window):
            break
        for step in verdict.steps:
            for source in step.sources:
                copied = pictures[source][step.first - 1 : step.tail - 1]
                assert "." not in copied
                pictures[3][step.first - 1 : step.tail - 1] = copied
        assert verdict.tail > position
        position = verdict.tail
    assert position == min([*bad, end])
    assert "." not in pictures[3][: position - 1]
    assert isinstance(verdict, NoCopy | Differing) is bool(bad)


def segment(log: int, index: int, base: int, *nodes: int) -> ReplicatedSegment:
    params = ReplicatedParams(
        loglet_id(LogId(log), SegmentIndex(index)),
        GenerationalNodeId(node_id(1), 1),
        ReplicationProperty.of_nodes(2),
        tuple(node_id(number) for number in nodes),
    )
    return ReplicatedSegment(Lsn(base), SegmentIndex(index), params)


def logs(*chains: tuple[Segment, ...]) -> Logs:
    return Logs(Version(1), {LogId(log): Chain(chain) for log, chain in enumerate(chains)})


def test_the_work_of_a_node() -> None:
    """Goal: every loglet that names the node and has an end, open tails apart, others not at all.

    How: chains with all kinds of segments.
    """
    marker = SealMarker(Lsn(9), SegmentIndex(3), 0)
    all_logs = logs(
        (segment(0, 0, 1, 1, 3), segment(0, 2, 4, 1, 2), segment(0, 3, 8, 2, 3)),
        (segment(1, 3, 5, 2, 3), marker),
        (InMemorySegment(Lsn(1), SegmentIndex(0), 7), segment(2, 1, 3, 1, 2)),
    )
    work = ended_loglets(all_logs, node_id(3))
    assert [(one.log, one.params.loglet_id & 0xFF, one.base_lsn, one.end) for one in work] == [
        (0, 0, 1, 4),
        (1, 3, 5, 5),
    ]
    assert list(open_segments(all_logs, node_id(3))) == [0]
    assert list(open_segments(all_logs, node_id(1))) == [2]
    assert ended_logs(all_logs) == {0: 3, 1: 3, 2: 1}


@pytest.mark.parametrize("state", list(StorageState))
def test_who_can_be_repaired(state: StorageState) -> None:
    """Goal: log servers that have been in use. How: every state, with and without the role."""

    def node(*roles: Role) -> Node:
        life = GenerationalNodeId(node_id(3), 1)
        return Node("n", life, "http://n/", frozenset(roles), storage_state=state)

    assert "has not the role" in str(unrepairable(node(Role.WORKER)))
    reason = unrepairable(node(Role.LOG_SERVER))
    assert (reason is not None) is (state is StorageState.PROVISIONING)


def run(first: int, *records: bytes) -> StoredRun:
    batch = pack(records)
    return StoredRun(LogletOffset(first), batch.count, batch.body)


def test_sums_do_not_depend_on_how_runs_were_cut() -> None:
    """Goal: two servers that stored other groups can be compared. How: the same records twice."""
    whole = checksums(run(4, b"a", b"bb", b""))
    assert whole.first_offset == 4 and len(whole.sums) == 24
    pieces = [checksums(run(4, b"a")), checksums(run(5, b"bb", b""))]
    assert b"".join(piece.sums for piece in pieces) == whole.sums
    assert checksums(run(4, b"a", b"b", b"b")).sums != whole.sums


def test_runs_are_joined_up_to_a_size() -> None:
    """Goal: many small runs become few stores, a large one stays whole. How: sizes around it."""
    runs = [run(1, b"a"), run(2, b"b", b"c"), run(4, b"d" * 40), run(5, b"e")]
    found = joined(runs, 16)
    assert [(one.first_offset, one.count) for one in found] == [(1, 3), (4, 1), (5, 1)]
    assert RecordBatch(found[0].count, found[0].body).records() == [b"a", b"b", b"c"]
    assert joined([], 16) == []
