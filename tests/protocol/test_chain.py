"""Edits of chains: what is replaced, followed, refused, and when the version moves."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restate_node.protocol.chain import (
    AddLog,
    BaseMismatch,
    Edit,
    Edited,
    EditOutcome,
    ExtendLog,
    LogMissing,
    MemoryParams,
    PermanentlySealed,
    SealLog,
    SegmentMismatch,
    TrimLog,
    Unchanged,
    apply_edits,
    edit_chain,
    next_index,
)
from restate_node.types.ids import (
    GenerationalNodeId,
    LogId,
    PlainNodeId,
    SegmentIndex,
    Version,
    loglet_id,
)
from restate_node.types.logs import Chain, Logs, ReplicatedParams, SealMarker
from restate_node.types.offsets import Lsn
from restate_node.types.replication import ReplicationProperty

LOG = LogId(1)


def params(index: int, log: LogId = LOG) -> ReplicatedParams:
    return ReplicatedParams(
        loglet_id(log, SegmentIndex(index)),
        GenerationalNodeId(PlainNodeId(1), 1),
        ReplicationProperty.of_nodes(1),
        (PlainNodeId(1),),
    )


def extend(expected: int, base: int) -> ExtendLog:
    return ExtendLog(LOG, SegmentIndex(expected), Lsn(base), params(expected + 1))


def seal(expected: int, tail: int, permanent: bool = False) -> SealLog:
    return SealLog(LOG, SegmentIndex(expected), Lsn(tail), 7, permanent=permanent)


def trim(point: int) -> TrimLog:
    return TrimLog(LOG, Lsn(point))


ADD = AddLog(LOG, params(0))


def shape(chain: Chain) -> list[tuple[int, int, bool]]:
    return [(s.base_lsn, s.index, isinstance(s, SealMarker)) for s in chain.segments]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([ADD], [(1, 0, False)]),
        ([ADD, extend(0, 4)], [(1, 0, False), (4, 1, False)]),
        ([ADD, extend(0, 1)], [(1, 1, False)]),
        ([ADD, extend(0, 4), extend(1, 4)], [(1, 0, False), (4, 2, False)]),
        ([ADD, seal(0, 5)], [(1, 0, False), (5, 0, True)]),
        ([ADD, seal(0, 1)], [(1, 0, True)]),
        ([ADD, seal(0, 5), extend(0, 5)], [(1, 0, False), (5, 1, False)]),
        ([ADD, seal(0, 1), extend(0, 1)], [(1, 1, False)]),
        ([ADD, extend(0, 4), extend(1, 9), trim(2)], [(1, 0, False), (4, 1, False), (9, 2, False)]),
        ([ADD, extend(0, 4), extend(1, 9), trim(3)], [(4, 1, False), (9, 2, False)]),
        ([ADD, extend(0, 4), extend(1, 9), trim(99)], [(9, 2, False)]),
        ([ADD, extend(0, 4), seal(1, 9), trim(99)], [(4, 1, False), (9, 1, True)]),
        ([ADD, seal(0, 1), trim(99)], [(1, 0, True)]),
    ],
)
def test_chains(edits: list[Edit], expected: list[tuple[int, int, bool]]) -> None:
    """Goal: bases, indices and markers after edits. Method: table of (base, index, is marker)."""
    edited = apply_edits(Logs(Version(4)), edits)
    chain = edited.logs.chain(LOG)
    assert chain is not None
    assert shape(chain) == expected
    assert edited.logs.version == 5


TWO = [ADD, extend(0, 4)]


@pytest.mark.parametrize(
    ("before", "edit", "kind"),
    [
        ([], extend(0, 1), LogMissing),
        ([], seal(0, 1), LogMissing),
        ([], trim(1), LogMissing),
        ([ADD], ADD, Unchanged),
        (TWO, extend(0, 9), SegmentMismatch),
        (TWO, extend(2, 9), SegmentMismatch),
        (TWO, extend(1, 3), BaseMismatch),
        (TWO, seal(0, 9), SegmentMismatch),
        (TWO, seal(1, 3), BaseMismatch),
        (TWO, trim(2), Unchanged),
        ([*TWO, seal(1, 9)], seal(1, 9), Unchanged),
        ([*TWO, seal(1, 9)], extend(1, 8), BaseMismatch),
        ([*TWO, seal(1, 9)], extend(1, 10), BaseMismatch),
        ([*TWO, seal(1, 9, permanent=True)], extend(1, 9), PermanentlySealed),
    ],
)
def test_refusals(before: list[Edit], edit: Edit, kind: type[EditOutcome]) -> None:
    """Goal: an edit that does not fit changes nothing and says why. Method: table."""
    logs = apply_edits(Logs(Version(4)), before).logs
    refused = apply_edits(logs, [edit])
    assert isinstance(refused.outcomes[0], kind)  # type: ignore[arg-type]
    assert refused.logs is logs


def test_a_batch_is_one_version_and_later_edits_see_earlier_ones() -> None:
    """Goal: many edits, one version; the second of two rivals loses. Method: a mixed batch."""
    other = AddLog(LogId(2), MemoryParams(5))
    edited = apply_edits(Logs(Version(4)), [ADD, other, extend(0, 4), extend(0, 6)], now_hlc=11)
    kinds = [type(outcome) for outcome in edited.outcomes]
    assert kinds == [Edited, Edited, Edited, SegmentMismatch]
    assert (edited.logs.version, edited.logs.modified_at) == (5, 11)
    assert set(edited.logs.chains) == {1, 2}


def test_a_loglet_id_must_be_that_of_its_segment() -> None:
    """Goal: two segments never share a loglet. Method: extend with the id of the segment before."""
    with pytest.raises(AssertionError, match="is not"):
        edit_chain(edit_chain_of(ADD), ExtendLog(LOG, SegmentIndex(0), Lsn(4), params(0)))


def edit_chain_of(edit: Edit) -> Chain:
    outcome = edit_chain(None, edit)
    assert isinstance(outcome, Edited)
    return outcome.chain


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["extend", "seal", "trim"]), st.integers(0, 6), st.integers(1, 20)
        ),
        max_size=20,
    )
)
def test_any_edits_keep_the_invariants(steps: list[tuple[str, int, int]]) -> None:
    """Goal: bases and indices only rise, a data segment stays. Method: any sequence of edits."""
    chain = edit_chain_of(ADD)
    makers = {"extend": extend, "seal": seal, "trim": lambda _index, lsn: trim(lsn)}
    for name, index, lsn in steps:
        before = chain
        outcome = edit_chain(chain, makers[name](index, lsn))
        if isinstance(outcome, Edited):
            chain = outcome.chain
        assert next_index(chain) >= next_index(before)
        assert chain.tail.base_lsn >= before.tail.base_lsn
        indices = [s.index for s in chain.replicated]
        assert indices == sorted(set(indices))
        assert not before.replicated or name != "trim" or chain.replicated
