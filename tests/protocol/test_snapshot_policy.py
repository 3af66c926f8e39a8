"""When snapshots are due."""

from __future__ import annotations

import pytest

from restate_node.protocol.snapshot_policy import NewestSnapshot, SnapshotPolicy, is_due
from restate_node.types.offsets import Lsn

NEVER = SnapshotPolicy(None, None)
RECORDS = SnapshotPolicy(None, 10)
AGE = SnapshotPolicy(1000, None)
BOTH = SnapshotPolicy(1000, 10)


@pytest.mark.parametrize(
    ("policy", "applied", "newest", "age_ms", "due"),
    [
        (NEVER, 1000, None, 0, False),
        (NEVER, 1000, 1, 10**9, False),
        (RECORDS, 9, None, 0, False),
        (RECORDS, 10, None, 0, True),
        (RECORDS, 29, 20, 10**9, False),
        (RECORDS, 30, 20, 0, True),
        (AGE, 1, None, 0, True),
        (AGE, 21, 20, 1050, False),
        (AGE, 21, 20, 1051, True),
        (AGE, 20, 20, 10**9, False),
        (AGE, 0, None, 0, False),
        (BOTH, 10, None, 0, True),
        (BOTH, 29, 20, 10**9, False),
        (BOTH, 30, 20, 1050, False),
        (BOTH, 30, 20, 1051, True),
    ],
)
def test_all_configured_conditions_must_hold(
    policy: SnapshotPolicy, applied: int, newest: int | None, age_ms: int, due: bool
) -> None:
    """Goal: each condition, both, and none. Method: a table; jitter at half of its range."""
    known = None if newest is None else NewestSnapshot(Lsn(newest), 5000)
    assert is_due(policy, Lsn(applied), known, now_ms=5000 + age_ms, jitter=0.5) is due
