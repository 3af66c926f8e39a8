"""The four cases of a search for the tail."""

from __future__ import annotations

from itertools import permutations

import pytest
from loglet_quorum import copies, header, info, two_zones

from restate_node.protocol.tail import (
    NeedsRepair,
    Open,
    Sealed,
    SealFirst,
    TailDecision,
    TailTally,
    Undecided,
    WaitFor,
)
from restate_node.types.ids import PlainNodeId
from restate_node.types.log_messages import LogletInfo
from restate_node.types.offsets import LogletOffset


def at(value: int) -> LogletOffset:
    return LogletOffset(value)


SEALED = True

# Replication 2 of 3, so two nodes are an f-majority and a write quorum.
CASES: list[tuple[str, list[LogletInfo], TailDecision]] = [
    ("nobody", [], Undecided()),
    ("one open", [info(5)], Undecided()),
    ("one sealed", [info(5, 5, SEALED)], Undecided()),
    ("open, on a write quorum", [info(5), info(5)], Open(at(5))),
    ("open, empty", [info(1), info(1)], Open(at(1))),
    ("open, a straggler", [info(5), info(5), info(3)], Open(at(5))),
    ("open, known to be committed", [info(5, 5), info(3)], Open(at(5))),
    ("open, committed beyond who answered", [info(3), info(2, 7)], Open(at(7))),
    ("open, stores under way", [info(5, 3), info(3, 3)], WaitFor(at(5))),
    ("open, three different", [info(5), info(4), info(3)], WaitFor(at(5))),
    ("a seal half done", [info(5, 5, SEALED), info(5, 5)], SealFirst()),
    ("a seal half done, all answer", [info(5), info(5), info(5, 1, SEALED)], SealFirst()),
    ("sealed, equal tails", [info(5, 1, SEALED), info(5, 1, SEALED)], Sealed(at(5))),
    ("sealed, committed", [info(5, 5, SEALED), info(3, 1, SEALED)], Sealed(at(5))),
    ("sealed, heard from an open node", [info(5, 1, SEALED), info(3, 1, SEALED), info(9, 5)],
     Sealed(at(5))),
    ("sealed, an open node completes", [info(5, 1, SEALED), info(3, 1, SEALED), info(6)],
     Sealed(at(5))),
    ("sealed, to repair", [info(5, 2, SEALED), info(3, 3, SEALED)],
     NeedsRepair(at(3), at(5), True)),
    ("sealed, an open node is ahead", [info(5, 5, SEALED), info(5, 5, SEALED), info(9)],
     Sealed(at(5))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answers", "expected"), CASES, ids=[case[0] for case in CASES])
def test_cases(name: str, answers: list[LogletInfo], expected: TailDecision) -> None:
    """Goal: the table of the module. Method: the answers in every order; the last word counts."""
    for order in permutations(answers):
        tally = TailTally(copies(3, 2))
        for number, answer in enumerate(order, start=1):
            tally.add(PlainNodeId(number), answer)
        assert tally.decide() == expected


def test_repair_needs_a_write_quorum_of_answers() -> None:
    """Goal: no repair that cannot end. Method: replication 3 of 4, so two are an f-majority."""
    tally = TailTally(copies(4, 3))
    tally.add(PlainNodeId(1), info(5, 1, SEALED))
    assert tally.add(PlainNodeId(2), info(3, 1, SEALED)) == Undecided()
    assert tally.add(PlainNodeId(3), info(1)) == NeedsRepair(at(1), at(5), True)


def test_a_server_under_repair_completes_a_write_quorum() -> None:
    """Goal: two of two hold each record and one has lost them: the tail is what the other sealed,
    once the lost one has its records back. Method: with and without a repair of N2 under way."""
    for repairable, expected in (((), Undecided()), ((2,), NeedsRepair(at(3), at(5), True))):
        nodes = [PlainNodeId(number) for number in repairable]
        tally = TailTally(copies(2, 2), repairable=nodes)
        assert tally.decide() == Undecided(), "its own word counts for nothing"
        assert tally.add(PlainNodeId(1), info(5, 3, SEALED)) == expected


LOST, TAKEN, SILENT = (2,), NeedsRepair(at(3), at(5), True), None

# What N1, N2, ... say, those that have lost their data by configuration, and what follows.
SHORT: list[tuple[str, int, list[LogletInfo | None], tuple[int, ...], TailDecision]] = [
    ("a silent one is not a lost one", 2, [info(5, 3, SEALED), SILENT], (), Undecided()),
    ("the other has all", 2, [info(5, 3, SEALED), SILENT], LOST, TAKEN),
    ("only what the lost one says", 2, [SILENT, info(5, 3, SEALED)], LOST, Undecided()),
    ("the other is not yet sealed", 2, [info(4, 3), info(5, 3, SEALED)], LOST, SealFirst()),
    ("not while it is open", 2, [info(5, 3), SILENT], LOST, WaitFor(at(5))),
    ("all that can be written are needed", 3, [info(5, 3, SEALED), SILENT, SILENT], LOST,
     Undecided()),
    ("and they are here", 3, [info(5, 3, SEALED), SILENT, info(3, 3, SEALED)], LOST, TAKEN),
    ("a write quorum may still be had", 2, [info(5, 3, SEALED), SILENT, SILENT], LOST,
     Undecided()),
    ("records may have been on the lost ones", 2, [info(5, 3, SEALED), SILENT, SILENT], (2, 3),
     Undecided()),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "replication", "said", "lost", "expected"), SHORT, ids=[case[0] for case in SHORT]
)
def test_no_write_quorum_left(
    name: str,
    replication: int,
    said: list[LogletInfo | None],
    lost: tuple[int, ...],
    expected: TailDecision,
) -> None:
    """Goal: the configuration lowers what is needed, silence does not. Method: a table."""
    nodes = [PlainNodeId(number) for number in lost]
    tally = TailTally(copies(len(said), replication, lost=nodes))
    for number, told in enumerate(said, start=1):
        if told is not None:
            tally.add(PlainNodeId(number), told)
    assert tally.decide() == expected


def test_copies_must_be_spread_over_zones() -> None:
    """Goal: the rule decides, not a count. Method: copies in two zones, two answers from one."""
    tally = TailTally(two_zones())
    tally.add(PlainNodeId(1), info(5))
    assert tally.add(PlainNodeId(3), info(5)) == WaitFor(at(5))
    assert tally.add(PlainNodeId(2), info(5)) == Open(at(5))


def test_a_later_answer_replaces_the_former() -> None:
    """Goal: waiting for stores ends. Method: the slow node reaches the tail."""
    tally = TailTally(copies(3, 2))
    tally.add(PlainNodeId(1), info(5))
    assert tally.add(PlainNodeId(2), info(3)) == WaitFor(at(5))
    assert tally.update(PlainNodeId(2), header(5)) == Open(at(5))


def test_a_nodeset_that_was_never_written_is_empty() -> None:
    """Goal: a new cluster starts. Method: all members are provisioning, no answer at all."""
    assert TailTally(copies(3, 2), all_provisioning=True).decide() == Open(at(1))


def test_the_trim_point_is_collected() -> None:
    """Goal: the loglet's trim point is the highest. Method: two answers."""
    tally = TailTally(copies(3, 2))
    tally.add(PlainNodeId(1), info(5, trim_point=3))
    tally.add(PlainNodeId(2), info(5, trim_point=2))
    assert tally.trim_point == 3
