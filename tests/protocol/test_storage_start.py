"""How a log server may start: the table of the module, row by row."""

from __future__ import annotations

import pytest

from restate_node.protocol.storage_start import (
    AwaitRepair,
    LostData,
    Provision,
    RefuseStart,
    Serve,
    StartDecision,
    data_loss_text,
    decide_start,
)
from restate_node.types.ids import PlainNodeId
from restate_node.types.nodes import StorageState
from restate_node.types.storage_marker import StorageMarker, decode_marker, encode_marker

ME = PlainNodeId(4)
MINE = StorageMarker(ME, "2025-01-01T00:00:00Z")
THEIRS = StorageMarker(PlainNodeId(5), "2025-01-01T00:00:00Z")


@pytest.mark.parametrize("state", list(StorageState))
def test_the_marker_of_another_node_is_always_refused(state: StorageState) -> None:
    """Goal: in every storage state a foreign disk is refused, and named."""
    decision = decide_start(ME, "n", state, THEIRS)
    assert isinstance(decision, RefuseStart)
    assert "belongs to N5" in decision.error


@pytest.mark.parametrize(
    ("state", "without", "with_marker"),
    [
        (StorageState.PROVISIONING, Provision(True), Provision(False)),
        (StorageState.READ_WRITE, LostData(data_loss_text(ME)), Serve()),
        (StorageState.READ_ONLY, LostData(data_loss_text(ME)), Serve()),
        (StorageState.GONE, Serve(), Serve()),
        (StorageState.DISABLED, Serve(), Serve()),
        (
            StorageState.DATA_LOSS,
            RefuseStart(data_loss_text(ME)),
            RefuseStart(data_loss_text(ME)),
        ),
    ],
)
def test_the_table(state: StorageState, without: StartDecision, with_marker: StartDecision) -> None:
    """Goal: without a marker, and with the own one, per storage state."""
    assert decide_start(ME, "n", state, None) == without
    assert decide_start(ME, "n", state, MINE) == with_marker


@pytest.mark.parametrize("state", list(StorageState))
def test_who_wants_a_repair_gets_one_for_lost_data_only(state: StorageState) -> None:
    """Goal: the option changes what becomes of lost data, and nothing else. How: every state."""
    for marker in (None, MINE, THEIRS):
        without = decide_start(ME, "n", state, marker)
        decision = decide_start(ME, "n", state, marker, repairable=True)
        if isinstance(without, LostData):
            assert decision == LostData(None)
        elif without == RefuseStart(data_loss_text(ME)):
            assert decision == AwaitRepair()
        else:
            assert decision == without


def test_markers_survive_their_encoding_and_garbage_is_refused() -> None:
    """Goal: round trip, and ValueError for anything else."""
    assert decode_marker(encode_marker(MINE)) == MINE
    for raw in (b"", b"{}", b'{"id": "x"}', b"\xff\xfe"):
        with pytest.raises(ValueError, match="storage marker"):
            decode_marker(raw)
