"""Which prefix of a partition's log nobody needs any more.

    archived LSN, durable LSNs of the replicas ─ mode ─▶ durable point ─▶ a record in the log
                                        applied, and old enough ─▶ trimmed up to it ◀─┘

The log is what a replica recovers from. A record may go once its effects are safe elsewhere; how
safe is the mode. An LSN that is not known counts as nothing: a replica that does not answer stops
trimming wherever all replicas matter, and without a repository nothing is archived.

    none                        never
    snapshot-only               archived
    replica-set-only            the lowest durable LSN of the replicas
    snapshot-and-replica-set    the lower of both
    balanced                    the lower of archived and of the highest durable LSN

Invariants: what is trimmed never lies above a durable point that was in the log; points only rise.

Driven by `roles.worker.log_trimmer` on the leader.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, assert_never

from restate_node.types.offsets import Lsn
from restate_node.types.options import DurabilityMode

POINTS_MAX: Final = 1024
"""Durable points that wait for their age; a point that finds no place replaces the newest."""
ADVANCE_MIN: Final = 2
"""A point is worth a record only if more than the record of the former point lies below it."""


def mode_of(configured: DurabilityMode | None, *, replicas: int, workers: int) -> DurabilityMode:
    """The mode that applies: as configured, or by the size of the cluster."""
    if configured is not None:
        return configured
    in_cluster = replicas > 1 or workers > 1
    return DurabilityMode.BALANCED if in_cluster else DurabilityMode.REPLICA_SET_ONLY


def durable_point(
    mode: DurabilityMode, archived: Lsn | None, replicas: Sequence[Lsn | None]
) -> Lsn | None:
    """Records up to here need not be kept; None when none may go. One entry per replica."""
    match mode:
        case DurabilityMode.NONE:
            return None
        case DurabilityMode.SNAPSHOT_ONLY:
            return archived or None
        case DurabilityMode.REPLICA_SET_ONLY:
            return _lowest(replicas)
        case DurabilityMode.SNAPSHOT_AND_REPLICA_SET:
            return _lowest((archived, _lowest(replicas)))
        case DurabilityMode.BALANCED:
            known = [lsn for lsn in replicas if lsn]
            return _lowest((archived, max(known, default=None)))
        case _:
            assert_never(mode)


def is_worth_proposing(point: Lsn | None, recorded: Lsn | None) -> bool:
    """Whether a point is enough above the last one in the log."""
    return point is not None and point >= (recorded or 0) + ADVANCE_MIN


class TrimQueue:
    """Durable points of one partition, until they are old enough."""

    def __init__(self) -> None:
        self._points: deque[tuple[Lsn, int]] = deque()

    def note(self, point: Lsn, unix_ms: int) -> None:
        """The log says that this point is durable since then."""
        if self._points and self._points[-1][0] >= point:
            return
        if len(self._points) >= POINTS_MAX:
            self._points.pop()
        self._points.append((point, unix_ms))

    def due(self, now_ms: int, delay_ms: int) -> Lsn | None:
        """The highest point that is older than the delay; it and those below are forgotten."""
        found: Lsn | None = None
        while self._points and self._points[0][1] + delay_ms <= now_ms:
            found = self._points.popleft()[0]
        return found


def _lowest(lsns: Sequence[Lsn | None]) -> Lsn | None:
    known = [lsn for lsn in lsns if lsn]
    return min(known) if known and len(known) == len(lsns) else None
