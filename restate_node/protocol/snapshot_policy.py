"""When a leader takes a snapshot by itself.

    records since the newest ≥ records ─┐
    its age > interval, and a little ───┴─ every condition that is configured ─▶ due

Nothing configured means never: then only an operator asks for snapshots. Where there is no snapshot
yet, its age is no obstacle. A snapshot that would hold nothing new is never due.

Driven by `roles.worker.snapshots`, once a second on leaders that have caught up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from restate_node.types.offsets import INVALID_LSN, Lsn

JITTER_RATIO_MAX: Final = 0.1
"""Partitions that were made together shall not all be exported together for ever."""


@dataclass(frozen=True, slots=True)
class SnapshotPolicy:
    """The conditions; None does not matter."""

    interval_ms: int | None
    records: int | None


@dataclass(frozen=True, slots=True)
class NewestSnapshot:
    """The newest snapshot of the partition that the repository holds."""

    min_applied_lsn: Lsn
    created_at_ms: int


def is_due(
    policy: SnapshotPolicy,
    applied: Lsn,
    newest: NewestSnapshot | None,
    *,
    now_ms: int,
    jitter: float,
) -> bool:
    """Whether to take one now. `jitter` is in 0…1 and fixed between two snapshots."""
    assert 0.0 <= jitter <= 1.0, jitter
    if policy.interval_ms is None and policy.records is None:
        return False
    since = INVALID_LSN if newest is None else newest.min_applied_lsn
    if applied <= since:
        return False
    if policy.records is not None and applied < since + policy.records:
        return False
    if policy.interval_ms is None or newest is None:
        return True
    wanted_ms = policy.interval_ms * (1 + JITTER_RATIO_MAX * jitter)
    return now_ms - newest.created_at_ms > wanted_ms
