"""Plans that give each record its write quorum back."""

from __future__ import annotations

import pytest
from loglet_quorum import copies, two_zones

from restate_node.protocol.repair import (
    DataUnavailable,
    RepairDecision,
    RepairPlan,
    RepairScope,
    RepairStep,
    TooFewTargets,
    plan_repair,
)
from restate_node.types.ids import PlainNodeId
from restate_node.types.log_messages import DigestEntry, RecordStatus
from restate_node.types.offsets import LogletOffset

EXISTS, TRIMMED = RecordStatus.EXISTS, RecordStatus.TRIMMED
Told = dict[int, list[tuple[int, int, RecordStatus]]]


def nodes(*numbers: int) -> tuple[PlainNodeId, ...]:
    return tuple(PlainNodeId(number) for number in numbers)


def step(first: int, tail: int, sources: tuple[int, ...], targets: tuple[int, ...]) -> RepairStep:
    return RepairStep(LogletOffset(first), LogletOffset(tail), nodes(*sources), nodes(*targets))


def plan(scope: RepairScope, told: Told, first: int = 3, tail: int = 9) -> RepairDecision:
    digests = {
        PlainNodeId(node): [
            DigestEntry(LogletOffset(start), LogletOffset(end), status)
            for start, end, status in entries
        ]
        for node, entries in told.items()
    }
    return plan_repair(scope, digests, LogletOffset(first), LogletOffset(tail))


THREE = RepairScope(copies(3, 2), nodes(1, 2, 3), nodes(1, 2, 3))

# Digests of [3, 9), inclusive ends, and the steps.
CASES: list[tuple[str, Told, list[RepairStep]]] = [
    ("all replicated", {1: [(3, 8, EXISTS)], 2: [(3, 8, EXISTS)]}, []),
    ("replicated by different pairs",
     {1: [(3, 8, EXISTS)], 2: [(3, 5, EXISTS)], 3: [(6, 8, EXISTS)]}, []),
    ("a prefix is replicated",
     {1: [(3, 8, EXISTS)], 2: [(3, 5, EXISTS)], 3: []}, [step(6, 9, (1,), (2,))]),
    ("all on one", {2: [(3, 8, EXISTS)], 3: []}, [step(3, 9, (2,), (3,))]),
    ("who answered comes first", {1: [(3, 8, EXISTS)], 3: []}, [step(3, 9, (1,), (3,))]),
    ("pieces in order",
     {1: [(3, 4, EXISTS)], 2: [(4, 6, EXISTS)], 3: [(7, 8, EXISTS)]},
     [step(3, 4, (1,), (2,)), step(5, 7, (2,), (1,)), step(7, 9, (3,), (1,))]),
    ("trimmed is replicated", {1: [(3, 5, TRIMMED), (6, 8, EXISTS)], 2: []},
     [step(6, 9, (1,), (2,))]),
    ("trimmed by one is enough", {1: [(3, 8, TRIMMED)], 2: [(3, 8, EXISTS)]}, []),
    ("digests wider than the range", {1: [(1, 20, EXISTS)], 2: [(1, 5, EXISTS)]},
     [step(6, 9, (1,), (2,))]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "told", "steps"), CASES, ids=[case[0] for case in CASES])
def test_plans(name: str, told: Told, steps: list[RepairStep]) -> None:
    """Goal: only what lacks a write quorum is copied, in order. Method: digests, two of three."""
    assert plan(THREE, told) == RepairPlan(tuple(steps))


def test_an_empty_range_needs_nothing() -> None:
    """Goal: the tail is the global tail. Method: first equals tail."""
    assert plan(THREE, {}, 3, 3) == RepairPlan(())


def test_nobody_has_it() -> None:
    """Goal: data is never declared lost too early. Method: a gap that the silent N3 may fill."""
    told: Told = {1: [(3, 4, EXISTS), (7, 8, EXISTS)], 2: [(3, 4, EXISTS)]}
    assert plan(THREE, told) == DataUnavailable(LogletOffset(5), LogletOffset(7), nodes(3))


def test_too_few_writable_nodes() -> None:
    """Goal: no plan that cannot reach a write quorum. Method: only the holder can be written."""
    scope = RepairScope(copies(3, 2), nodes(1, 2, 3), nodes(1))
    told: Told = {1: [(3, 8, EXISTS)], 2: []}
    assert plan(scope, told) == TooFewTargets(LogletOffset(3), LogletOffset(9))


def test_all_that_can_be_written_when_those_are_too_few() -> None:
    """Goal: a proven tail takes what can be had. Method: three copies each, N3 has lost its data;
    N2, which says nothing, is not spared."""
    quorum = copies(3, 3, lost=nodes(3))
    told: Told = {1: [(3, 8, EXISTS)]}
    scope = RepairScope(quorum, nodes(1, 2, 3), nodes(1, 2), is_proven=True)
    assert plan(scope, told) == RepairPlan((step(3, 9, (1,), (2,)),))
    assert plan(scope, {**told, 2: [(3, 8, EXISTS)]}) == RepairPlan(())
    assert plan(scope, {2: []}) == DataUnavailable(LogletOffset(3), LogletOffset(9), nodes(1, 3))
    unproven = RepairScope(quorum, nodes(1, 2, 3), nodes(1, 2))
    assert plan(unproven, told) == TooFewTargets(LogletOffset(3), LogletOffset(9))


def test_targets_serve_the_spread() -> None:
    """Goal: copies go where they are missing. Method: the holder's zone is preferred but no use."""
    scope = RepairScope(two_zones(), nodes(1, 2, 3, 4), nodes(3, 1, 4, 2))
    told: Told = {1: [(3, 8, EXISTS)], 2: [], 3: [], 4: []}
    assert plan(scope, told) == RepairPlan((step(3, 9, (1,), (4,)),))
